// Command deploy does what CDK cannot: it checks what a deployment needs, builds
// and pushes the streamer's image without Docker, and tells which vendors can be
// reached over IPv6.
//
// It talks to AWS as the AWS CLI does: same environment variables, same profiles.
// What a script reads goes to the standard output, what a person reads besides to
// the standard error. It exits with 0 when all is well, 1 when not, 2 when it was
// called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/mattn/go-isatty"

	"sluice/infra/image"
)

// tool is the command with all that it reaches, so that a test can give it
// something else.
type tool struct {
	in        io.Reader
	out, err  io.Writer
	terminal  bool // a person sits at in, and can be asked
	module    string
	aws       func(ctx context.Context, region string) (*session, error)
	run       func(*exec.Cmd) error
	resolver  resolver
	reference func(account, region, qualifier, digest string) string
}

var (
	errNo    = errors.New("something is not as it must be") // it was said already
	errUsage = errors.New("see --help")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	terminal := isatty.IsTerminal(os.Stdin.Fd())
	t := &tool{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, terminal: terminal,
		module:    "go.mod",
		aws:       func(ctx context.Context, region string) (*session, error) { return connect(ctx, region, terminal) },
		run:       (*exec.Cmd).Run,
		resolver:  &net.Resolver{PreferGo: true}, // the system's may invent IPv6 addresses for IPv4 ones
		reference: image.Reference,
	}
	code := t.main(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// main runs a subcommand and gives the exit code.
func (t *tool) main(ctx context.Context, args []string) int {
	err := t.dispatch(ctx, args)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errNo):
		return 1
	}
	if _, failed := fmt.Fprintln(t.err, "deploy:", err); failed == nil && errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

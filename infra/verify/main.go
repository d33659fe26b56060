// Command verify checks on a real deployment what cannot be checked without AWS,
// and says yes or no to each with one line of what was seen. A check that could
// not be made says so and why; it is never a yes.
//
// It reads the outputs of the deployment's stack and asks the deployment over its
// public endpoint, as a client and as an administrator. It makes one key with a
// small budget, and deletes it at the end whatever happened. With --endpoint it
// runs against any Sluice, such as one of make run: a rehearsal, in which the
// checks that ask AWS are not made.
//
// The exit code is 0 when nothing was seen not to work, 1 when something was, and
// 2 when the checks could not be made or were interrupted.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	p := program{in: os.Stdin, out: os.Stdout, errs: os.Stderr, config: loadConfig}
	code := p.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// loadConfig reads credentials and region where the AWS CLI does.
func loadConfig(ctx context.Context, region string) (aws.Config, error) {
	return config.LoadDefaultConfig(ctx, config.WithRegion(region))
}

// run makes the checks that the arguments ask for and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	o, err := p.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return exitYes
	}
	if err != nil {
		return exitUnusable // parse has said why
	}
	s, err := p.open(ctx, o)
	if err != nil {
		_, _ = fmt.Fprintln(p.errs, "verify:", err) // nobody is left to tell
		return exitUnusable
	}
	defer s.client.http.CloseIdleConnections()
	return s.run(ctx)
}

// ask asks the caller a question; all but y and yes is a no, and so is the end of
// ctx. The read cannot be interrupted: it is left behind, and the program ends soon.
func (p *program) ask(ctx context.Context, question string) bool {
	_, _ = fmt.Fprintf(p.errs, "%s [y/N] ", question) // without a terminal the answer is no
	said := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(p.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = ""
		}
		said <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case line := <-said:
		return line == "y" || line == "yes"
	case <-ctx.Done():
		return false
	}
}

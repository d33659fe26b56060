// Command local is the whole product in one process: relay, admin API and jobs,
// with the embedded store unless SLUICE_REDIS_URL names a Redis.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	_ "time/tzdata" // budgets know time zones wherever the process runs

	"sluice/shared/config"
	"sluice/shared/host"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(1)
	}
}

// run is the process: it reads the settings, opens what they name, serves until
// it is told to stop and closes everything again.
func run(ctx context.Context, args, environ []string, out, logs io.Writer) (err error) {
	restoring := len(args) == 1 && args[0] == "restore"
	if len(args) > 0 && !restoring {
		return help(args, out)
	}
	settings, err := config.Read(environ)
	if err != nil {
		return fmt.Errorf("settings:\n%w", err)
	}
	drain, abort, stop := host.Signals(ctx)
	defer stop()
	log := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: settings.LogLevel}))

	if restoring {
		return restore(drain, settings, log, out)
	}
	p, err := open(drain, settings, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	welcome, err := p.seed(drain)
	if err != nil {
		return err
	}
	return p.Serve(drain, abort, func(at net.Addr) { welcome.print(out, at) })
}

const manual = `sluice runs the relay and its admin API in one process.

  sluice           serves
  sluice restore   rebuilds keys, users, teams and accounts in the store from the
                   config log, and ends; no process may serve meanwhile

Its settings are environment variables:

`

// help answers --help, and everything else that is no setting.
func help(args []string, out io.Writer) error {
	switch args[0] {
	case "-h", "--help", "help":
		_, err := fmt.Fprint(out, manual)
		return errors.Join(err, config.Print(out))
	}
	return fmt.Errorf("unknown argument %q (want restore, or nothing); settings are environment variables, see --help", args[0])
}

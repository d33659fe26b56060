// Command streamer is the relay of a deployment: a Fargate task behind a balancer,
// or a Lambda function that streams its answers.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	_ "time/tzdata" // budgets know time zones wherever the process runs

	"sluice/shared/cloud"
	"sluice/shared/config"
	"sluice/shared/host"
	"sluice/shared/store"
	"sluice/shared/trace"
	"sluice/streamer/node"
	"sluice/streamer/relay"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Environ()); err != nil {
		// One line like every other, however many an error has: CloudWatch makes an
		// event of each.
		slog.New(slog.NewJSONHandler(os.Stderr, nil)).Error("the streamer ended", "error", err)
		os.Exit(1)
	}
}

// run is the process: with the argument restore it rebuilds the records in the
// store from the config log, else it serves. It reads the settings, opens what they name, serves until
// it is told to stop and closes everything again.
func run(ctx context.Context, args, environ []string) (err error) {
	settings, err := config.Read(environ)
	if err != nil {
		return err // it names the settings
	}
	drain, abort, stop := host.Signals(ctx)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: settings.LogLevel}))
	store.LogTo(log)
	o, err := options(drain, settings, log)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return restore(drain, args, o)
	}
	closeTrace, err := traces(&o, getenv(environ, "AWS_XRAY_DAEMON_ADDRESS"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeTrace()) }()
	n, err := node.Open(drain, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if getenv(environ, "AWS_LAMBDA_RUNTIME_API") != "" {
		return n.ServeLambda(drain)
	}
	return n.Serve(drain, abort, nil)
}

// restore is what the task does when it is run with an argument.
func restore(ctx context.Context, args []string, o node.Options) error {
	if len(args) != 1 || args[0] != "restore" {
		return fmt.Errorf("unknown argument %q (want restore, or nothing)", args[0])
	}
	n, err := node.Restore(ctx, o)
	o.Logger.InfoContext(ctx, "restored", "entries", n)
	return err
}

// options opens on AWS what the node stands on.
func options(ctx context.Context, c *config.Config, log *slog.Logger) (o node.Options, err error) {
	o = node.Options{Settings: c, Logger: log, Metrics: os.Stdout}
	aws, err := cloud.Load(ctx, c)
	if err != nil {
		return o, err
	}
	if o.Store, err = aws.Store(log); err != nil {
		return o, err
	}
	if o.Master, err = aws.Master(ctx); err != nil {
		return o, err
	}
	if o.ConfigLog, err = aws.ConfigLog(ctx); err != nil {
		return o, err
	}
	if o.Late, err = aws.Late(log); err != nil {
		return o, err
	}
	o.AdminToken, err = aws.AdminToken(ctx)
	return o, err
}

// traces has the requests traced when the settings say so.
func traces(o *node.Options, daemon string) (closeTrace func() error, err error) {
	if !o.Settings.Trace {
		return func() error { return nil }, nil
	}
	tracer, err := trace.New(trace.Options{Name: "sluice", Daemon: daemon, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	o.Traced = tracer.Handler
	o.Trace = func(ctx context.Context) relay.Trace {
		if q := trace.From(ctx); q != nil {
			return q
		}
		return nil // and no pointer to nothing
	}
	return tracer.Close, nil
}

// getenv is a variable that AWS sets, which is no setting of ours.
func getenv(environ []string, name string) string {
	for _, line := range environ {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

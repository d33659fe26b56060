// Command streamer is the relay of a deployment: a Fargate task behind a balancer,
// or a Lambda function that streams its answers.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	_ "time/tzdata" // budgets know time zones wherever the process runs

	"sluice/shared/cloud"
	"sluice/shared/config"
	"sluice/shared/host"
	"sluice/streamer/node"
)

func main() {
	if err := run(context.Background(), os.Environ()); err != nil {
		fmt.Fprintln(os.Stderr, "streamer:", err)
		os.Exit(1)
	}
}

// run is the process: it reads the settings, opens what they name, serves until
// it is told to stop and closes everything again.
func run(ctx context.Context, environ []string) (err error) {
	settings, err := config.Read(environ)
	if err != nil {
		return fmt.Errorf("settings:\n%w", err)
	}
	drain, abort, stop := host.Signals(ctx)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: settings.LogLevel}))
	o, err := options(drain, settings, log)
	if err != nil {
		return err
	}
	n, err := node.Open(drain, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if host.OnLambda() {
		return n.ServeLambda(drain)
	}
	return n.Serve(drain, abort, nil)
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
	if o.Master, err = aws.Master(); err != nil {
		return o, err
	}
	if o.ConfigLog, err = aws.ConfigLog(ctx); err != nil {
		return o, err
	}
	o.AdminToken, err = aws.AdminToken(ctx)
	return o, err
}

// Command sweep is the function that settles the calls of processes that died. A
// schedule starts it with an events.Tick, for times when no other process sweeps.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"sluice/events"
	"sluice/shared/cloud"
	"sluice/shared/config"
	"sluice/shared/store"
	"sluice/shared/store/accounts"
	"sluice/shared/store/ledger"
)

func main() {
	if err := run(context.Background(), os.Environ()); err != nil {
		fmt.Fprintln(os.Stderr, "sweep:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, environ []string) (err error) {
	settings, err := config.Read(environ)
	if err != nil {
		return fmt.Errorf("settings:\n%w", err)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: settings.LogLevel}))
	aws, err := cloud.Load(ctx, settings)
	if err != nil {
		return err
	}
	o, err := aws.Store(log)
	if err != nil {
		return err
	}
	client, err := store.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	lambda.StartWithOptions(handler(ledger.NewSweeper(ledger.New(client), accounts.New(client), log), log), lambda.WithContext(ctx))
	return errors.New("the Lambda runtime ended")
}

// result is what an invocation answers with, for who starts one by hand.
type result struct {
	Settled int `json:"settled"` // calls
}

// handler sweeps once for each tick.
func handler(s *ledger.Sweeper, log *slog.Logger) func(context.Context, events.Tick) (result, error) {
	return func(ctx context.Context, tick events.Tick) (result, error) {
		if tick.Job != "sweep" {
			return result{}, fmt.Errorf("job %q: this function sweeps (want {\"job\":\"sweep\"})", tick.Job)
		}
		swept, err := s.Patiently(ctx)
		if tick.Scheduled.Minute()%int(ledger.AuditEvery.Minutes()) == 0 {
			_, failed := s.Audit(ctx)
			err = errors.Join(err, failed)
		}
		log.InfoContext(ctx, "swept", "settled", swept.Settled, "scheduled", tick.Scheduled, "error", err)
		return result{Settled: swept.Settled}, err
	}
}

// Command sweep is the function that settles what no other process did: the calls
// of processes that died, when a schedule starts it with an events.Tick, and
// settlements that the store did not take, when the late queue does with a batch.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"sluice/events"
	"sluice/shared/cloud"
	"sluice/shared/config"
	"sluice/shared/late/sqs"
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
	books := ledger.New(client)
	lambda.StartWithOptions(handler(books, ledger.NewSweeper(books, accounts.New(client), log), log), lambda.WithContext(ctx))
	return errors.New("the Lambda runtime ended")
}

// result is what an invocation answers with, for who starts one by hand.
type result struct {
	Settled int `json:"settled"` // calls
}

// input is what starts the function: a schedule's tick, or a batch of the late queue.
type input struct {
	events.Tick
	awsevents.SQSEvent
}

// handler takes both.
func handler(l *ledger.Ledger, s *ledger.Sweeper, log *slog.Logger) func(context.Context, input) (any, error) {
	sweep, settle := sweeping(s, log), settling(l, log)
	return func(ctx context.Context, in input) (any, error) {
		if len(in.Records) > 0 {
			return settle(ctx, in.SQSEvent), nil
		}
		return sweep(ctx, in.Tick)
	}
}

// settling makes the late settlements of a batch. What fails comes again, and in
// the end to the queue's dead letters.
func settling(l *ledger.Ledger, log *slog.Logger) func(context.Context, awsevents.SQSEvent) awsevents.SQSEventResponse {
	return func(ctx context.Context, batch awsevents.SQSEvent) (failed awsevents.SQSEventResponse) {
		for _, m := range batch.Records {
			s, err := sqs.Decode(m.Body)
			if err == nil {
				err = l.Settle(ctx, s)
			}
			if err != nil {
				log.WarnContext(ctx, "late settlement not made", "message", m.MessageId, "call", s.Call, "error", err)
				failed.BatchItemFailures = append(failed.BatchItemFailures, awsevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
				continue
			}
			log.InfoContext(ctx, "late settlement made", "call", s.Call)
		}
		return failed
	}
}

// sweeping sweeps once for each tick.
func sweeping(s *ledger.Sweeper, log *slog.Logger) func(context.Context, events.Tick) (result, error) {
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

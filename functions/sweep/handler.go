package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	awsevents "github.com/aws/aws-lambda-go/events"

	"sluice/events"
	"sluice/shared/late/sqs"
	"sluice/shared/store/ledger"
)

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

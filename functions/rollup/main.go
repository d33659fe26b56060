// Command rollup is the function that adds usage records up, archives them to S3 and
// removes what is old. A schedule starts it with an events.Tick.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sluice/events"
	"sluice/shared/cloud"
	"sluice/shared/config"
	"sluice/shared/store"
	"sluice/shared/store/rollup"
)

// spare is how long before its time is up an invocation stops: what it did until then
// stands, and the next one goes on from there.
const spare = 5 * time.Second

func main() {
	if err := run(context.Background(), os.Environ()); err != nil {
		fmt.Fprintln(os.Stderr, "rollup:", err)
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
	archive, err := aws.Archive()
	if err != nil {
		return err
	}
	client, err := store.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	r := rollup.New(rollup.Options{Client: client, Archive: archive, Logger: log})
	lambda.StartWithOptions(handler(r, log), lambda.WithContext(ctx))
	return errors.New("the Lambda runtime ended")
}

// handler rolls up once for each tick.
func handler(r *rollup.Roller, log *slog.Logger) func(context.Context, events.Tick) (rollup.Result, error) {
	return func(ctx context.Context, tick events.Tick) (rollup.Result, error) {
		if tick.Job != "rollup" {
			return rollup.Result{}, fmt.Errorf("job %q: this function rolls up (want {\"job\":\"rollup\"})", tick.Job)
		}
		if end, ok := ctx.Deadline(); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, end.Add(-spare))
			defer cancel()
		}
		done, err := r.All(ctx)
		log.InfoContext(ctx, "rolled up", "rolled", done.Rolled, "archived", done.Archived, "objects", done.Objects, "scheduled", tick.Scheduled, "error", err)
		return done, err
	}
}

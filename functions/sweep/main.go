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

	"github.com/aws/aws-lambda-go/lambda"

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
	books := ledger.New(client)
	lambda.StartWithOptions(handler(books, ledger.NewSweeper(books, accounts.New(client), log), log), lambda.WithContext(ctx))
	return errors.New("the Lambda runtime ended")
}

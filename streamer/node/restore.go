package node

import (
	"context"
	"errors"
	"fmt"

	"sluice/shared/archive"
	"sluice/shared/store"
	"sluice/shared/store/records"
	"sluice/shared/vault"
)

// ConfigLog is the log of every change of a record.
type ConfigLog interface {
	records.Log
	// Replay calls fn with every entry in order, until fn errs.
	Replay(ctx context.Context, fn func(archive.Entry) error) error
}

// restoreStep is how many entries lie between two lines of the log about them.
const restoreStep = 1000

// Restore rebuilds the records in the store from the config log, and says how many
// entries it replayed. It may run again, and over what is there: the last entry of
// a record wins. Counters and usage are not in the log.
func Restore(ctx context.Context, o Options) (entries int, err error) {
	client, err := store.Open(ctx, o.Store)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	into := records.New(records.Options{Client: client, Vault: vault.New(vault.Options{Wrapper: o.Master}), Log: o.ConfigLog})
	err = o.ConfigLog.Replay(ctx, func(e archive.Entry) error {
		if err := into.Restore(ctx, e); err != nil {
			return fmt.Errorf("entry %d, %s %s: %w", e.Seq, e.Kind, e.ID, err)
		}
		if entries++; entries%restoreStep == 0 {
			o.Logger.InfoContext(ctx, "restoring", "entries", entries)
		}
		return nil
	})
	return entries, err
}

package records

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"time"

	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/store"
)

//go:embed owner_put.lua
var ownerPutSource string

//go:embed owner_delete.lua
var ownerDeleteSource string

//go:embed account_put.lua
var accountPutSource string

// scripts are the scripts of this package.
type scripts struct {
	ownerPut, ownerDelete, accountPut *store.Script
	indexPut, indexClose, indexDelete *store.Script
}

func newScripts() scripts {
	return scripts{
		ownerPut:    store.NewScript("records.owner_put", ownerPutSource),
		ownerDelete: store.NewScript("records.owner_delete", ownerDeleteSource),
		accountPut:  store.NewScript("records.account_put", accountPutSource),
		indexPut:    store.NewScript("records.index_put", indexPutSource),
		indexClose:  store.NewScript("records.index_close", indexCloseSource),
		indexDelete: store.NewScript("records.index_delete", indexDeleteSource),
	}
}

// stepsTimeout bounds the steps of a write once it is in the log. They go on when
// the caller leaves: half a write helps nobody.
const stepsTimeout = 10 * time.Second

// step is one idempotent part of a write.
type step func(context.Context) error

// change is a write: what goes to the log, and the steps that make it true.
type change struct {
	ref
	by      string
	action  archive.Action
	version int64
	image   []byte // the record as JSON after the change; nil of a Delete
	steps   []step
	undo    step // of what the steps before a conflict did; nil = nothing to undo
}

// begin takes the place of the one writer; the result gives it back.
func (s *Store) begin(ctx context.Context) (end func(), err error) {
	select {
	case s.writing <- struct{}{}:
		return func() { <-s.writing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// write logs a change and takes its steps. When another process changed the
// record meanwhile, what was done is undone and the log told what stands.
func (s *Store) write(ctx context.Context, c change) error {
	if err := s.append(ctx, &c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepsTimeout)
	defer cancel()
	err := take(ctx, c.steps)
	if err == nil || fault.CodeOf(err) != fault.Conflict {
		return err
	}
	if c.undo != nil {
		err = errors.Join(err, c.undo(ctx))
	}
	return errors.Join(err, s.relog(ctx, c))
}

func take(ctx context.Context, steps []step) error {
	for _, do := range steps {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stamp is the time of a write, as precise as it is kept.
func (s *Store) stamp() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// append puts a change in the log.
func (s *Store) append(ctx context.Context, c *change) error {
	e := archive.Entry{
		At: s.stamp(), Actor: c.by, Action: c.action, Kind: c.kind, ID: c.id, Version: c.version,
	}
	if c.image != nil {
		var err error
		if e.Sealed, err = s.vault.Seal(ctx, c.image, e.Context()); err != nil {
			return fault.Wrap(fault.Internal, err, "the %s cannot be sealed for the config log; check the master key", c.kind)
		}
	}
	return s.log.Append(ctx, e)
}

// relog puts in the log what stands of a record after a change of it failed.
func (s *Store) relog(ctx context.Context, c change) error {
	image, version, err := s.stands(ctx, c.ref)
	if err != nil {
		return err
	}
	c.action, c.image = archive.Put, image
	if image == nil {
		c.action = archive.Delete
	} else {
		c.version = version
	}
	return s.append(ctx, &c)
}

// stands is the image of a record and its version; nil when there is none.
func (s *Store) stands(ctx context.Context, r ref) ([]byte, int64, error) {
	var text string
	var err error
	if r.kind == archive.Account {
		text, err = s.rawAccount(ctx, r.id)
	} else {
		text, _, err = s.rawOwner(ctx, r)
	}
	if fault.CodeOf(err) == fault.NotFound {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var head struct {
		Version int64 `json:"version"`
	}
	if err := decode(r, text, &head); err != nil {
		return nil, 0, err
	}
	return []byte(text), head.Version, nil
}

// encode is a record as JSON.
func encode(r ref, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the %s %q cannot be encoded", r.kind, r.id)
	}
	return b, nil
}

// decode reads a record from JSON.
func decode(r ref, text string, v any) error {
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return fault.Wrap(fault.Internal, err, "the record of %s %q is damaged", r.kind, r.id)
	}
	return nil
}

// unchanged errs with fault.Conflict when the record that stands is not of the
// version that was read.
func (r ref) unchanged(stands, read int64) error {
	if stands == read {
		return nil
	}
	return r.changed()
}

// changed is the conflict of a record that another write changed.
func (r ref) changed() error {
	return fault.New(fault.Conflict, "the %s %q was changed since it was read; read it again", r.kind, r.id)
}

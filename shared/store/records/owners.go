package records

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/store"
)

// Values of owner_put.lua's version read, beside a version.
const (
	absent = ""  // there is none
	anyone = "*" // whatever stands
)

// item is a key, user or team that is written.
type item struct {
	ref
	owner *admission.Owner
	value any // whose JSON is the record; holds owner
	at    place
}

func itemOf(kind archive.Kind, o *admission.Owner, value any, budget string, parents ...ref) item {
	at := place{partition: admission.PartitionOf(budget)}
	for _, p := range parents {
		if p.id != "" {
			at.parents = append(at.parents, p)
		}
	}
	return item{ref: ref{kind, o.ID}, owner: o, value: value, at: at}
}

// created stamps a new record.
func (it item) created(now time.Time) {
	it.owner.Version = 1
	it.owner.CreatedAt, it.owner.UpdatedAt = now, now
}

// updated stamps a record that replaces old.
func (it item) updated(old *admission.Owner, now time.Time) {
	it.owner.Version = old.Version + 1
	it.owner.CreatedAt, it.owner.UpdatedAt = old.CreatedAt, now
}

// change is the write that puts the item in the log; its steps are yet to be added.
func (it item) change(by string) (change, error) {
	image, err := encode(it.ref, it.value)
	return change{ref: it.ref, by: by, action: archive.Put, version: it.owner.Version, image: image}, err
}

// create stores a new record and stamps it: the record, what locates it, the
// index. A repeat after an error makes nothing twice.
func (s *Store) create(ctx context.Context, by string, it item, locate, unlocate step) error {
	if err := it.check(); err != nil {
		return err
	}
	switch _, err := s.find(ctx, it.ref); {
	case err == nil:
		return fault.New(fault.Conflict, "there is a %s %q already", it.kind, it.id)
	case fault.CodeOf(err) != fault.NotFound:
		return err
	}
	it.created(s.stamp())
	c, err := it.change(by)
	if err != nil {
		return err
	}
	written := false
	put := s.putOwner(it.ref, it.at.partition, absent, &c)
	c.steps = []step{
		func(ctx context.Context) error { err := put(ctx); written = err == nil; return err },
		locate,
		func(ctx context.Context) error { return s.index(ctx, it.ref, place{}, it.at, true) },
	}
	c.undo = func(ctx context.Context) error {
		if !written {
			return nil // what stands is another's
		}
		return take(ctx, []step{unlocate, s.deleteOwner(it.ref, it.at.partition, it.owner.Version)})
	}
	return s.write(ctx, c)
}

// putOwner writes the record if the version read still stands.
func (s *Store) putOwner(r ref, partition int, read string, c *change) step {
	version, image := c.version, c.image
	return func(ctx context.Context) error {
		answer, err := s.client.Run(ctx, store.Call{
			Script: s.scripts.ownerPut,
			Keys:   []string{store.Owner(partition, r.id)},
			Args:   []any{string(r.kind), read, version, image},
		})
		if err != nil {
			return err
		}
		if answer != "" {
			return r.changed()
		}
		return nil
	}
}

// deleteOwner deletes the record if the version read still stands.
func (s *Store) deleteOwner(r ref, partition int, version int64) step {
	return func(ctx context.Context) error {
		answer, err := s.client.Run(ctx, store.Call{
			Script: s.scripts.ownerDelete,
			Keys:   []string{store.Owner(partition, r.id)},
			Args:   []any{version},
		})
		if err != nil {
			return err
		}
		if answer != "" {
			return r.changed()
		}
		return nil
	}
}

// rawOwner is a record as JSON, and its place. It errs with fault.NotFound or
// StoreDown.
func (s *Store) rawOwner(ctx context.Context, r ref) (string, place, error) {
	at, err := s.find(ctx, r)
	if err != nil {
		return "", place{}, err
	}
	text, err := s.client.Redis().HGet(ctx, store.Owner(at.partition, r.id), "rec").Result()
	if errors.Is(err, redis.Nil) {
		return "", place{}, r.missing()
	}
	return text, at, store.Fault(err)
}

// load reads a record and its place; errors are those of rawOwner.
func load[T any](ctx context.Context, s *Store, r ref) (v T, at place, err error) {
	text, at, err := s.rawOwner(ctx, r)
	if err != nil {
		return v, at, err
	}
	return v, at, decode(r, text, &v)
}

// loadForDelete is load, but answers with no record when only the place is left:
// a deletion that was interrupted is completed by repeating it.
func loadForDelete[T any](ctx context.Context, s *Store, r ref) (v T, at place, err error) {
	v, at, err = load[T](ctx, s, r)
	if fault.CodeOf(err) == fault.NotFound {
		at, err = s.find(ctx, r)
	}
	return v, at, err
}

// loadParent reads a record that another names in a field. It errs with
// fault.Invalid when there is none, nil for "".
func loadParent[T any](ctx context.Context, s *Store, r ref) (*T, error) {
	if r.id == "" {
		return nil, nil
	}
	v, _, err := load[T](ctx, s, r)
	if fault.CodeOf(err) == fault.NotFound {
		return nil, fault.At(string(r.kind), "there is no %s %q", r.kind, r.id)
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// list reads a page of records, newest first. A record that is being made or
// deleted right now may be left out.
func list[T any](ctx context.Context, s *Store, kind archive.Kind, cursor string, limit int) ([]T, string, error) {
	ids, next, err := s.page(ctx, kind, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	places, err := s.places(ctx, kind, ids)
	if err != nil {
		return nil, "", err
	}
	pipe := s.client.Redis().Pipeline()
	texts := make([]*redis.StringCmd, len(ids))
	for i, at := range places {
		if at != nil {
			texts[i] = pipe.HGet(ctx, store.Owner(at.partition, ids[i]), "rec")
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, "", store.Fault(err)
	}
	page := make([]T, 0, len(ids))
	for i, cmd := range texts {
		if cmd == nil || errors.Is(cmd.Err(), redis.Nil) {
			continue
		}
		if err := cmd.Err(); err != nil {
			return nil, "", store.Fault(err)
		}
		var v T
		if err := decode(ref{kind, ids[i]}, cmd.Val(), &v); err != nil {
			return nil, "", err
		}
		page = append(page, v)
	}
	return page, next, nil
}

// readVersion is a version as owner_put.lua compares it.
func readVersion(v int64) string { return strconv.FormatInt(v, 10) }

package records

import (
	"context"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/store"
)

// Restore makes Redis agree with an entry of the config log, whatever stands
// there. Replaying the whole log into an empty Redis, with no relay on it,
// rebuilds every record; counters and usage records are not in the log. It errs
// with fault.Internal when the entry's image does not open, and StoreDown.
func (s *Store) Restore(ctx context.Context, e archive.Entry) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := e.Check(); err != nil {
		return err
	}
	r := ref{e.Kind, e.ID}
	if err := r.check(); err != nil {
		return err
	}
	if e.Action == archive.Delete {
		return s.erase(ctx, r)
	}
	image, err := s.vault.Open(ctx, e.Sealed, e.Context())
	if err != nil {
		return fault.Wrap(fault.Internal, err, "entry %d of the config log does not open; check the master key", e.Seq)
	}
	if r.kind == archive.Account {
		return s.putAccount(r, anyone, string(image))(ctx)
	}
	return s.rebuild(ctx, r, e.Version, image)
}

// rebuild puts a key, user or team in place of what stands.
func (s *Store) rebuild(ctx context.Context, r ref, version int64, image []byte) error {
	it, locate, err := s.parse(ctx, r, image)
	if err != nil {
		return err
	}
	old, from, err := loadForDelete[admission.Key](ctx, s, r)
	stands := err == nil
	if err != nil && fault.CodeOf(err) != fault.NotFound {
		return err
	}
	to := it.at
	if stands {
		to = to.after(from)
	}
	c := change{version: version, image: image}
	steps := []step{
		s.putOwner(r, to.partition, anyone, &c),
		locate,
		func(ctx context.Context) error { return s.index(ctx, r, from, to, false) },
	}
	if key, ok := it.value.(*admission.Key); ok && stands && old.Digest != key.Digest {
		steps = append(steps, s.unlocate(r, old.Digest))
	}
	if stands && from.partition != to.partition {
		steps = append(steps, s.deleteOwner(r, from.partition, old.Version))
	}
	return take(ctx, steps)
}

// parse reads an image, and says how a key is located.
func (s *Store) parse(ctx context.Context, r ref, image []byte) (item, step, error) {
	switch r.kind {
	case archive.Team:
		var t admission.Team
		err := decode(r, string(image), &t)
		return teamItem(&t), nothing, err
	case archive.User:
		var u admission.User
		err := decode(r, string(image), &u)
		return userItem(&u), nothing, err
	}
	var k admission.Key
	if err := decode(r, string(image), &k); err != nil {
		return item{}, nil, err
	}
	loc, err := s.locator(ctx, &k)
	if fault.CodeOf(err) == fault.Invalid {
		// Its user or team is gone: the log deletes the key too, further on.
		return keyItem(&k), nothing, nil
	}
	if err != nil {
		return item{}, nil, err
	}
	return keyItem(&k), s.locate(loc), nil
}

// erase removes what stands of a record.
func (s *Store) erase(ctx context.Context, r ref) error {
	if r.kind == archive.Account {
		return s.putAccount(r, anyone, "")(ctx)
	}
	old, at, err := loadForDelete[admission.Key](ctx, s, r)
	if fault.CodeOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return take(ctx, []step{
		s.unlocate(r, old.Digest),
		func(ctx context.Context) error {
			return store.Fault(s.client.Redis().Del(ctx, store.Owner(at.partition, r.id)).Err())
		},
		func(ctx context.Context) error { return s.unindex(ctx, r, at) },
	})
}

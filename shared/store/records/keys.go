package records

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/store"
)

// Keys are the keys in the store.
type Keys struct{ s *Store }

func keyRef(id string) ref { return ref{archive.Key, id} }

func keyItem(k *admission.Key) item {
	return itemOf(archive.Key, &k.Owner, k, k.BudgetOwner(), userRef(k.User), teamRef(k.Team))
}

// Create stores a new key. The caller sets everything but the version and the
// times; a user's key gets the user's team. It answers with what was stored. It
// errs with fault.Invalid when its user or team does not exist or its id is
// malformed, Conflict when another key has the same digest, and StoreDown: the
// key may exist then, but nobody has its secret.
func (k *Keys) Create(ctx context.Context, by string, key admission.Key) (admission.Key, error) {
	s := k.s
	end, err := s.begin(ctx)
	if err != nil {
		return admission.Key{}, err
	}
	defer end()
	loc, err := s.locator(ctx, &key)
	if err != nil {
		return admission.Key{}, err
	}
	it := keyItem(&loc.Key)
	if err := s.free(ctx, it.ref, loc.Key.Digest); err != nil {
		return admission.Key{}, err
	}
	err = s.create(ctx, by, it, s.locate(loc), s.unlocate(it.ref, loc.Key.Digest))
	return loc.Key, err
}

// Get reads a key. It errs with fault.NotFound or StoreDown.
func (k *Keys) Get(ctx context.Context, id string) (admission.Key, error) {
	key, _, err := load[admission.Key](ctx, k.s, keyRef(id))
	return key, err
}

// List reads keys, newest first: at most limit (1 to 200; 0 = 200) after a
// cursor, and the cursor of the page after these, "" when these are the last. It
// errs with fault.Invalid for a bad cursor, and StoreDown.
func (k *Keys) List(ctx context.Context, cursor string, limit int) ([]admission.Key, string, error) {
	return list[admission.Key](ctx, k.s, archive.Key, cursor, limit)
}

// Update replaces the key of the version that was read (key.Version) and answers
// with what was stored. With another digest, the old secret stops at once. It
// errs with fault.NotFound, Conflict when the key was changed meanwhile or
// another has the same digest, Invalid when its user or team changes, and
// StoreDown.
func (k *Keys) Update(ctx context.Context, by string, key admission.Key) (admission.Key, error) {
	s := k.s
	end, err := s.begin(ctx)
	if err != nil {
		return admission.Key{}, err
	}
	defer end()
	old, at, err := load[admission.Key](ctx, s, keyRef(key.ID))
	if err != nil {
		return admission.Key{}, err
	}
	if err := fixed(&old, &key); err != nil {
		return admission.Key{}, err
	}
	if err := keyRef(key.ID).unchanged(old.Version, key.Version); err != nil {
		return admission.Key{}, err
	}
	loc, err := s.locator(ctx, &key)
	if err != nil {
		return admission.Key{}, err
	}
	it := keyItem(&loc.Key)
	it.updated(&old.Owner, s.stamp())
	c, err := it.change(by)
	if err != nil {
		return admission.Key{}, err
	}
	c.steps = []step{s.putOwner(it.ref, at.partition, readVersion(old.Version), &c), s.locate(loc)}
	if old.Digest != key.Digest {
		if err := s.free(ctx, it.ref, key.Digest); err != nil {
			return admission.Key{}, err
		}
		c.steps = append(c.steps, s.unlocate(it.ref, old.Digest))
	}
	return loc.Key, s.write(ctx, c)
}

// fixed refuses to give a key to someone else: its counters are where they are.
func fixed(old, key *admission.Key) error {
	switch {
	case key.User != old.User:
		return fault.At("user", "the user of a key cannot change; make a new key")
	case key.Team != old.Team:
		return fault.At("team", "the team of a key cannot change; make a new key")
	}
	return nil
}

// Delete removes the key of the version that was read, 0 = whichever stands; its
// secret stops first. It errs with fault.NotFound, Conflict or StoreDown.
func (k *Keys) Delete(ctx context.Context, by, id string, version int64) error {
	s, r := k.s, keyRef(id)
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	old, at, err := loadForDelete[admission.Key](ctx, s, r)
	if err == nil && version != 0 {
		err = r.unchanged(old.Version, version)
	}
	if err != nil {
		return err
	}
	return s.write(ctx, change{
		ref: r, by: by, action: archive.Delete, version: old.Version,
		steps: []step{
			s.unlocate(r, old.Digest),
			s.deleteOwner(r, at.partition, old.Version),
			func(ctx context.Context) error { return s.unindex(ctx, r, at) },
		},
		undo: func(ctx context.Context) error { return s.relocate(ctx, r) },
	})
}

// locator is the locator of a key with its user and team as they are now; a
// user's key gets the user's team. It errs with fault.Invalid when one does not
// exist.
func (s *Store) locator(ctx context.Context, key *admission.Key) (*admission.Locator, error) {
	loc := &admission.Locator{Key: *key}
	var err error
	if loc.User, err = loadParent[admission.User](ctx, s, userRef(key.User)); err != nil {
		return nil, err
	}
	if loc.User != nil {
		if key.Team != "" && key.Team != loc.User.Team {
			return nil, fault.At("team", "a user's key belongs to the user's team (%q), not to %q", loc.User.Team, key.Team)
		}
		loc.Key.Team = loc.User.Team
	}
	if loc.Team, err = loadParent[admission.Team](ctx, s, teamRef(loc.Key.Team)); err != nil {
		return nil, err
	}
	loc.Partition = admission.PartitionOf(loc.Key.BudgetOwner())
	return loc, nil
}

// holder is the key that a digest finds, "" for none.
func (s *Store) holder(ctx context.Context, digest string) (string, error) {
	text, err := s.client.Redis().Get(ctx, store.Locator(digest)).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil {
		return "", store.Fault(err)
	}
	var loc admission.Locator
	if err := json.Unmarshal([]byte(text), &loc); err != nil {
		return "", fault.Wrap(fault.Internal, err, "a locator is damaged")
	}
	return loc.Key.ID, nil
}

// free errs with fault.Conflict when another key has the digest, and with
// fault.Invalid when it is none.
func (s *Store) free(ctx context.Context, r ref, digest string) error {
	if !isDigest(digest) {
		return fault.At("digest", "a digest is 64 lower-case hex digits")
	}
	holder, err := s.holder(ctx, digest)
	if err != nil || holder == "" || holder == r.id {
		return err
	}
	return fault.New(fault.Conflict, "another key has the same secret")
}

func isDigest(s string) bool {
	const size = 64
	return len(s) == size && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	})
}

// locate makes the digest find the key.
func (s *Store) locate(loc *admission.Locator) step {
	return func(ctx context.Context) error {
		text, err := encode(keyRef(loc.Key.ID), loc)
		if err != nil {
			return err
		}
		return store.Fault(s.client.Redis().Set(ctx, store.Locator(loc.Key.Digest), text, 0).Err())
	}
}

// unlocate makes a digest find nothing if it finds the key.
func (s *Store) unlocate(r ref, digest string) step {
	return func(ctx context.Context) error {
		holder, err := s.holder(ctx, digest)
		if err != nil || holder != r.id {
			return err
		}
		return store.Fault(s.client.Redis().Del(ctx, store.Locator(digest)).Err())
	}
}

// relocate makes the key's digest find it, if there still is a key.
func (s *Store) relocate(ctx context.Context, r ref) error {
	key, _, err := load[admission.Key](ctx, s, r)
	if fault.CodeOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	loc, err := s.locator(ctx, &key)
	if err != nil {
		return err
	}
	return s.locate(loc)(ctx)
}

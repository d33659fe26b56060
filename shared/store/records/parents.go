package records

import (
	"context"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/fault"
)

// Users and teams are written alike: others may belong to them.

// createParent stores a new user or team.
func (s *Store) createParent(ctx context.Context, by string, it item) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := s.parentsExist(ctx, it.at); err != nil {
		return err
	}
	return s.create(ctx, by, it, nothing, nothing)
}

// nothing is no step.
func nothing(context.Context) error { return nil }

// parentsExist errs with fault.Invalid when a team does not exist.
func (s *Store) parentsExist(ctx context.Context, at place) error {
	for _, p := range at.parents {
		if _, err := loadParent[admission.Owner](ctx, s, p); err != nil {
			return err
		}
	}
	return nil
}

// replace stores a record that stays where it is.
func (s *Store) replace(ctx context.Context, by string, it item, at place, read int64) error {
	c, err := it.change(by)
	if err != nil {
		return err
	}
	c.steps = []step{s.putOwner(it.ref, at.partition, readVersion(read), &c)}
	if at.closed { // by a move or deletion that was interrupted
		c.steps = append(c.steps, func(ctx context.Context) error { return s.reopen(ctx, it.ref) })
	}
	return s.write(ctx, c)
}

// move stores a user that changes its team, and with that its partition. What was
// spent stays in the counters of the partition it leaves. A move that was
// interrupted leaves the user closed to new keys until it is updated again.
func (s *Store) move(ctx context.Context, by string, it item, from place, read int64) error {
	const doing = "moved to another team"
	if err := s.parentsExist(ctx, it.at); err != nil {
		return err
	}
	if err := s.unlinked(ctx, it.ref, doing); err != nil {
		return err
	}
	c, err := it.change(by)
	if err != nil {
		return err
	}
	to := it.at.after(from)
	stays := to.partition == from.partition
	expect := anyone // what an interrupted move left there
	if stays {
		expect = readVersion(read)
	}
	c.steps = []step{
		func(ctx context.Context) error { return s.shut(ctx, it.ref, doing) },
		s.putOwner(it.ref, to.partition, expect, &c),
		func(ctx context.Context) error { return s.index(ctx, it.ref, from, to, true) },
	}
	if !stays {
		c.steps = append(c.steps, s.deleteOwner(it.ref, from.partition, read))
	}
	c.undo = func(ctx context.Context) error { return s.reopen(ctx, it.ref) }
	return s.write(ctx, c)
}

// reopen lets records be linked again to an owner that still stands.
func (s *Store) reopen(ctx context.Context, r ref) error {
	_, at, err := s.rawOwner(ctx, r)
	if fault.CodeOf(err) == fault.NotFound {
		return nil
	}
	if err != nil || !at.closed {
		return err
	}
	at.closed = false
	return s.index(ctx, r, at, at, false)
}

// deleteParent deletes a user or team that nothing belongs to.
func (s *Store) deleteParent(ctx context.Context, by string, r ref, version int64) error {
	const doing = "deleted"
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	old, at, err := loadForDelete[admission.Owner](ctx, s, r)
	if err == nil && version != 0 {
		err = r.unchanged(old.Version, version)
	}
	if err != nil {
		return err
	}
	if err := s.unlinked(ctx, r, doing); err != nil {
		return err
	}
	return s.write(ctx, change{
		ref: r, by: by, action: archive.Delete, version: old.Version,
		steps: []step{
			func(ctx context.Context) error { return s.shut(ctx, r, doing) },
			s.deleteOwner(r, at.partition, old.Version),
			func(ctx context.Context) error { return s.unindex(ctx, r, at) },
		},
		undo: func(ctx context.Context) error { return s.reopen(ctx, r) },
	})
}

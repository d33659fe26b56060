package records

import (
	"cmp"
	"context"

	"sluice/shared/admission"
	"sluice/shared/archive"
)

// Users are the users in the store.
type Users struct{ s *Store }

func userRef(id string) ref { return ref{archive.User, id} }

func userItem(u *admission.User) item {
	return itemOf(archive.User, &u.Owner, u, cmp.Or(u.Team, u.ID), teamRef(u.Team))
}

// Create stores a new user. The caller sets everything but the version and the
// times. It answers with what was stored. It errs with fault.Invalid when its
// team does not exist or its id is malformed, Conflict when there is one with its
// id, and StoreDown.
func (u *Users) Create(ctx context.Context, by string, user admission.User) (admission.User, error) {
	err := u.s.createParent(ctx, by, userItem(&user))
	return user, err
}

// Get reads a user. It errs with fault.NotFound or StoreDown.
func (u *Users) Get(ctx context.Context, id string) (admission.User, error) {
	user, _, err := load[admission.User](ctx, u.s, userRef(id))
	return user, err
}

// List reads users, newest first: at most limit (1 to 200; 0 = 200) after a
// cursor, and the cursor of the page after these, "" when these are the last. It
// errs with fault.Invalid for a bad cursor, and StoreDown.
func (u *Users) List(ctx context.Context, cursor string, limit int) ([]admission.User, string, error) {
	return list[admission.User](ctx, u.s, archive.User, cursor, limit)
}

// Update replaces the user of the version that was read (user.Version) and
// answers with what was stored. It errs with fault.NotFound, Invalid when its
// team does not exist, Conflict when it was changed meanwhile or its team changes
// while it has keys, and StoreDown.
func (u *Users) Update(ctx context.Context, by string, user admission.User) (admission.User, error) {
	s := u.s
	end, err := s.begin(ctx)
	if err != nil {
		return admission.User{}, err
	}
	defer end()
	it := userItem(&user)
	old, at, err := load[admission.User](ctx, s, it.ref)
	if err == nil {
		err = it.unchanged(old.Version, user.Version)
	}
	if err != nil {
		return admission.User{}, err
	}
	it.updated(&old.Owner, s.stamp())
	if user.Team == old.Team {
		err = s.replace(ctx, by, it, at, old.Version)
		return user, err
	}
	err = s.move(ctx, by, it, at, old.Version)
	return user, err
}

// Delete removes the user of the version that was read, 0 = whichever stands. It
// errs with fault.NotFound, Conflict when keys belong to it or it was changed
// meanwhile, and StoreDown.
func (u *Users) Delete(ctx context.Context, by, id string, version int64) error {
	return u.s.deleteParent(ctx, by, userRef(id), version)
}

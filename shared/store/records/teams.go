package records

import (
	"context"

	"sluice/shared/admission"
	"sluice/shared/archive"
)

// Teams are the teams in the store.
type Teams struct{ s *Store }

func teamRef(id string) ref { return ref{archive.Team, id} }

func teamItem(t *admission.Team) item { return itemOf(archive.Team, &t.Owner, t, t.ID) }

// Create stores a new team. The caller sets everything but the version and the
// times. It answers with what was stored. It errs with fault.Invalid when its id
// is malformed, Conflict when there is one with its id, and StoreDown.
func (t *Teams) Create(ctx context.Context, by string, team admission.Team) (admission.Team, error) {
	err := t.s.createParent(ctx, by, teamItem(&team))
	return team, err
}

// Get reads a team. It errs with fault.NotFound or StoreDown.
func (t *Teams) Get(ctx context.Context, id string) (admission.Team, error) {
	team, _, err := load[admission.Team](ctx, t.s, teamRef(id))
	return team, err
}

// List reads teams, newest first: at most limit (1 to 200; 0 = 200) after a
// cursor, and the cursor of the page after these, "" when these are the last. It
// errs with fault.Invalid for a bad cursor, and StoreDown.
func (t *Teams) List(ctx context.Context, cursor string, limit int) ([]admission.Team, string, error) {
	return list[admission.Team](ctx, t.s, archive.Team, cursor, limit)
}

// Update replaces the team of the version that was read (team.Version) and
// answers with what was stored. It errs with fault.NotFound, Conflict when it was
// changed meanwhile, and StoreDown.
func (t *Teams) Update(ctx context.Context, by string, team admission.Team) (admission.Team, error) {
	s := t.s
	end, err := s.begin(ctx)
	if err != nil {
		return admission.Team{}, err
	}
	defer end()
	it := teamItem(&team)
	old, at, err := load[admission.Team](ctx, s, it.ref)
	if err == nil {
		err = it.unchanged(old.Version, team.Version)
	}
	if err != nil {
		return admission.Team{}, err
	}
	it.updated(&old.Owner, s.stamp())
	err = s.replace(ctx, by, it, at, old.Version)
	return team, err
}

// Delete removes the team of the version that was read, 0 = whichever stands. It
// errs with fault.NotFound, Conflict when keys or users belong to it or it was
// changed meanwhile, and StoreDown.
func (t *Teams) Delete(ctx context.Context, by, id string, version int64) error {
	return t.s.deleteParent(ctx, by, teamRef(id), version)
}

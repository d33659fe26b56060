package admin

import (
	"cmp"
	"context"
	"time"

	"sluice/shared/admission"
)

// ownerFields are the writable fields that keys, users and teams have in common.
type ownerFields struct {
	Name     string           `json:"name"`
	Status   admission.Status `json:"status"`
	TimeZone string           `json:"time_zone,omitempty"`
	Limits   admission.Limits `json:"limits"`
}

func ownerFieldsOf(o *admission.Owner) ownerFields {
	return ownerFields{Name: o.Name, Status: cmp.Or(o.Status, admission.Active), TimeZone: o.TimeZone, Limits: o.Limits}
}

func (f *ownerFields) applyOwner(o *admission.Owner) error {
	err := first(
		checkName("name", f.Name),
		oneOf("status", f.Status, admission.Active, admission.Disabled),
		checkZone("time_zone", f.TimeZone),
		checkLimits("limits", &f.Limits),
	)
	if err != nil {
		return err
	}
	o.Name, o.Status, o.TimeZone, o.Limits = f.Name, f.Status, f.TimeZone, f.Limits
	return nil
}

// ownerView is what is shown of a key, user or team beside its fields.
type ownerView struct {
	Version   int64              `json:"version"`
	CreatedAt time.Time          `json:"created_at"`
	UpdatedAt time.Time          `json:"updated_at"`
	Balance   *admission.Balance `json:"balance,omitempty"` // when one record is read
}

func ownerViewOf(o *admission.Owner) ownerView {
	return ownerView{Version: o.Version, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt}
}

// balance adds what the owner has spent. budget is the id of the owner whose
// partition it is counted in.
func (a *api) balance(ctx context.Context, budget string, o *admission.Owner, v *ownerView) error {
	b, err := a.Ledger.Balance(ctx, admission.PartitionOf(budget), o)
	if err != nil {
		return err
	}
	v.Balance = &b
	return nil
}

// userFields are the writable fields of a user.
type userFields struct {
	ownerFields
	Email string `json:"email,omitempty"`
	Team  string `json:"team,omitempty"`
}

type userView struct {
	ID string `json:"id"`
	userFields
	ownerView
}

func (a *api) users() *resource[admission.User, userFields, userView] {
	fields := func(u *admission.User) userFields {
		return userFields{ownerFields: ownerFieldsOf(&u.Owner), Email: u.Email, Team: u.Team}
	}
	return &resource[admission.User, userFields, userView]{
		api: a, kind: "user", path: "/users", prefix: "user_", records: a.Users,
		blank:   func(id string) admission.User { return admission.User{Owner: admission.Owner{ID: id}} },
		version: func(u *admission.User) (string, int64) { return u.ID, u.Version },
		fields:  fields,
		apply: func(_ context.Context, f *userFields, u *admission.User) error {
			if err := first(f.applyOwner(&u.Owner), checkEmail("email", f.Email)); err != nil {
				return err
			}
			u.Email, u.Team = f.Email, f.Team
			return nil
		},
		view: func(u *admission.User) userView { return userView{u.ID, fields(u), ownerViewOf(&u.Owner)} },
		detail: func(ctx context.Context, u *admission.User, v *userView) error {
			return a.balance(ctx, cmp.Or(u.Team, u.ID), &u.Owner, &v.ownerView)
		},
	}
}

type teamView struct {
	ID string `json:"id"`
	ownerFields
	ownerView
}

func (a *api) teams() *resource[admission.Team, ownerFields, teamView] {
	return &resource[admission.Team, ownerFields, teamView]{
		api: a, kind: "team", path: "/teams", prefix: "team_", records: a.Teams,
		blank:   func(id string) admission.Team { return admission.Team{Owner: admission.Owner{ID: id}} },
		version: func(m *admission.Team) (string, int64) { return m.ID, m.Version },
		fields:  func(m *admission.Team) ownerFields { return ownerFieldsOf(&m.Owner) },
		apply: func(_ context.Context, f *ownerFields, m *admission.Team) error {
			return f.applyOwner(&m.Owner)
		},
		view: func(m *admission.Team) teamView {
			return teamView{m.ID, ownerFieldsOf(&m.Owner), ownerViewOf(&m.Owner)}
		},
		detail: func(ctx context.Context, m *admission.Team, v *teamView) error {
			return a.balance(ctx, m.ID, &m.Owner, &v.ownerView)
		},
	}
}

package admin

import (
	"context"
	"net/http"
	"time"

	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/secret"
)

// credentialFields are a credential as it is written; its secret is never shown.
type credentialFields struct {
	Type   provider.Auth `json:"type"`
	Secret secret.Value  `json:"secret,omitzero"`
}

// accountFields are the writable fields of an account.
type accountFields struct {
	Name           string            `json:"name"`
	Provider       string            `json:"provider"`
	BaseURL        string            `json:"base_url,omitempty"`
	Region         string            `json:"region,omitempty"`
	Credential     *credentialFields `json:"credential,omitempty"`
	Proxy          string            `json:"proxy,omitempty"` // read back without its password
	Priority       int               `json:"priority"`
	Weight         int               `json:"weight"`
	Groups         []string          `json:"groups,omitempty"`
	Models         pool.ModelRules   `json:"models"`
	MaxConcurrency int               `json:"max_concurrency,omitempty"`
	PrivateNetwork bool              `json:"private_network,omitempty"`
}

type accountView struct {
	ID string `json:"id"`
	accountFields
	Hint      string      `json:"hint"`
	Paused    bool        `json:"paused"`
	Version   int64       `json:"version"`
	CreatedAt time.Time   `json:"created_at"`
	UpdatedAt time.Time   `json:"updated_at"`
	State     *healthView `json:"state,omitempty"` // when accounts are read
}

// condition is how an account is, in a word.
type condition string

// The conditions, the first that applies.
const (
	paused     condition = "paused"     // by hand
	cooling    condition = "cooling"    // takes no call until its cool-down ends
	recovering condition = "recovering" // takes few at once after a cool-down
	healthy    condition = "healthy"
)

// healthView is how an account fares.
type healthView struct {
	Condition  condition            `json:"condition"`
	Reason     string               `json:"reason,omitempty"`
	Leases     int                  `json:"leases"`
	CoolUntil  *time.Time           `json:"cool_until,omitempty"`
	Recovering int                  `json:"recovering,omitempty"`
	Families   map[string]pool.Cool `json:"families,omitempty"`
}

// health is the state of an account as it is shown.
func health(s pool.State, isPaused bool, now time.Time) *healthView {
	v := &healthView{Condition: healthy, Reason: s.Reason, Leases: s.Leases, Recovering: s.Recovering, Families: s.Families}
	if s.CoolUntil.After(now) {
		v.CoolUntil = &s.CoolUntil
	}
	switch {
	case isPaused:
		v.Condition = paused
	case v.CoolUntil != nil:
		v.Condition = cooling
	case s.Recovering > 0:
		v.Condition = recovering
	}
	return v
}

func accountFieldsOf(a *pool.Account) accountFields {
	f := accountFields{
		Name: a.Name, Provider: a.Provider, BaseURL: a.BaseURL, Region: a.Region, Proxy: a.Proxy,
		Priority: a.Priority, Weight: a.Weight, Groups: a.Groups, Models: a.Models,
		MaxConcurrency: a.MaxConcurrency, PrivateNetwork: a.PrivateNetwork,
	}
	if a.Auth != "" {
		f.Credential = &credentialFields{Type: a.Auth}
	}
	return f
}

// accounts adds to the common handling what can be done with an account.
type accounts struct {
	*resource[pool.Account, accountFields, accountView]
}

func (a *api) accounts() accounts {
	return accounts{&resource[pool.Account, accountFields, accountView]{
		api: a, kind: "account", path: "/accounts", prefix: "acct_", records: a.Accounts,
		blank: func(id string) pool.Account {
			return pool.Account{ID: id, Priority: defaultPriority, Weight: defaultWeight}
		},
		version: func(x *pool.Account) (string, int64) { return x.ID, x.Version },
		fields:  accountFieldsOf,
		screen:  screenAccount,
		apply:   a.applyAccount,
		view: func(x *pool.Account) accountView {
			return accountView{
				ID: x.ID, accountFields: accountFieldsOf(x), Hint: x.Hint, Paused: x.Paused,
				Version: x.Version, CreatedAt: x.CreatedAt, UpdatedAt: x.UpdatedAt,
			}
		},
		annotate: a.annotate,
	}}
}

func (x accounts) routes() []route {
	return append(x.resource.routes(),
		route{http.MethodPost, x.path + "/{id}/pause", x.pausing(true)},
		route{http.MethodPost, x.path + "/{id}/resume", x.pausing(false)},
		route{http.MethodPost, x.path + "/{id}/reset", x.reset},
		route{http.MethodPost, x.path + "/{id}/test", x.test},
	)
}

// annotate adds the states of accounts.
func (a *api) annotate(ctx context.Context, views []accountView) error {
	if len(views) == 0 {
		return nil
	}
	states, err := a.Health.States(ctx)
	if err != nil {
		return err
	}
	for i := range views {
		views[i].State = health(states[views[i].ID], views[i].Paused, a.Now())
	}
	return nil
}

// pausing sets the pause, which never ends by itself.
func (x accounts) pausing(on bool) serve {
	action := "resume"
	if on {
		action = "pause"
	}
	return func(c *call) error {
		if err := c.nothing(); err != nil {
			return err
		}
		return x.change(c, action, func(a *pool.Account) error { a.Paused = on; return nil })
	}
}

// reset ends the cool-downs of an account.
func (x accounts) reset(c *call) error {
	account, err := x.target(c)
	if err != nil {
		return err
	}
	if err := c.match(account.Version); err != nil {
		return err
	}
	err = x.api.record(c, "reset", x.kind, account.ID, func() error {
		return x.api.Health.Reset(c.r.Context(), account.ID)
	})
	if err != nil {
		return err
	}
	return x.get(c)
}

// testView is the answer to a test.
type testView struct {
	OK      bool   `json:"ok"`
	Status  int    `json:"status,omitempty"` // HTTP status of the vendor
	Latency int64  `json:"latency_ms"`
	Message string `json:"message,omitempty"`
}

func (x accounts) test(c *call) error {
	account, err := x.target(c)
	if err != nil {
		return err
	}
	if x.api.Tester == nil {
		return fault.New(fault.NotImplemented, "accounts cannot be tested from here")
	}
	var result TestResult
	err = x.api.record(c, "test", x.kind, account.ID, func() error {
		result, err = x.api.Tester.Test(c.r.Context(), account.ID)
		return err
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, testView{result.OK, result.Status, result.Latency.Milliseconds(), result.Message})
}

// target is the account of a request that takes no body.
func (x accounts) target(c *call) (pool.Account, error) {
	if err := c.nothing(); err != nil {
		return pool.Account{}, err
	}
	return x.records.Get(c.r.Context(), c.r.PathValue("id"))
}

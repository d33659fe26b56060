// Package admission decides whether a call may run, and holds money for it until
// it is settled.
//
// A Gate locates a key from its secret, admits a call against every limit of the
// key, its user and its team in one script, keeps the hold alive while the answer
// streams, and settles it with what the call really cost. The Store port says
// what Redis must do; shared/store/ledger does it.
package admission

import (
	"slices"
	"time"

	"sluice/shared/llm"
	"sluice/shared/money"
)

// Limits bound what an owner's calls may use. The zero value bounds nothing.
type Limits struct {
	Concurrency int      `json:"concurrency,omitempty"` // calls at once
	Windows     []Window `json:"windows,omitempty"`
	Budgets     []Budget `json:"budgets,omitempty"`
}

// Window bounds what happens in any span of so many minutes. Zero bounds nothing.
type Window struct {
	Minutes  int         `json:"minutes"`
	Requests int64       `json:"requests,omitempty"`
	Tokens   int64       `json:"tokens,omitempty"` // input, cached input and output
	USD      money.Nanos `json:"usd,omitempty"`
}

// Period is a calendar span in the owner's time zone.
type Period string

// The periods. A week begins on Monday.
const (
	Day   Period = "day"
	Week  Period = "week"
	Month Period = "month"
	Total Period = "total"
)

// Budget bounds the cost of a calendar period.
type Budget struct {
	Per    Period      `json:"per"`
	USD    money.Nanos `json:"usd"`
	Models []string    `json:"models,omitempty"` // patterns (path.Match) of model names it counts; empty = all
	Anchor int         `json:"anchor,omitempty"` // first day: 1–7 of the week (Monday = 1), 1–28 of the month; 0 = 1
}

// Status says whether an owner's calls are served.
type Status string

// The states.
const (
	Active   Status = "active"
	Disabled Status = "disabled"
)

// Hold says how much output a call holds from its start.
type Hold string

// The ways to hold.
const (
	HoldNormal Hold = "normal" // a stream starts with 4,096 tokens of output and extends
	HoldStrict Hold = "strict" // max_tokens whole
)

// Disconnect says what becomes of an answer whose client left.
type Disconnect string

// The ways to end it.
const (
	Drain Disconnect = "drain" // it is read on for a while, for its figures
	Abort Disconnect = "abort" // it is given up at once, and estimated
)

// Models says which models a key may use, by patterns (path.Match) of names. An
// empty Allow allows all; Deny wins.
type Models struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

// Bind ties a key to one account or to a group of accounts. At most one is set.
type Bind struct {
	Account string `json:"account,omitempty"`
	Group   string `json:"group,omitempty"`
}

// Owner is a record that money is counted on: a key, a user or a team.
type Owner struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Status    Status    `json:"status"`
	TimeZone  string    `json:"time_zone,omitempty"` // IANA name of its calendar; "" = UTC
	Limits    Limits    `json:"limits"`
	Version   int64     `json:"version"` // rises with every change
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Team is an owner that users and keys belong to.
type Team struct{ Owner }

// User is an owner that keys belong to.
type User struct {
	Owner
	Email string `json:"email,omitempty"`
	Team  string `json:"team,omitempty"` // id; fixed while the user has keys: counters live in the team's partition
}

// Key is an owner that a client presents.
type Key struct {
	Owner
	Digest               string            `json:"digest"`                  // hex SHA-256 of the secret
	Hint                 string            `json:"hint"`                    // last four characters of the secret
	User                 string            `json:"user,omitempty"`          // id
	Team                 string            `json:"team,omitempty"`          // id: the user's team, or the key's own
	Models               Models            `json:"models"`                  //
	Dialects             []llm.Protocol    `json:"dialects,omitempty"`      // it may speak; empty = all
	Bind                 Bind              `json:"bind"`                    //
	Hold                 Hold              `json:"hold,omitempty"`          // "" = normal
	OnDisconnect         Disconnect        `json:"on_disconnect,omitempty"` // "" = drain
	ExpiresAt            *time.Time        `json:"expires_at,omitempty"`
	ExpiresAfterFirstUse Seconds           `json:"expires_after_first_use,omitempty"`
	Tags                 map[string]string `json:"tags,omitempty"`
}

// Seconds is a span in JSON as a number of seconds.
type Seconds int64

// BudgetOwner is the id of the owner whose partition the key lives in: its team,
// else its user, else itself.
func (k *Key) BudgetOwner() string {
	switch {
	case k.Team != "":
		return k.Team
	case k.User != "":
		return k.User
	}
	return k.ID
}

// Partitions is the number of ledger partitions. It never changes: counters of
// an owner are found by it.
const Partitions = 64

// PartitionOf is the ledger partition of a budget owner (FNV-1a of the id).
func PartitionOf(owner string) int {
	h := uint32(2166136261)
	for i := range len(owner) {
		h = (h ^ uint32(owner[i])) * 16777619
	}
	return int(h % Partitions)
}

// Budgeted says whether the limits count money.
func (l Limits) Budgeted() bool {
	return len(l.Budgets) > 0 || slices.ContainsFunc(l.Windows, func(w Window) bool { return w.USD > 0 })
}

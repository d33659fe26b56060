package admission

import (
	"context"
	"encoding/json"
	"time"

	"sluice/shared/money"
)

// IntentTTL is how long an open call outlives the last renewal of it: the hold
// of a process that died is settled by the sweep after this.
const IntentTTL = 35 * time.Second

// Store is what the gate needs of Redis. Every method is safe to repeat and errs
// with fault.StoreDown when Redis does not answer.
type Store interface {
	// Locate reads the stored locator of a secret's digest. It errs with
	// fault.Unauthenticated when there is none.
	Locate(ctx context.Context, digest string) (*Locator, error)
	// Heal replaces the stored locator of a digest, if there still is one.
	Heal(ctx context.Context, digest string, l *Locator) error
	// Admit verifies the versions in the plan, checks every limit and opens the
	// call. A refusal is an answer, not an error.
	Admit(ctx context.Context, r Request) (Answer, error)
	// Extend renews open calls and raises their holds, each by itself. The
	// answers are in the order of the intents.
	Extend(ctx context.Context, intents []Intent) ([]Extended, error)
	// Settle closes an open call: its hold is given back, its cost counted and
	// its row written. A call that was settled before stays as it is.
	Settle(ctx context.Context, s Settlement) error
}

// Intent is an open call as the ledger keeps it.
type Intent struct {
	Call      string          `json:"-"`
	Partition int             `json:"-"`
	Hold      money.Nanos     `json:"-"` // held on every owner of the plan
	Tokens    int64           `json:"-"` // held against windows of tokens
	Plan      Plan            `json:"plan"`
	Row       json.RawMessage `json:"row,omitempty"` // the record that is written if the process dies now; opaque here
}

// Purpose is what a Request asks for.
type Purpose string

// The purposes.
const (
	Open  Purpose = "open"  // opens the call, with a hold
	Count Purpose = "count" // only counts it in the windows; nothing stays open
	Probe Purpose = "probe" // only verifies the versions
)

// Request asks to admit a call.
type Request struct {
	Intent
	Purpose Purpose
}

// Outcome is how a Request was answered.
type Outcome string

// The outcomes.
const (
	Admitted Outcome = "ok"
	Stale    Outcome = "stale"   // a record changed: Fresh has them all
	Expired  Outcome = "expired" // the key's time is over
	Refused  Outcome = "refused" // a limit is reached: Refusal says which
	Closed   Outcome = "closed"  // the call was settled before
)

// Answer is the answer to a Request.
type Answer struct {
	Outcome Outcome
	Now     time.Time   // the store's clock
	Fresh   *Locator    // of Stale; nil when the key or one of its owners is gone
	Refusal Refusal     // of Refused
	Windows []WindowUse // of Admitted: every window, this call included
}

// WindowUse is how full a window is.
type WindowUse struct {
	Share    int   // index into Plan.Shares
	Item     int   // index into the share's Windows
	Requests int64 // made
	Tokens   int64 // settled and in flight
	Until    int64 // Unix ms when the oldest of it leaves the window
}

// Reason is which kind of limit refused a call.
type Reason string

// The reasons.
const (
	OverConcurrency Reason = "concurrency"
	OverRequests    Reason = "requests"
	OverTokens      Reason = "tokens"
	OverCost        Reason = "cost"
	BudgetIsSpent   Reason = "spent" // what is settled leaves too little
	BudgetIsHeld    Reason = "held"  // calls in flight hold too much
)

// Refusal says which limit refused a call and what it stood at. Amounts of money
// are nano-dollars.
type Refusal struct {
	Reason Reason
	Share  int   // index into Plan.Shares
	Item   int   // index into the share's Windows or Counters
	Used   int64 // settled, or calls open
	Held   int64 // by calls in flight
	Until  int64 // Unix ms from which the window has room again; 0 = unknown
	Due    int   // open calls of the partition whose process seems dead
}

// Extended is the answer to one intent of Extend.
type Extended struct {
	Outcome Outcome // Admitted, Refused (renewed, the old hold stands) or Closed
	Refusal Refusal
}

// Settlement closes a call, as a value that can be queued and applied late or twice.
type Settlement struct {
	Call      string          `json:"call"`
	Partition int             `json:"p"`
	Plan      Plan            `json:"plan"`
	Cost      money.Nanos     `json:"cost_usd"`
	Tokens    int64           `json:"tokens"`
	Row       json.RawMessage `json:"row,omitempty"` // the usage record; empty = none is written
	// Doubtful are records of earlier attempts that may have been served, though no
	// answer came of them. Cost and Tokens count them, too.
	Doubtful []json.RawMessage `json:"doubtful,omitempty"`
}

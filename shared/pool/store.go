package pool

import (
	"context"
	"time"

	"sluice/shared/provider"
)

// LeaseTTL is how long a lease outlives the last renewal of it: a place that a
// killed process held is free again after this.
const LeaseTTL = 35 * time.Second

// MaxCandidates is the largest number of accounts that one Request may offer.
const MaxCandidates = 16

// MaxRenewals is the largest number of leases that one Store.Renew may carry.
const MaxRenewals = 100

// Store is what the router needs of Redis. Every method is safe to repeat, and
// errs with fault.StoreDown when Redis does not answer.
type Store interface {
	// Accounts are all accounts, and the version of the set; both read at once.
	Accounts(ctx context.Context) ([]Account, int64, error)
	// Version is the version of the set by itself.
	Version(ctx context.Context) (int64, error)
	// Acquire leases the first asked account that is healthy and free, or says
	// why there is none. That is an answer, not an error.
	Acquire(ctx context.Context, r Request) (Acquired, error)
	// Renew extends at most MaxRenewals leases by LeaseTTL, and recreates those
	// that were lost.
	Renew(ctx context.Context, held []Held) error
	// Release ends the attempt of a lease.
	Release(ctx context.Context, r Release) error
}

// Request asks for a lease on the first suitable account of an ordered list.
type Request struct {
	Call     string
	Attempt  int      // from 1; a repeat of the same attempt is answered alike
	Version  int64    // of the accounts that Asks were made from
	Asks     []Ask    // 1 to MaxCandidates, preferred first
	Metered  bool     // takes a lease; otherwise only health counts
	Patient  bool     // when the first ask is merely full, answer Waits and take no other
	Previous *Release // of the attempt before, applied first; nil for none
}

// Ask is one account of a Request.
type Ask struct {
	Account string // id
	Vendor  string // name of its provider
	Family  string // of the model
	Max     int    // leases at once; 0 = unlimited
}

// Outcome is how a Request was answered.
type Outcome uint8

// The outcomes.
const (
	Leased Outcome = iota // Acquired.Index was taken
	Stale                 // the accounts have changed: nothing was done
	Waits                 // the first ask is full and the request is patient: nothing was done
	None                  // every ask was passed over; Previous was applied
)

// Acquired is the answer to a Request.
type Acquired struct {
	Outcome Outcome
	Index   int       // of the ask that was leased
	Now     time.Time // the store's clock
	Passed  []Passed  // the asks that were passed over, in order
}

// Passed is an account that was passed over, and why.
type Passed struct {
	Account string
	Why     Obstacle
	Until   time.Time // when a cool-down ends; zero when it is merely full
}

// Obstacle is why an account was passed over.
type Obstacle string

// The obstacles.
const (
	Full       Obstacle = "full"       // its maximum concurrency is in use
	Recovering Obstacle = "recovering" // half-open after a cool-down, and its few places are in use
	Cooling    Obstacle = "cooling"    // the account, or the model's family at it or at its vendor, cools down
)

// Held is a lease as a renewal names it.
type Held struct {
	Call    string
	Account string // id
	Attempt int
	Since   time.Time // when it was leased, by the store's clock
}

// LeaseInfo is the mark that a leased call leaves: it may have been sent to the account.
type LeaseInfo struct {
	Account string    `json:"account"`
	Attempt int       `json:"attempt"`
	Since   time.Time `json:"since"` // when it was leased
}

// Release is the end of one attempt, as a value that can be queued and applied
// late or twice. Blame and the cooling are what the attempt said of its account.
type Release struct {
	Call      string         `json:"call"`
	Account   string         `json:"account"` // id
	Vendor    string         `json:"vendor"`
	Attempt   int            `json:"attempt"`
	Healthy   bool           `json:"healthy"` // the account did its work
	Scope     provider.Scope `json:"scope,omitempty"`
	Family    string         `json:"family,omitempty"`
	CoolUntil time.Time      `json:"cool_until,omitzero"` // by the store's clock; zero: no cooling
	Reason    string         `json:"reason,omitempty"`    // of the cooling, for operators
}

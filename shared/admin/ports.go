package admin

import (
	"context"
	"time"

	"sluice/shared/admission"
	"sluice/shared/money"
	"sluice/shared/pool"
	"sluice/shared/secret"
	"sluice/shared/usage"
)

// Records stores one kind of record. Versions rise with every change of one, and
// a write is durable in the config log before it is made. by says who writes.
// Every method errs with fault.StoreDown when the store does not answer.
type Records[R any] interface {
	// Create stores a new record, whose id is set, and answers with what was
	// stored. It errs with fault.Invalid, naming the field, when a record that it
	// belongs to does not exist, and Conflict when there is one like it.
	Create(ctx context.Context, by string, r R) (R, error)
	// Get reads a record. It errs with fault.NotFound.
	Get(ctx context.Context, id string) (R, error)
	// List reads at most limit records after a cursor, newest first, and the
	// cursor of the page after these, "" when there is none. It errs with
	// fault.Invalid for a cursor that it cannot read.
	List(ctx context.Context, cursor string, limit int) ([]R, string, error)
	// Update replaces the record if it still has the version that r has, and
	// answers with what was stored. It errs with fault.NotFound, Conflict, and
	// Invalid, naming the field, when something may not change.
	Update(ctx context.Context, by string, r R) (R, error)
	// Delete removes a record of the given version, 0 = whichever stands. It errs
	// with fault.NotFound, and Conflict when the version is another or records
	// belong to it.
	Delete(ctx context.Context, by, id string, version int64) error
}

// Counts are numbers of records.
type Counts struct {
	Keys     int64 `json:"keys"`
	Users    int64 `json:"users"`
	Teams    int64 `json:"teams"`
	Accounts int64 `json:"accounts"`
}

// Census counts records without reading them.
type Census interface {
	// Counts errs with fault.StoreDown.
	Counts(ctx context.Context) (Counts, error)
}

// Sealer seals the credentials of accounts.
type Sealer interface {
	// Seal makes the account's Sealed with a new secret and proxy URL; nil keeps
	// what the account's Sealed holds. It errs with fault.UpstreamFailed when that
	// does not open, and Internal when it cannot be sealed.
	Seal(ctx context.Context, a pool.Account, key, proxy *secret.Value) ([]byte, error)
}

// Usage reads the records of calls.
type Usage interface {
	// Records is a page of the records that q selects, newest first. It errs with
	// fault.Invalid for a bad cursor, and StoreDown.
	Records(ctx context.Context, q usage.Query) (usage.Page, error)
	// Sum adds the records up by bucket and group, in their order. It errs with
	// fault.Invalid when there are too many rows, and StoreDown.
	Sum(ctx context.Context, q usage.Query) ([]usage.Row, error)
}

// Ledger knows what is spent and held.
type Ledger interface {
	// Balance is that of an owner in a ledger partition. It errs with
	// fault.StoreDown.
	Balance(ctx context.Context, partition int, o *admission.Owner) (admission.Balance, error)
	// Open is the number of calls in flight and the money held for them. It errs
	// with fault.StoreDown.
	Open(ctx context.Context) (calls int64, held money.Nanos, err error)
}

// Health knows how accounts fare.
type Health interface {
	// States are the states by account id; an account that was never used may be
	// missing. It errs with fault.StoreDown.
	States(ctx context.Context) (map[string]pool.State, error)
	// Reset ends the cool-downs of an account. It errs with fault.StoreDown.
	Reset(ctx context.Context, id string) error
}

// TestResult is how a vendor answered a test of an account.
type TestResult struct {
	OK      bool
	Status  int           // HTTP status of the vendor's answer; 0 = there was none
	Latency time.Duration // until the answer, or until it failed
	Message string        // what went wrong, and what to do
}

// Tester asks a vendor whether an account works.
type Tester interface {
	// Test asks once. That an account does not work is a result, not an error. It
	// errs with fault.NotFound and StoreDown.
	Test(ctx context.Context, id string) (TestResult, error)
}

package chaos

import (
	"time"

	"sluice/shared/admission"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/simulator"
	"sluice/shared/usage"
)

// kind is what a client asks for.
type kind string

const (
	stream kind = "stream" // and reads it to its end
	plain  kind = "plain"  // an answer in one piece
	leaver kind = "leaver" // a stream, and leaves in the middle of it
	count  kind = "count"  // count_tokens, which is free
)

// saw is what a client got to see.
type saw string

const (
	whole saw = "whole" // the answer, to its end
	typed saw = "typed" // an error of the protocol, as a status or in the stream
	left  saw = "left"  // it left on its own account
	broke saw = "broke" // neither: the connection broke, or nothing came
)

// call is one call as its client knows it.
type call struct {
	ID, Key, Owner string
	Kind           kind
	Model, Script  string
	Process        int
	Begun, Ended   time.Time
	Saw            saw
	Detail         string      // the error's type, or how it broke
	Status         int         // 0 = none came
	Read           llm.Reading // what of the answer was seen
	Killed         bool        // its process was killed while it ran
}

// arrival is a call at the vendor's door.
type arrival struct {
	Status int // that the vendor answered; 0 = it reset the connection, or was left before
}

// refused says that the vendor did no work, and that its client could see that.
func (a arrival) refused() bool { return a.Status >= 400 }

// openCall is a call that the ledger holds money for.
type openCall struct {
	Call, Key string
	Owners    []string
	Hold      money.Nanos
}

// books are what the store has of an episode's owners.
type books struct {
	Rows     []usage.Record // in the order in which they were written
	Balances map[string]admission.Balance
	Open     []openCall
	Due      []string // calls that the sweep would look at
	Leases   []string // calls with a place at an account
}

// evidence is all that is known of an episode.
type evidence struct {
	Calls    []call
	Arrivals map[string][]arrival          // by the call's ID
	Bill     map[string][]simulator.Charge // by the call's ID
	Books    books
	Budgets  map[string]money.Nanos // by owner
	Overruns []string               // seen while the episode ran
	Faults   []string               // what the episode itself found wrong
	// Rollups and archive are compared with the rows once there are some; nil = not.
	Rollups func([]usage.Record) []string
}

// invariant names what must hold.
type invariant string

const (
	billed    invariant = "billed"    // a finished call costs what the vendor bills, to the token
	estimated invariant = "estimated" // a call that was cut has one row between what was seen and what was held
	unsent    invariant = "unsent"    // what the vendor never worked on costs nothing
	overrun   invariant = "overrun"   // no budget was exceeded, no row costs more than was held
	held      invariant = "held"      // what is held is the sum of the holds of open calls, and nothing is at rest
	leases    invariant = "leases"    // no place at an account is taken
	double    invariant = "double"    // no call is settled twice
	sums      invariant = "sums"      // balances, rollups and archive are the sums of the rows
	answers   invariant = "answers"   // every client saw a whole answer or a typed error
	expected  invariant = "expected"  // what the episode itself expects
)

// violation is an invariant that does not hold.
type violation struct {
	invariant
	Detail string
}

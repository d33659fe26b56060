// Package usage measures what a call used and keeps the record of it.
//
// A Meter taps an answer as it streams by and gives a Reading; a Record is the
// one row that a call leaves in the ledger. Records are read back by a Query.
package usage

import (
	"time"

	"sluice/shared/llm"
	"sluice/shared/money"
)

// Outcome says how a call ended.
type Outcome string

// The outcomes.
const (
	Complete Outcome = "complete" // the vendor's terminal event was seen: usage is the vendor's
	Failed   Outcome = "failed"   // the vendor refused or failed before any answer: nothing was billed
	Cut      Outcome = "cut"      // the answer began and did not end: usage is partly estimated
	Aborted  Outcome = "aborted"  // the client left and the answer was not drained to its end
	Lost     Outcome = "lost"     // the process that served it died: settled by the sweep
)

// Record is the row of one call.
type Record struct {
	Call      string            `json:"call"` // id
	At        time.Time         `json:"at"`   // when it was admitted
	Key       string            `json:"key"`
	User      string            `json:"user,omitempty"`
	Team      string            `json:"team,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
	Dialect   llm.Protocol      `json:"dialect"`
	Model     string            `json:"model"`              // as the client named it
	Upstream  string            `json:"upstream,omitempty"` // the vendor's name of it
	Provider  string            `json:"provider,omitempty"`
	Account   string            `json:"account,omitempty"`
	Attempts  int               `json:"attempts"`
	Stream    bool              `json:"stream"`
	Outcome   Outcome           `json:"outcome"`
	Code      string            `json:"code,omitempty"` // the fault's code, unless it went well
	Estimated bool              `json:"estimated"`      // some figure is not the vendor's
	Unpriced  bool              `json:"unpriced"`       // something had no price; cost lacks it
	Usage     llm.Usage         `json:"usage"`          //
	Cost      money.Nanos       `json:"cost_usd"`       //
	Held      money.Nanos       `json:"held_usd"`       // the hold at its end
	Duration  int64             `json:"duration_ms"`    // admitted to ended
	FirstByte int64             `json:"first_byte_ms"`  // admitted to first frame of the answer; 0 = none
	// Corrects is the record that this one takes the place of: the sweep had settled
	// the call as lost, and then its process did. Both stand in the ledger, which is
	// only ever added to; a sum counts this one less the other.
	Corrects *Record `json:"corrects,omitempty"`
}

// Tokens is what the call counts against windows of tokens.
func (r *Record) Tokens() int64 { return r.Usage.InputTotal() + llm.Count(r.Usage.Output) }

// Unsent is the row of the call if it turns out that it was never sent: it used
// nothing.
func (r Record) Unsent() Record {
	r.Usage, r.Cost, r.Estimated, r.Unpriced = llm.Usage{}, 0, false, false
	return r
}

// Package provider defines a vendor: how a request to it is made, how its answer
// is framed, and who is to blame when it fails.
//
// A Provider is pure: no I/O, no clock of its own, no state. Its tests are text
// files. Adding a vendor is one folder plus one line in provider/all.
package provider

import (
	"context"
	"io"
	"net/http"
	"time"

	"sluice/shared/llm"
	"sluice/shared/secret"
)

// Account is one credential at one vendor, opened for one attempt.
type Account struct {
	ID      string
	BaseURL string // "" = the vendor's own
	Region  string
	Auth    Auth
	Secret  secret.Value
}

// Auth is how an account's secret is presented.
type Auth string

// The ways.
const (
	APIKey Auth = "api_key" // the vendor's key header
	Bearer Auth = "bearer"  // Authorization: Bearer
)

// Outbound is what is to be sent.
type Outbound struct {
	Op     llm.Op
	Model  string // the vendor's name of it
	Stream bool
	Header http.Header // of the client; not to be changed
	Query  string
	Body   []byte // names Model already
}

// Provider is a vendor.
type Provider interface {
	// Name is what an account's provider field says.
	Name() string
	// Speaks are the protocols it takes, preferred first.
	Speaks() []llm.Protocol
	// Request makes the HTTP request. It errs with fault.NotImplemented when the
	// vendor has no such operation, fault.Invalid when the account is incomplete.
	Request(ctx context.Context, a Account, o Outbound) (*http.Request, error)
	// Frames splits the body of a successful answer; streamed says which form.
	Frames(body io.Reader, streamed bool) llm.Frames
	// Judge says what an error answer means. now is for resets given as durations.
	Judge(status int, h http.Header, body []byte, now time.Time) Verdict
}

// Blame says who must change for the request to succeed.
type Blame uint8

// Who is to blame.
const (
	Nobody    Blame = iota // it succeeded
	ByCaller               // the request is at fault: never try another account
	ByAccount              // this account is at fault: another may serve
	ByVendor               // the vendor is in trouble: another account or vendor may serve
)

// Scope says how much of an account a verdict cools.
type Scope uint8

// The scopes.
const (
	WholeAccount Scope = iota // every model of the account
	OneFamily                 // the model's family at this account
	VendorFamily              // the model's family at every account of the vendor
)

// Verdict is what an answer says of the account that gave it.
type Verdict struct {
	Blame     Blame
	Scope     Scope
	CoolUntil time.Time // zero: no cooling
	Err       error     // a *fault.Error; nil for Nobody
}

// Package fault is the one error type of the relay and its closed list of codes.
//
// A fault has a message for the caller and a cause for the log; the cause never
// reaches a client. Each wire format maps every code to its own shape and status,
// and a test walks Codes to see that none is forgotten. An error that is no fault
// is Internal.
package fault

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Code says what went wrong, in the vocabulary of the relay.
type Code string

// The codes.
const (
	Unauthenticated Code = "unauthenticated"  // no key, or one that does not validate
	Forbidden       Code = "forbidden"        // the key may not do this
	Invalid         Code = "invalid"          // the request is malformed
	NotFound        Code = "not_found"        // no such route, model or record
	Conflict        Code = "conflict"         // the record changed since it was read
	TooLarge        Code = "too_large"        // a body over its limit
	Unsupported     Code = "unsupported"      // media type or content encoding not accepted
	NotImplemented  Code = "not_implemented"  // a feature that is not there
	BudgetSpent     Code = "budget_spent"     // a budget is used up; final until its reset
	BudgetHeld      Code = "budget_held"      // a budget is held by calls in flight; passes
	RateLimited     Code = "rate_limited"     // a window of requests, tokens or cost is full
	Concurrency     Code = "concurrency"      // too many calls of the key at once
	Busy            Code = "busy"             // the process or every account is at capacity; passes
	Draining        Code = "draining"         // the process is shutting down
	StoreDown       Code = "store_down"       // the ledger does not answer: nothing is relayed unaccounted
	NoAccount       Code = "no_account"       // no account is configured for the model
	UpstreamRefused Code = "upstream_refused" // the vendor answered the caller's request with an error
	UpstreamFailed  Code = "upstream_failed"  // the vendor or its account failed
	UpstreamBusy    Code = "upstream_busy"    // the vendor is overloaded or rate-limits every account
	UpstreamTimeout Code = "upstream_timeout" // the vendor was silent for too long
	UpstreamCut     Code = "upstream_cut"     // the answer ended without its terminal event
	TooLong         Code = "too_long"         // the answer ran past the maximum duration of a stream
	Gone            Code = "gone"             // the client left
	Internal        Code = "internal"         // a defect of the relay
)

// Codes lists every code, for tests that walk the list.
func Codes() []Code {
	return []Code{
		Unauthenticated, Forbidden, Invalid, NotFound, Conflict, TooLarge, Unsupported, NotImplemented,
		BudgetSpent, BudgetHeld, RateLimited, Concurrency, Busy, Draining, StoreDown, NoAccount,
		UpstreamRefused, UpstreamFailed, UpstreamBusy, UpstreamTimeout, UpstreamCut, TooLong, Gone, Internal,
	}
}

// Error is a fault. Code and Message are always set.
type Error struct {
	Code       Code
	Message    string        // for the caller: what is wrong, the value, the fix
	Field      string        // the member of the request it is about, "" for none
	RetryAfter time.Duration // when to try again; 0 says nothing
	Status     int           // the vendor's true HTTP status, of UpstreamRefused; 0 otherwise
	Kind       string        // the vendor's own error type, of UpstreamRefused; "" otherwise
	Cause      error         // for the log only
}

// New is a fault with a formatted message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap is a fault with a cause for the log.
func Wrap(code Code, cause error, format string, args ...any) *Error {
	e := New(code, format, args...)
	e.Cause = cause
	return e
}

// At is an Invalid fault about one field.
func At(field, format string, args ...any) *Error {
	e := New(Invalid, format, args...)
	e.Field = field
	return e
}

// After returns the fault with a time to try again.
func (e *Error) After(d time.Duration) *Error { e.RetryAfter = d; return e }

// Error is for logs: code, message and cause.
func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Field != "" {
		s = string(e.Code) + ": " + e.Field + ": " + e.Message
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

// LogValue logs the fault as a group.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("code", string(e.Code)), slog.String("message", e.Message)}
	if e.Field != "" {
		attrs = append(attrs, slog.String("field", e.Field))
	}
	if e.Cause != nil {
		attrs = append(attrs, slog.String("cause", e.Cause.Error()))
	}
	return slog.GroupValue(attrs...)
}

// From is err as a fault; what is none becomes Internal, its text for the log only.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Wrap(Internal, err, "an internal error occurred")
}

// CodeOf is the code of err.
func CodeOf(err error) Code { return From(err).Code }

// Final says that a client should not send the same request again by itself: the
// answer will not change before someone acts or a budget resets.
func (e *Error) Final() bool {
	switch e.Code {
	case Unauthenticated, Forbidden, Invalid, NotFound, Conflict, TooLarge, Unsupported, NotImplemented, BudgetSpent, NoAccount:
		return true
	case RateLimited:
		return e.RetryAfter > time.Minute
	default:
		return false
	}
}

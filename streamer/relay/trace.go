package relay

import (
	"net/http"

	"sluice/shared/usage"
)

// Trace is how a tracer sees one request. It is used by the goroutine that serves
// the request only.
type Trace interface {
	// Stage begins a stage within the one that is under way, if any. What it returns
	// ends the stage, with an error if it failed.
	Stage(name string) (end func(error))
	// Note adds what the request can be found by; an empty value is nothing.
	Note(key, value string)
	// Answered says with which status the client was answered, and what went wrong.
	Answered(status int, err error)
}

// stage is a stage of the trace that is under way; the zero value is one that is
// not traced, and costs no allocation.
type stage struct{ end func(error) }

// stage begins a stage: defer x.stage("name").done(&err) ends it with what the
// function returns.
func (x *exchange) stage(name string) stage {
	if x.trace == nil {
		return stage{}
	}
	return stage{x.trace.Stage(name)}
}

func (s stage) done(err *error) {
	if s.end != nil {
		s.end(*err)
	}
}

// report tells the trace what became of the request.
func (x *exchange) report(err error) {
	if x.trace == nil {
		return
	}
	x.trace.Answered(x.status, err)
	x.trace.Note("request_id", x.id)
	if x.key != nil {
		x.trace.Note("key", x.key.Key.ID)
	}
	if x.call != nil {
		x.trace.Note("model", x.call.Model)
	}
	if x.lease != nil {
		x.trace.Note("account", x.lease.Account.ID)
	}
	switch outcome := x.settled.Outcome; {
	case outcome != "":
		x.trace.Note("outcome", string(outcome))
	case err != nil:
		x.trace.Note("outcome", "refused") // before it was a call that is settled
	default:
		x.trace.Note("outcome", string(usage.Complete))
	}
}

// refusal is the ResponseWriter for an error: it notes the status, which only the
// protocol knows.
type refusal struct {
	http.ResponseWriter
	status int
}

func (w *refusal) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *refusal) Unwrap() http.ResponseWriter { return w.ResponseWriter }

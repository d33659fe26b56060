package relay

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"time"

	"sluice/shared/egress"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/provider"
)

const (
	// unreachableCool is how long an account rests that could not be reached.
	unreachableCool = 5 * time.Second
	// maxErrorBody is how much of an upstream's error is read.
	maxErrorBody = 64 << 10
)

var errShape = fault.New(fault.UpstreamFailed, "the upstream answered in one piece where a stream was asked for")

// try sends the call to the leased account and passes its answer on. When it
// errs, the verdict of the exchange says who is to blame.
func (rl *Relay) try(x *exchange) (err error) {
	back := rl.Backs[x.call.Protocol]
	body, err := back.Retarget(x.body.bytes(), x.lease.Upstream)
	if err != nil {
		x.verdict = provider.Verdict{Blame: provider.ByCaller, Err: err}
		return err
	}
	res, err := rl.send(x, x.lease, body)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // closing is how an answer is given up; there is nothing to learn from it
	defer x.stage("stream").done(&err)
	x.watch.answering(rl.Limits.Idle)

	streamed := eventStream(res.Header)
	events := x.guard(x.meter.Tap(back.Decode(x.lease.Provider.Frames(res.Body, streamed))), res.Header)
	x.answer.headers.Store(&res.Header)
	for frame, err := range x.front.Encode(events, x.call.Model, x.lease.Upstream) {
		if err == nil {
			err = x.answer.write(frame, streamed)
		}
		if err != nil {
			return x.broken(err)
		}
	}
	return nil
}

// send puts one request to an account and judges a refusal of it.
func (rl *Relay) send(x *exchange, l *pool.Lease, body []byte) (_ *http.Response, err error) {
	defer x.stage("send").done(&err)
	client, req, err := rl.request(x, l, body)
	if err != nil {
		x.verdict = provider.Verdict{Blame: provider.ByAccount, CoolUntil: rl.Now().Add(unreachableCool), Err: err}
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, x.unanswered(err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if err != nil {
		x.log.InfoContext(x.ctx, "upstream's error was cut", "error", err)
	}
	x.refused(l.Provider.Judge(res.StatusCode, res.Header, text, rl.Now()), "status", res.StatusCode)
	return nil, x.verdict.Err
}

func (rl *Relay) request(x *exchange, l *pool.Lease, body []byte) (*http.Client, *http.Request, error) {
	account, proxy, err := rl.Credentials.For(x.ctx, l.Account)
	if err != nil {
		return nil, nil, err
	}
	client, err := rl.Clients.Client(egress.Egress{Proxy: proxy, Private: l.Account.PrivateNetwork})
	if err != nil {
		return nil, nil, err
	}
	trace := &httptrace.ClientTrace{WroteHeaders: x.reached}
	req, err := l.Provider.Request(httptrace.WithClientTrace(x.watch.ctx, trace), account, provider.Outbound{
		Op: x.call.Op, Model: l.Upstream, Stream: x.call.Stream, Header: x.call.Header, Query: x.call.Query, Body: body,
	})
	if err != nil {
		return nil, nil, err
	}
	x.body.lend(req, body)
	return client, req, nil
}

// reached notes that the upstream may have the request: from here on it may work
// on it, and bill for it, whatever comes back.
func (x *exchange) reached() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sent, x.doubt = x.rl.Now(), true
}

// unanswered is an attempt without an answer. It is clean when the request cannot
// have reached the upstream, else doubtful.
func (x *exchange) unanswered(err error) error {
	if cause := context.Cause(x.watch.ctx); cause != nil {
		x.verdict = blameless(cause)
		if fault.CodeOf(cause) == fault.UpstreamTimeout {
			x.verdict.CoolUntil = x.rl.Now().Add(unreachableCool)
		}
		return cause
	}
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		f = fault.Wrap(fault.UpstreamFailed, err, "the upstream could not be reached")
	}
	x.verdict = provider.Verdict{Blame: provider.ByAccount, CoolUntil: x.rl.Now().Add(unreachableCool), Err: f}
	x.log.WarnContext(x.ctx, "attempt failed", "account", x.lease.Account.ID, "attempt", x.lease.Attempt, "error", err)
	return f
}

// refused takes the verdict on an upstream that did not begin an answer: nothing
// was generated, so nothing is billed.
func (x *exchange) refused(v provider.Verdict, attrs ...any) {
	x.verdict = v
	x.mu.Lock()
	x.doubt = false
	l := x.lease
	x.mu.Unlock()
	if l != nil {
		attrs = append(attrs, "account", l.Account.ID, "attempt", l.Attempt)
	}
	x.log.InfoContext(x.ctx, "attempt refused", append(attrs, "error", v.Err)...)
}

// broken is an answer that began and did not end, or that ended with an error.
func (x *exchange) broken(err error) error {
	if cause := context.Cause(x.watch.ctx); cause != nil {
		err = cause
	}
	if x.verdict.Blame == provider.Nobody {
		x.verdict = blameless(err)
	}
	return err
}

// blameless is a verdict that says nothing of the account's health.
func blameless(err error) provider.Verdict {
	return provider.Verdict{Blame: provider.ByAccount, Err: err}
}

// guard watches an answer go by: it keeps the hold ahead of it, and turns an
// error of the upstream into a fault. An error as the first event is a refusal.
func (x *exchange) guard(s llm.Stream, h http.Header) llm.Stream {
	return func(yield func(llm.Event, error) bool) {
		for ev, err := range s {
			if err == nil {
				x.watch.seen()
				err = x.admitted(ev, h)
			}
			if !yield(ev, err) || err != nil {
				return
			}
		}
	}
}

// admitted says whether an event may be passed on.
func (x *exchange) admitted(ev llm.Event, h http.Header) error {
	if ev.Kind == llm.Fail {
		if !x.passed {
			x.refused(x.lease.Provider.Judge(statusOf(ev.Err), h, ev.Frame.Data, x.rl.Now()))
			return x.verdict.Err
		}
		return ev.Err
	}
	if !x.passed {
		x.mu.Lock()
		x.passed = true
		x.mu.Unlock()
		x.body.release()
	}
	if ev.Kind != llm.Delta || x.quote.limit == 0 {
		return nil
	}
	output := min(seen(x.meter), x.quote.limit)
	if err := x.grant.Cover(x.watch.ctx, output); err != nil {
		x.verdict = provider.Verdict{Blame: provider.ByCaller, Err: err}
		return err
	}
	return nil
}

// statusOf is the HTTP status that an error in a stream would have had.
func statusOf(err error) int {
	const overloaded = 529
	switch f := fault.From(err); {
	case f.Status != 0:
		return f.Status
	case f.Code == fault.UpstreamBusy:
		return overloaded
	default:
		return http.StatusInternalServerError
	}
}

func eventStream(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "text/event-stream"
}

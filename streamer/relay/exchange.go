package relay

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/host"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/pool"
	"sluice/shared/pricing"
	"sluice/shared/protocol"
	"sluice/shared/provider"
	"sluice/shared/usage"
)

// exchange is one request and all that was acquired for it.
type exchange struct {
	rl      *Relay
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context // of the request
	front   protocol.Front
	id      string
	log     *slog.Logger
	trace   Trace // nil = not traced
	started time.Time
	status  int // that the client gets, unless it is told otherwise

	key     *admission.Located
	call    *llm.Call
	body    *body
	want    pool.Want
	quote   quote
	grant   *admission.Grant
	answer  *answer
	watch   *watch
	verdict provider.Verdict // of the last attempt
	settled usage.Record
	aside   []usage.Record // of attempts that were given up in doubt

	mu     sync.Mutex  // what follows is also read by the heartbeat
	lease  *pool.Lease // of the last attempt; nil before the first
	meter  *usage.Meter
	sent   time.Time // when the request may have reached the upstream; zero = it did not
	doubt  bool      // the upstream may have worked on the last attempt, whatever came back
	passed bool      // something of the upstream's answer went to the client
}

// clientRequestID is the header in which clients look for the id of a request, and
// from which an error repeats it.
const clientRequestID = "Request-Id"

func (rl *Relay) begin(w http.ResponseWriter, r *http.Request, front protocol.Front) *exchange {
	now := rl.Now()
	id := llm.NewID("req_", now)
	w.Header().Set(host.RequestID, id)
	w.Header().Set(clientRequestID, id) // the vendor's replaces it when an answer passes
	x := &exchange{
		rl: rl, w: w, r: r, ctx: r.Context(), front: front, id: id, started: now,
		log: rl.Logger.With("request_id", id), status: http.StatusOK,
	}
	if rl.Trace != nil {
		x.trace = rl.Trace(x.ctx)
	}
	return x
}

// end answers the fault that ended the exchange, if any, and logs it.
func (x *exchange) end(err error) {
	if err != nil {
		x.fail(err)
	}
	if x.answer != nil {
		x.answer.close()
	}
	attrs := []any{"method", x.r.Method, "path", x.r.URL.Path, "ms", x.rl.Now().Sub(x.started).Milliseconds()}
	if x.key != nil {
		attrs = append(attrs, "key", x.key.Key.ID)
	}
	if x.call != nil {
		attrs = append(attrs, "model", x.call.Model, "stream", x.call.Stream)
	}
	if row := &x.settled; row.Call != "" {
		attrs = append(attrs, "account", row.Account, "attempts", row.Attempts, "outcome", row.Outcome, "cost_usd", row.Cost.String(),
			"input", row.Usage.InputTotal(), "output", llm.Count(row.Usage.Output), "first_byte_ms", row.FirstByte)
	}
	if err == nil {
		x.log.InfoContext(x.ctx, "request", attrs...)
		return
	}
	level := slog.LevelInfo
	f := fault.From(err)
	switch f.Code {
	case fault.Internal:
		level = slog.LevelError
	case fault.StoreDown, fault.UpstreamFailed, fault.UpstreamTimeout, fault.UpstreamCut:
		level = slog.LevelWarn
	}
	x.log.Log(x.ctx, level, "request", append(attrs, "fault", f)...)
}

// fail tells the client why its request failed: with a true status while nothing
// was written, else with the error frame of its protocol.
func (x *exchange) fail(err error) {
	if x.answer == nil || x.answer.abandon() {
		w := refusal{x.w, http.StatusOK}
		x.front.WriteError(&w, err)
		x.status = w.status
		return
	}
	x.answer.fail(x.front.ErrorFrame(err))
}

// attempt begins an attempt on a lease.
func (x *exchange) attempt(l *pool.Lease) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lease, x.meter = l, new(usage.Meter)
	x.sent, x.doubt = time.Time{}, false
	x.verdict = provider.Verdict{}
}

// retryable says whether another account may be tried: nothing of an answer went
// out, and neither client nor process is leaving.
func (x *exchange) retryable() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.passed && x.watch.ctx.Err() == nil &&
		(x.verdict.Blame == provider.ByAccount || x.verdict.Blame == provider.ByVendor)
}

// setAside makes room for another attempt after one that the upstream may have
// worked on: what that may be billed is held besides what the next one takes, and
// gets a record of its own. It says false when there is no room.
func (rl *Relay) setAside(x *exchange) bool {
	reading, _, doubt, price, priced := x.measured()
	if !doubt {
		return true
	}
	row := x.row()
	row.Call += "." + strconv.Itoa(row.Attempts) // the call's own is for the attempt that ends it
	row.Outcome, row.Estimated, row.Code = usage.Cut, true, string(fault.CodeOf(x.verdict.Err))
	row.Held = x.grant.Held()
	row.Usage, _ = x.estimate(reading)
	x.price(&row, price, priced)
	row.Duration = rl.Now().Sub(x.started).Milliseconds()
	if err := x.grant.Reserve(x.watch.ctx, row.Cost, row.Tokens()); err != nil {
		x.log.InfoContext(x.ctx, "no room for another attempt after a doubtful one", "error", err)
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.aside, x.doubt = append(x.aside, row), false
	return true
}

// takeBack makes the attempt that was set aside last the call's own again: there is
// no other account to try.
func (x *exchange) takeBack() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n := len(x.aside); n > 0 && x.aside[n-1].Attempts == x.lease.Attempt {
		x.aside, x.doubt = x.aside[:n-1], true
	}
}

// estimate is the usage of an answer that did not end.
func (x *exchange) estimate(r llm.Reading) (llm.Usage, bool) {
	return usage.Estimate(r, x.quote.inputTokens(), x.rl.rates.Of(x.upstream()))
}

// upstream is the vendor's name of the model that is asked.
func (x *exchange) upstream() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.lease == nil {
		return ""
	}
	return x.lease.Upstream
}

// measured is what is known of the answer, for the heartbeat and for settling.
func (x *exchange) measured() (reading llm.Reading, sent time.Time, doubt bool, price pricing.Price, priced bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.meter == nil {
		return llm.Reading{}, time.Time{}, false, pricing.Price{}, false
	}
	price, priced = x.rl.Prices.Price(x.lease.Account.Provider, x.lease.Upstream, x.started)
	return x.meter.Reading(), x.sent, x.doubt, price, priced
}

// progress is the output so far in tokens: what was seen, or what an answer of
// this age may have made unseen.
func (x *exchange) progress() int64 {
	x.mu.Lock()
	meter, sent := x.meter, x.sent
	x.mu.Unlock()
	if sent.IsZero() {
		return 0
	}
	unseen := int64(x.rl.Now().Sub(sent).Seconds() * admission.OutputRate)
	return min(max(seen(meter), unseen), x.quote.limit)
}

// cautiousBytes is the bytes per token that a running answer is assumed to have:
// fewer than text has on average, so that the hold is raised in time.
const cautiousBytes = 2

// seen is the output that a running answer shows, in tokens.
func seen(m *usage.Meter) int64 {
	tokens, bytes := m.Output()
	return max(tokens, bytes/cautiousBytes)
}

// record is the row of the call now that it has ended with err.
func (x *exchange) record(err error) usage.Record {
	reading, sent, doubt, price, priced := x.measured()
	row := x.row()
	row.Held = x.grant.Held()
	switch {
	case reading.Complete:
		row.Outcome, row.Usage = usage.Complete, reading.Usage
		x.rl.rates.Learn(row.Upstream, reading)
	case sent.IsZero() || !doubt:
		row.Outcome = usage.Failed
	default:
		row.Outcome = usage.Cut
		if fault.CodeOf(err) == fault.Gone {
			row.Outcome = usage.Aborted
		}
		row.Usage, row.Estimated = x.estimate(reading)
	}
	if err != nil {
		row.Code = string(fault.CodeOf(err))
	}
	x.price(&row, price, priced)
	row.Duration = x.rl.Now().Sub(x.started).Milliseconds()
	if x.answer != nil && !x.answer.first.IsZero() {
		row.FirstByte = max(x.answer.first.Sub(x.started).Milliseconds(), 1)
	}
	x.settled = row
	return row
}

// lost is the row that the sweep writes if this process dies now: all the output
// that the hold covers, for nobody will know how much of it there was.
func (x *exchange) lost(covered int64, hold money.Nanos) []byte {
	reading, _, _, price, priced := x.measured()
	row := x.row()
	row.Held = hold
	row.Outcome, row.Estimated = usage.Lost, true
	row.Usage, _ = x.estimate(reading)
	row.Usage.Output = &covered
	if !priced {
		price, priced = x.quote.dearest()
	}
	x.price(&row, price, priced)
	row.Cost = min(row.Cost+x.asideCost(), hold)
	return encode(&row)
}

// asideCost is what the attempts that were given up may have cost.
func (x *exchange) asideCost() (sum money.Nanos) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.aside {
		sum += x.aside[i].Cost
	}
	return sum
}

// price sets the cost of a row. An estimate never exceeds what was held for it.
func (x *exchange) price(row *usage.Record, price pricing.Price, priced bool) {
	if priced {
		row.Cost, row.Unpriced = price.Cost(row.Usage)
	} else {
		row.Unpriced = row.Tokens() > 0
	}
	if row.Estimated {
		row.Cost = min(row.Cost, row.Held)
	}
}

// row is what every record of the call begins with.
func (x *exchange) row() usage.Record {
	k := &x.key.Key
	row := usage.Record{
		Call: x.call.ID, At: x.started.UTC(), Key: k.ID, User: k.User, Team: k.Team, Tags: k.Tags,
		Dialect: x.call.Protocol, Model: x.call.Model, Stream: x.call.Stream,
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if l := x.lease; l != nil {
		row.Upstream, row.Provider, row.Account, row.Attempts = l.Upstream, l.Account.Provider, l.Account.ID, l.Attempt
	}
	return row
}

func encode(row *usage.Record) json.RawMessage {
	b, err := json.Marshal(row)
	if err != nil { // a record holds nothing that cannot be marshalled
		panic(err)
	}
	return b
}

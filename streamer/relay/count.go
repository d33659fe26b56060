package relay

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/protocol"
	"sluice/shared/provider"
)

const (
	// exactPatience is how long a call near its limit waits for an exact count.
	exactPatience = 10 * time.Second
	// maxCount is the largest answer to a count that is read.
	maxCount = 1 << 20
)

// count serves a count of input tokens. It costs nothing, so it is outside
// budgets and concurrency and has a rate limit of its own.
func (rl *Relay) count(x *exchange) error {
	if err := rl.Gate.Allow(x.ctx, x.key, x.call.Protocol, x.call.Model); err != nil {
		return err
	}
	x.watch = newWatch(x)
	defer x.watch.close()
	x.want = wanted(x)
	x.want.Unmetered = true
	res, answer, err := rl.countAt(x, func(*pool.Lease) ([]byte, error) { return x.body.bytes(), nil })
	if err != nil {
		return err
	}
	h := x.w.Header()
	passHeaders(h, res.Header)
	h.Set("Content-Length", strconv.Itoa(len(answer)))
	x.w.WriteHeader(http.StatusOK)
	if _, err := x.w.Write(answer); err != nil {
		return fault.Wrap(fault.Gone, err, "the client left")
	}
	return nil
}

// countAt asks accounts in turn to count a body, until one answers.
func (rl *Relay) countAt(x *exchange, body func(*pool.Lease) ([]byte, error)) (*http.Response, []byte, error) {
	lease, err := rl.acquire(x.watch.ctx, x, nil)
	for ; err == nil; lease, err = rl.acquire(x.watch.ctx, x, lease) {
		x.attempt(lease)
		sent, err := body(lease)
		if err == nil {
			sent, err = rl.Backs[x.call.Protocol].Retarget(sent, lease.Upstream)
		}
		if err != nil {
			return nil, nil, err
		}
		res, answer, err := rl.countOnce(x, lease, sent)
		x.repeatable()
		if err == nil || !x.retryable() {
			return res, answer, err
		}
	}
	return nil, nil, err
}

// repeatable forgets that the upstream may have worked on the attempt: a count is
// free, however often it is asked.
func (x *exchange) repeatable() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.doubt = false
}

func (rl *Relay) countOnce(x *exchange, l *pool.Lease, body []byte) (*http.Response, []byte, error) {
	res, err := rl.send(x, l, body)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }() // it was read, or is given up
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxCount))
	if err != nil {
		err = fault.Wrap(fault.UpstreamCut, err, "the upstream's count was cut")
		x.verdict = provider.Verdict{Blame: provider.ByVendor, Err: err}
		return nil, nil, err
	}
	return res, answer, nil
}

// exactInput asks an upstream for the input tokens of a generating call.
func (rl *Relay) exactInput(ctx context.Context, x *exchange) (int64, error) {
	counter, ok := rl.Backs[x.call.Protocol].(protocol.Counter)
	if !ok {
		return 0, fault.New(fault.NotImplemented, "the protocol %s has no count of tokens", x.call.Protocol)
	}
	if err := rl.Gate.Allow(ctx, x.key, x.call.Protocol, x.call.Model); err != nil {
		return 0, err
	}
	call := *x.call
	call.Op, call.Stream = llm.CountTokens, false
	probe := &exchange{
		rl: rl, w: x.w, r: x.r, ctx: ctx, front: x.front, id: x.id, log: x.log, trace: x.trace, started: x.started,
		key: x.key, call: &call, body: x.body, want: x.want,
	}
	probe.want.Unmetered = true
	probe.watch = newWatch(probe)
	defer probe.watch.close()
	_, answer, err := rl.countAt(probe, func(*pool.Lease) ([]byte, error) { return counter.CountBody(x.body.bytes()) })
	if err != nil {
		return 0, err
	}
	return counter.ReadCount(answer)
}

// Package relay carries a request from accept to settle. It is the only package
// where the stages meet: admission holds the money, the pool leases an account,
// a provider makes the request and judges the answer, a protocol reads and writes
// both sides, and the ledger settles what it cost.
package relay

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"sluice/shared/admission"
	"sluice/shared/egress"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/pricing"
	"sluice/shared/protocol"
	"sluice/shared/provider"
	"sluice/shared/secret"
	"sluice/shared/usage"
)

// Closer settles calls. It errs with fault.StoreDown.
type Closer interface {
	// Close settles a call and ends its lease at once; it is safe to repeat.
	Close(ctx context.Context, s admission.Settlement, lease *pool.Release) error
	// Confirm makes those settlements again that the store lost after it had taken
	// them, and says how many these were.
	Confirm(ctx context.Context) (lost int, err error)
}

// Late keeps the settlements that the store did not take, until it does. Put
// returns when that is safe.
type Late interface {
	Put(ctx context.Context, s admission.Settlement) error
}

// Credentials opens an account for one attempt: what the provider needs of it,
// and the URL of its proxy, if any.
type Credentials interface {
	For(ctx context.Context, a pool.Account) (provider.Account, secret.Value, error)
}

// Clients gives the HTTP client of an egress.
type Clients interface {
	Client(e egress.Egress) (*http.Client, error)
}

// Ledger is what holders of a key may read of it.
type Ledger interface {
	Balance(ctx context.Context, partition int, o *admission.Owner) (admission.Balance, error)
	Records(ctx context.Context, q usage.Query) (usage.Page, error)
	Sum(ctx context.Context, q usage.Query) ([]usage.Row, error)
}

// Options make a Relay. Everything up to Ready is required.
type Options struct {
	Fronts      []protocol.Front
	Backs       map[llm.Protocol]protocol.Back
	Gate        *admission.Gate
	Router      *pool.Router
	Closer      Closer
	Ledger      Ledger
	Credentials Credentials
	Clients     Clients
	Prices      *pricing.Table
	Ready       Readiness
	Limits      Limits
	QueryKey    bool // accept ?key=
	Late        Late // nil: a settlement that the store does not take is left to the sweep
	// Trace is the trace of the request of a context; nil, or a nil answer: none.
	Trace  func(context.Context) Trace
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Readiness says whether the process takes new calls.
type Readiness interface{ Draining() bool }

// Limits bound what one call may take. Zero means the default, a negative Drain or
// Ping none.
type Limits struct {
	Body       int64         // bytes of a decoded request body; 32 MB
	BodyMemory int64         // bytes of all bodies in memory; 512 MB
	Headers    time.Duration // until an answer that is not streamed begins; 600 s
	Idle       time.Duration // between the frames of an answer, and before its first; 120 s
	Stream     time.Duration // of a whole answer; 30 min
	Drain      time.Duration // that an answer is read on after its client left; 15 s
	Ping       time.Duration // of silence until the client gets a keep-alive; 15 s
	Stall      time.Duration // that a write to the client may block; 30 s
}

// Relay is the handler of all model traffic.
type Relay struct {
	Options
	bodies  bodies
	rates   usage.Rates
	serving atomic.Int64 // requests
}

// New is a Relay. It runs until the handlers it serves have returned; Run keeps
// their holds and leases alive.
func New(o Options) *Relay {
	o.Limits = o.Limits.orDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Relay{Options: o, bodies: bodies{limit: o.Limits.BodyMemory}}
}

func (l Limits) orDefaults() Limits {
	fill(&l.Body, 32<<20)
	fill(&l.BodyMemory, 512<<20)
	fill(&l.Headers, 600*time.Second)
	fill(&l.Idle, 120*time.Second)
	fill(&l.Stream, 30*time.Minute)
	fill(&l.Drain, 15*time.Second)
	fill(&l.Ping, 15*time.Second)
	fill(&l.Stall, 30*time.Second)
	return l
}

func fill[T int64 | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
	*v = max(*v, 0)
}

// Handler serves every route of the relay. Paths that are not there are answered
// 401 to those without a key, like every other.
func (rl *Relay) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, front := range rl.Fronts {
		for _, pattern := range front.Routes() {
			mux.HandleFunc(pattern, rl.handle(front, (*Relay).serve))
		}
	}
	rl.holderRoutes(mux)
	return mux
}

// handle runs serve in an exchange: its fault is answered in the front's shape,
// and it leaves a line in the log.
func (rl *Relay) handle(front protocol.Front, serve func(*Relay, *exchange) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rl.serving.Add(1)
		defer rl.serving.Add(-1)
		x := rl.begin(w, r, front)
		err := serve(rl, x)
		defer x.report(err) // also of an answer that its end cuts off
		x.end(err)
	}
}

// serve is the life of a call.
func (rl *Relay) serve(x *exchange) (err error) {
	if x.key, err = rl.locate(x); err != nil {
		return err
	}
	if x.call, err = rl.accept(x); err != nil {
		return err
	}
	defer x.body.release()
	if x.call.Op == llm.CountTokens {
		return rl.count(x)
	}
	if x.grant, err = rl.admit(x); err != nil {
		return err
	}
	defer func() { rl.settle(x, err) }()
	announce(x.w.Header(), x.grant)

	x.watch = newWatch(x)
	defer x.watch.close()
	x.answer = newAnswer(x)
	lease, err := rl.acquire(x.ctx, x, nil)
	for ; err == nil; lease, err = rl.acquire(x.ctx, x, lease) {
		x.attempt(lease)
		if err = rl.try(x); err == nil || !x.retryable() || !rl.setAside(x) {
			return err
		}
	}
	x.takeBack()
	return err
}

// locate finds the key that the request presents, before a byte of its body is read.
func (rl *Relay) locate(x *exchange) (_ *admission.Located, err error) {
	defer x.stage("locate").done(&err)
	return rl.Gate.Locate(x.ctx, presented(x.r, rl.QueryKey))
}

// acquire leases an account for the first attempt, or the next one after last.
func (rl *Relay) acquire(ctx context.Context, x *exchange, last *pool.Lease) (_ *pool.Lease, err error) {
	defer x.stage("acquire").done(&err)
	if last == nil {
		return rl.Router.Acquire(ctx, x.want)
	}
	return rl.Router.Next(ctx, last, x.verdict)
}

// settle closes the call: what it used is priced, its hold and lease are given
// back and its record is written, whatever became of client and upstream.
func (rl *Relay) settle(x *exchange, err error) {
	var failed error
	defer x.stage("settle").done(&failed)
	record := x.record(err)
	s := x.grant.Settlement(record.Cost, record.Tokens(), encode(&record))
	for i := range x.aside {
		given := &x.aside[i]
		s.Cost, s.Tokens, s.Doubtful = s.Cost+given.Cost, s.Tokens+given.Tokens(), append(s.Doubtful, encode(given))
	}
	var lease *pool.Release
	if x.lease != nil {
		end := x.lease.Settlement(x.verdict)
		lease = &end
	}
	ctx := context.WithoutCancel(x.ctx)
	if failed = rl.close(ctx, s, lease, closePatience); failed == nil {
		return
	}
	if rl.Late != nil {
		if failed = rl.Late.Put(ctx, s); failed == nil {
			x.log.WarnContext(ctx, "the store did not take a settlement; it is kept until it does")
			return
		}
	}
	late := failed
	if failed = rl.close(ctx, s, lease, lastPatience); failed != nil {
		x.log.ErrorContext(ctx, "call not settled; the sweep will settle it with an estimate",
			"error", failed, "late_queue", late, "record", string(s.Row))
	}
}

const (
	// closePatience is how long the store has to take a settlement, lastPatience how
	// long it has when nothing else can keep it.
	closePatience, lastPatience = time.Second, 10 * time.Second
	firstWait                   = 50 * time.Millisecond
)

// close settles a call, again and again for as long as patience lasts.
func (rl *Relay) close(ctx context.Context, s admission.Settlement, lease *pool.Release, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for wait := firstWait; ; wait *= 2 {
		err := rl.Closer.Close(ctx, s, lease)
		if err == nil || !sleep(ctx, wait) {
			return err
		}
	}
}

// sleep waits for d; it says false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Run keeps the holds and leases of open calls alive, and confirms settlements,
// until ctx ends.
func (rl *Relay) Run(ctx context.Context) {
	tick := time.NewTicker(admission.BeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := rl.Gate.Beat(ctx); err != nil {
				rl.Logger.WarnContext(ctx, "holds not renewed", "error", err)
			}
			if err := rl.Router.Renew(ctx); err != nil {
				rl.Logger.WarnContext(ctx, "leases not renewed", "error", err)
			}
			rl.confirm(ctx)
		}
	}
}

// confirm makes sure of the settlements that were made a beat ago.
func (rl *Relay) confirm(ctx context.Context) {
	lost, err := rl.Closer.Confirm(ctx)
	if err != nil {
		rl.Logger.WarnContext(ctx, "settlements not confirmed", "error", err)
	}
	if lost > 0 {
		rl.Logger.WarnContext(ctx, "settlements that the store had lost were made again", "calls", lost)
	}
}

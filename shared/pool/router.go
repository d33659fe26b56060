package pool

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/fault"
	"sluice/shared/provider"
)

const (
	defaultAttempts = 4
	defaultPatience = 2 * time.Second
	firstPoll       = 50 * time.Millisecond  // between looks at a full home account, doubling
	slowestPoll     = 250 * time.Millisecond // at most
	maxReloads      = 3                      // accounts may change again while they are read
	restingRetry    = time.Minute            // only an operator ends a pause
)

// Options make a Router. Store and Providers are required.
type Options struct {
	Store     Store
	Providers map[string]provider.Provider // by the name that accounts use
	Family    func(model string) string    // family of a vendor's model, which cools down together; nil: the model itself
	Attempts  int                          // accounts that one call may try; 0 = 4
	Patience  time.Duration                // how long a session waits for its full home account; 0 = 2 s, negative = not at all
	Now       func() time.Time             // nil: time.Now
	Logger    *slog.Logger                 // nil: none
}

// Router chooses and leases accounts. It is safe for concurrent use.
type Router struct {
	store     Store
	providers map[string]provider.Provider
	family    func(string) string
	attempts  int
	patience  time.Duration
	now       func() time.Time
	log       *slog.Logger

	current atomic.Pointer[snapshot]
	loading sync.Mutex // held while the accounts are read

	mu   sync.Mutex
	open map[string]*Lease // by call; what Renew keeps alive
}

// New is a Router over the accounts in o.Store, which it reads when first asked.
func New(o Options) *Router {
	r := &Router{
		store: o.Store, providers: o.Providers, family: o.Family, attempts: cmp.Or(o.Attempts, defaultAttempts),
		patience: cmp.Or(o.Patience, defaultPatience), now: o.Now, log: o.Logger, open: make(map[string]*Lease),
	}
	if r.family == nil {
		r.family = func(model string) string { return model }
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r
}

// Candidates are the accounts that may serve w, preferred first, from the last
// known configuration and whatever their health. It errs with fault.NoAccount
// when none is configured, fault.Busy when every one is paused, fault.StoreDown.
func (r *Router) Candidates(ctx context.Context, w Want) ([]Candidate, error) {
	_, order, err := r.order(ctx, &w, nil)
	if err != nil {
		return nil, err
	}
	list := make([]Candidate, len(order))
	for i, o := range order {
		list[i] = candidate(o.entry, &w)
	}
	return list, nil
}

func candidate(e *entry, w *Want) Candidate {
	return Candidate{Account: e.account, Upstream: e.account.Models.upstream(w.Model), Provider: e.provider}
}

// Candidate is an account by itself, for testing it. It errs with fault.Invalid
// when its provider is not known.
func (r *Router) Candidate(a Account, model string) (Candidate, error) {
	p, ok := r.providers[a.Provider]
	if !ok {
		return Candidate{}, fault.At("provider", "%q is not known", a.Provider)
	}
	return Candidate{Account: a, Upstream: a.Models.upstream(model), Provider: p}, nil
}

// Acquire leases an account for the first attempt of a call. When the session's
// home account is full it waits for it up to the router's patience. It errs with
// fault.NoAccount, Busy (all are full, or paused), UpstreamBusy (all cool down),
// StoreDown, or Gone when ctx ends first.
func (r *Router) Acquire(ctx context.Context, w Want) (*Lease, error) {
	return r.lease(ctx, &Lease{Call: w.Call, Attempt: 1, router: r, want: w}, nil)
}

// Next ends an attempt that failed with v and leases another account, in one
// command. Accounts that the call has tried are left out. When no attempt or
// account is left it errs with the verdict's error; prev is then still the
// caller's to settle, as it is after any other error of Next.
func (r *Router) Next(ctx context.Context, prev *Lease, v provider.Verdict) (*Lease, error) {
	failed := cmp.Or[error](v.Err, fault.New(fault.UpstreamFailed, "the upstream failed"))
	if v.Blame == provider.ByCaller || prev.Attempt >= r.attempts {
		return nil, failed
	}
	end := prev.release(v)
	next := &Lease{Call: prev.Call, Attempt: prev.Attempt + 1, router: r, want: prev.want, tried: slices.Clone(prev.tried)}
	l, err := r.lease(ctx, next, &end)
	switch fault.From(err).Code {
	case fault.NoAccount, fault.Busy, fault.UpstreamBusy:
		return nil, failed
	}
	return l, err
}

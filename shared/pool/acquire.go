package pool

import (
	"context"
	"time"

	"sluice/shared/fault"
)

// accounts is the last known configuration, read when there is none.
func (r *Router) accounts(ctx context.Context) (*snapshot, error) {
	if s := r.current.Load(); s != nil {
		return s, nil
	}
	return r.reload(ctx, nil)
}

// reload reads the accounts again, unless someone else has since old was read.
func (r *Router) reload(ctx context.Context, old *snapshot) (*snapshot, error) {
	r.loading.Lock()
	defer r.loading.Unlock()
	if s := r.current.Load(); s != old {
		return s, nil
	}
	accounts, version, err := r.store.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	s := &snapshot{version: version}
	for _, a := range accounts {
		p, ok := r.providers[a.Provider]
		if !ok {
			r.log.WarnContext(ctx, "account has an unknown provider and serves nothing", "account", a.ID, "provider", a.Provider)
			continue
		}
		s.entries = append(s.entries, entry{account: a, provider: p, hash: hash64(a.ID)})
	}
	r.current.Store(s)
	return s, nil
}

// lease takes an account for l's attempt. previous, if any, is released by the
// same command.
func (r *Router) lease(ctx context.Context, l *Lease, previous *Release) (*Lease, error) {
	s, err := r.accounts(ctx)
	if err != nil {
		return nil, err
	}
	deadline, poll, reloads := r.now().Add(r.patience), firstPoll, 0
	for {
		order, resting := s.rank(&l.want, l.tried)
		if len(order) == 0 {
			// A key or account may be newer than the snapshot.
			if reloads++; reloads > 1 {
				return nil, noAccount(&l.want, resting)
			}
			if s, err = r.reload(ctx, s); err != nil {
				return nil, err
			}
			continue
		}
		order = order[:min(len(order), MaxCandidates)]
		patient := l.Attempt == 1 && !l.want.Unmetered && l.want.Session != "" && len(order) > 1 && r.now().Before(deadline)
		got, err := r.store.Acquire(ctx, r.request(l, s, order, previous, patient))
		if err != nil {
			return nil, err
		}
		switch got.Outcome {
		case Leased:
			r.take(l, order[got.Index].entry, got, previous)
			return l, nil
		case Stale:
			if reloads++; reloads > maxReloads {
				return nil, fault.New(fault.Busy, "the accounts keep changing; try again").After(time.Second)
			}
			if s, err = r.reload(ctx, s); err != nil {
				return nil, err
			}
		case Waits:
			if err := pause(ctx, poll); err != nil {
				return nil, err
			}
			poll = min(2*poll, slowestPoll)
		default:
			return nil, busy(&l.want, got)
		}
	}
}

func (r *Router) request(l *Lease, s *snapshot, order []ranked, previous *Release, patient bool) Request {
	req := Request{
		Call: l.Call, Attempt: l.Attempt, Version: s.version, Metered: !l.want.Unmetered, Patient: patient, Previous: previous,
		Asks: make([]Ask, len(order)),
	}
	for i, o := range order {
		a := &o.entry.account
		req.Asks[i] = Ask{Account: a.ID, Vendor: a.Provider, Family: r.family(a.Models.upstream(l.want.Model)), Max: a.MaxConcurrency}
	}
	return req
}

// take completes a lease that the store granted and keeps it alive from now on.
func (r *Router) take(l *Lease, e *entry, got Acquired, previous *Release) {
	l.Candidate = candidate(e, &l.want)
	l.Family = r.family(l.Upstream)
	l.Passed, l.since = got.Passed, got.Now
	l.tried = append(l.tried, e.account.ID)
	r.mu.Lock()
	defer r.mu.Unlock()
	if previous != nil {
		delete(r.open, previous.Call)
	}
	if !l.want.Unmetered {
		r.open[l.Call] = l
	}
}

// forget ends the renewal of a lease.
func (r *Router) forget(l *Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[l.Call] == l {
		delete(r.open, l.Call)
	}
}

// Renew keeps every lease of this process alive. It errs with fault.StoreDown.
func (r *Router) Renew(ctx context.Context) error {
	r.mu.Lock()
	held := make([]Held, 0, len(r.open))
	for _, l := range r.open {
		held = append(held, Held{Call: l.Call, Account: l.Account.ID, Attempt: l.Attempt, Since: l.since})
	}
	r.mu.Unlock()
	for len(held) > 0 {
		n := min(len(held), MaxRenewals)
		if err := r.store.Renew(ctx, held[:n]); err != nil {
			return err
		}
		held = held[n:]
	}
	return nil
}

// Open is the number of leases of this process.
func (r *Router) Open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.Gone, ctx.Err(), "the client left")
	}
}

// busy is why every account was passed over: they cool down, or they are full.
func busy(w *Want, got Acquired) error {
	var soonest time.Time
	for _, p := range got.Passed {
		if p.Why != Cooling {
			return fault.New(fault.Busy, "every account for model %q is at its maximum concurrency", w.Model).After(time.Second)
		}
		if soonest.IsZero() || p.Until.Before(soonest) {
			soonest = p.Until
		}
	}
	wait := max(soonest.Sub(got.Now), time.Second)
	return fault.New(fault.UpstreamBusy, "every account for model %q is cooling down after errors or rate limits of its vendor", w.Model).After(wait)
}

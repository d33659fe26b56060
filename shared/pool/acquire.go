package pool

import (
	"context"
	"maps"
	"slices"
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

// newer is the configuration when it has changed since s was read, else nil.
func (r *Router) newer(ctx context.Context, s *snapshot) (*snapshot, error) {
	version, err := r.store.Version(ctx)
	if err != nil || version == s.version {
		return nil, err
	}
	return r.reload(ctx, s)
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
		if bad := a.Models.malformed(); bad != "" {
			r.log.WarnContext(ctx, "account allows a malformed pattern, which matches nothing", "account", a.ID, "pattern", bad)
		}
		p, ok := r.providers[a.Provider]
		if !ok {
			r.log.WarnContext(ctx, "account has an unknown provider and serves nothing", "account", a.ID, "provider", a.Provider)
			continue
		}
		s.entries = append(s.entries, newEntry(a, p))
	}
	r.current.Store(s)
	return s, nil
}

// order ranks the accounts that may serve w but were not tried.
func (r *Router) order(ctx context.Context, w *Want, tried []string) (*snapshot, []ranked, error) {
	s, err := r.accounts(ctx)
	if err != nil {
		return nil, nil, err
	}
	order, resting := s.rank(w, tried)
	if len(order) == 0 && len(tried) == 0 { // the account may be newer than what is known
		fresh, err := r.newer(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		if fresh != nil {
			s = fresh
			order, resting = s.rank(w, tried)
		}
	}
	if len(order) == 0 {
		return nil, nil, noAccount(w, resting)
	}
	return s, order, nil
}

// lease takes an account for l's attempt. previous, if any, is released by the
// same command.
func (r *Router) lease(ctx context.Context, l *Lease, previous *Release) (*Lease, error) {
	deadline, poll, reloads := time.Now().Add(r.patience), firstPoll, 0
	for {
		s, order, err := r.order(ctx, &l.want, l.tried)
		if err != nil {
			return nil, err
		}
		order = order[:min(len(order), MaxCandidates)]
		patient := l.Attempt == 1 && !l.want.Unmetered && l.want.Session != "" && len(order) > 1 && time.Now().Before(deadline)
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
			if _, err := r.reload(ctx, s); err != nil {
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
	var upstream, family string // mostly alike for all
	for i, o := range order {
		a := &o.entry.account
		if u := a.Models.upstream(l.want.Model); u != upstream || i == 0 {
			upstream, family = u, r.family(u)
		}
		req.Asks[i] = Ask{Account: a.ID, Vendor: a.Provider, Family: family, Max: a.MaxConcurrency}
	}
	return req
}

// take completes a lease that the store granted and keeps it alive from now on.
func (r *Router) take(l *Lease, e *entry, got Acquired, previous *Release) {
	l.Candidate = candidate(e, &l.want)
	l.Family = r.family(l.Upstream)
	l.Passed, l.since, l.skew = got.Passed, got.Now, got.Now.Sub(r.now())
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
	leases := slices.Collect(maps.Values(r.open))
	r.mu.Unlock()
	for batch := range slices.Chunk(leases, MaxRenewals) {
		held := make([]Held, len(batch))
		for i, l := range batch {
			held[i] = Held{Call: l.Call, Account: l.Account.ID, Attempt: l.Attempt, Since: l.since}
		}
		if err := r.store.Renew(ctx, held); err != nil {
			return err
		}
		if err := r.undo(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// undo releases the leases that ended while they were renewed: the renewal may
// have come after their release and brought them back.
func (r *Router) undo(ctx context.Context, renewed []*Lease) error {
	r.mu.Lock()
	ended := slices.DeleteFunc(slices.Clone(renewed), func(l *Lease) bool { return r.open[l.Call] == l })
	r.mu.Unlock()
	for _, l := range ended {
		end := Release{Call: l.Call, Account: l.Account.ID, Vendor: l.Account.Provider, Attempt: l.Attempt}
		if err := r.store.Release(ctx, end); err != nil {
			return err
		}
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

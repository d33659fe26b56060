package pool

import (
	"strings"
	"time"

	"sluice/shared/fault"
	"sluice/shared/provider"
)

// Candidate is an account that may serve a call.
type Candidate struct {
	Account  Account
	Upstream string // the vendor's name of the model
	Provider provider.Provider
}

// Lease is a place on an account for one attempt of a call. Whoever acquired it
// gives it back: through Router.Next when another attempt follows, else with the
// Release that Settlement makes.
type Lease struct {
	Candidate
	Call    string
	Attempt int      // from 1
	Family  string   // of the model, for cool-downs
	Passed  []Passed // accounts that were passed over for this one

	router *Router
	want   Want
	tried  []string      // ids of this attempt's account and of those before
	since  time.Time     // by the store's clock
	skew   time.Duration // what the store's clock is ahead of ours
}

// Settlement ends the lease and describes its end; v is what the attempt said of
// the account. From here on the router renews the lease no more. The value
// is applied by Store.Release, or in a pipeline with other settlements.
func (l *Lease) Settlement(v provider.Verdict) Release {
	l.router.forget(l)
	return l.release(v)
}

func (l *Lease) release(v provider.Verdict) Release {
	r := Release{
		Call: l.Call, Account: l.Account.ID, Vendor: l.Account.Provider, Attempt: l.Attempt,
		Healthy: v.Blame == provider.Nobody || v.Blame == provider.ByCaller,
		Family:  l.Family,
	}
	now := l.router.now()
	if r.Healthy || !v.CoolUntil.After(now) {
		return r
	}
	r.Scope = v.Scope
	r.CoolUntil = now.Add(l.skew + jitter(v.CoolUntil.Sub(now), hash64(l.Call)^uint64(l.Attempt)))
	r.Reason = reason(v.Err)
	return r
}

// jitter changes d by at most a tenth, so that accounts that were cooled together
// do not all return in the same instant. It depends on the seed alone: a release
// made twice is the same.
func jitter(d time.Duration, seed uint64) time.Duration {
	const span = 0.2
	return time.Duration(float64(d) * (1 - span/2 + span*unit(mix(seed))))
}

// reason is what operators read beside a cool-down: the fault's message, which is
// written for callers and so holds no secret.
func reason(err error) string {
	if err == nil {
		return "the vendor asked for a pause"
	}
	const most = 200
	m := fault.From(err).Message
	if len(m) > most {
		m = strings.ToValidUTF8(m[:most], "")
	}
	return m
}

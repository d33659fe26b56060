package accounts_test

import (
	"fmt"
	"testing"
	"time"

	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/store"
	"sluice/shared/store/storetest"
)

func TestCooling(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		opus, haiku := want("opus"), want("haiku")
		haiku.Model = "haiku-1"
		for name, s := range map[string]struct {
			scope       provider.Scope
			opus, haiku string // who serves them afterwards
		}{
			"account": {provider.WholeAccount, "b", "b"},
			"family":  {provider.OneFamily, "b", "a"},
			"vendor":  {provider.VendorFamily, "c", "a"},
		} {
			t.Run(name, func(t *testing.T) {
				b := open(t, c, account("a", "red", 1, 9), account("b", "red", 2, 9), account("c", "blue", 3, 9))
				for id := range b.states() {
					if err := b.store.Reset(t.Context(), id); err != nil {
						t.Fatal(err)
					}
				}
				l := b.leased("1")
				end := l.Settlement(cool(s.scope, time.Minute))
				b.release(end)
				b.release(end)
				for _, c := range []struct {
					want pool.Want
					id   string
				}{{opus, s.opus}, {haiku, s.haiku}} {
					got, id := b.acquire(c.want)
					if id != c.id {
						t.Fatalf("%s is served by %s, want %s", c.want.Call, id, c.id)
					}
					for _, p := range got.Passed {
						if d := p.Until.Sub(end.CoolUntil); p.Why != pool.Cooling || d > time.Millisecond || d < -time.Millisecond {
							t.Errorf("%s: %+v, want until %v", c.want.Call, p, end.CoolUntil)
						}
					}
					b.release(got.Settlement(provider.Verdict{}))
				}
				b.shows(s.scope)
				if err := b.store.Reset(t.Context(), "a"); err != nil {
					t.Fatal(err)
				}
				got, id := b.acquire(opus)
				if id != "a" {
					t.Fatalf("after a reset: %s", id)
				}
				b.release(got.Settlement(provider.Verdict{}))
			})
		}
	})
}

// shows checks the states of the accounts a and b of one vendor, and c of another,
// after a has cooled down.
func (b *bench) shows(s provider.Scope) {
	b.t.Helper()
	states := b.states()
	a, whole := states["a"], s == provider.WholeAccount
	reason := a.Reason
	if !whole {
		reason = a.Families["opus"].Reason
	}
	if reason != "it failed" || a.CoolUntil.IsZero() == whole || (len(a.Families) == 1) == whole {
		b.t.Errorf("state %+v", a)
	}
	if (len(states["b"].Families) == 1) != (s == provider.VendorFamily) || len(states["c"].Families) != 0 {
		b.t.Errorf("states %+v", states)
	}
}

func TestResetOfNoAccount(t *testing.T) {
	b := open(t, storetest.Embedded(t))
	if err := b.store.Reset(t.Context(), "none"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
}

func TestAllCoolDown(t *testing.T) {
	b := open(t, storetest.Embedded(t), account("a", "red", 1, 0))
	b.release(b.leased("1").Settlement(cool(provider.WholeAccount, time.Minute)))
	_, err := b.router.Acquire(t.Context(), want("2"))
	if f := fault.From(err); f.Code != fault.UpstreamBusy || f.RetryAfter < 50*time.Second || f.RetryAfter > 70*time.Second {
		t.Errorf("%v after %v", err, f.RetryAfter)
	}
	free := want("3")
	free.Unmetered = true
	if _, got := b.acquire(free); got != string(fault.UpstreamBusy) {
		t.Errorf("an unmetered call: %s", got)
	}
}

// After a cool-down an account takes one call, then two, and so on.
func TestHalfOpen(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		b := open(t, c, account("a", "red", 1, 0))
		var before []*pool.Lease
		for i := range 5 {
			before = append(before, b.leased(fmt.Sprint("before", i)))
		}
		b.release(before[0].Settlement(cool(provider.WholeAccount, 150*time.Millisecond)))
		for _, l := range before[1:] {
			b.release(l.Settlement(provider.Verdict{})) // of calls from before: they prove nothing
		}
		var first *pool.Lease
		eventually(t, "the end of the cool-down", func() bool {
			l, got := b.acquire(want("first"))
			if l == nil && got != string(fault.UpstreamBusy) {
				t.Fatalf("cooling: %s", got)
			}
			first = l
			return l != nil
		})
		if _, got := b.acquire(want("more")); got != string(fault.Busy) {
			t.Errorf("a second call while half-open: %s", got)
		}
		if s := b.states()["a"]; s.Recovering != 1 || !s.CoolUntil.IsZero() || s.Reason != "" {
			t.Errorf("half-open: %+v", s)
		}
		open := []*pool.Lease{first}
		for places := 2; places <= 64; places *= 2 {
			b.release(open[0].Settlement(provider.Verdict{}))
			open = open[1:]
			for {
				l, _ := b.acquire(want(fmt.Sprint("call", places, "-", len(open))))
				if l == nil {
					break
				}
				open = append(open, l)
			}
			if len(open) != places || b.states()["a"].Recovering != places {
				t.Fatalf("%d places, %+v; want %d", len(open), b.states()["a"], places)
			}
		}
		b.release(open[0].Settlement(provider.Verdict{}))
		if s := b.states()["a"]; s.Recovering != 0 {
			t.Errorf("recovered: %+v", s)
		}
		if _, got := b.acquire(want("last")); got != "a" {
			t.Errorf("recovered: %s", got)
		}
	})
}

// Names of families come from clients; they do not fill the memory.
func TestFamiliesAreBounded(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		const most = 256
		b := open(t, c, account("a", "red", 1, 0))
		note := func(i int, ends time.Time) {
			b.release(pool.Release{
				Call: fmt.Sprint("call", i), Account: "a", Vendor: "red", Attempt: 1,
				Scope: provider.OneFamily, Family: fmt.Sprint("family", i), CoolUntil: ends, Reason: "r",
			})
		}
		for i := range most {
			note(i, time.Now().Add(-time.Minute))
		}
		for i := range 2 * most {
			note(1000+i, time.Now().Add(time.Minute))
		}
		if n := c.Redis().HLen(t.Context(), store.AccountHealth("a")).Val(); n > 2*most {
			t.Errorf("%d fields", n)
		}
		if n := len(b.states()["a"].Families); n != most {
			t.Errorf("%d families cool down", n)
		}
		note(1000, time.Now().Add(time.Hour))
		if until := b.states()["a"].Families["family1000"].Until; time.Until(until) < 50*time.Minute {
			t.Errorf("a known family cools until %v", until)
		}
	})
}

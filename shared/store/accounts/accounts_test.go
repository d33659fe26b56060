package accounts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/store"
	"sluice/shared/store/accounts"
	"sluice/shared/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// vendor is a provider that only says what it speaks.
type vendor struct{ name string }

func (v vendor) Name() string         { return v.name }
func (vendor) Speaks() []llm.Protocol { return []llm.Protocol{llm.Anthropic} }

func (vendor) Request(context.Context, provider.Account, provider.Outbound) (*http.Request, error) {
	return nil, fault.New(fault.NotImplemented, "not in this test")
}

func (vendor) Frames(io.Reader, bool) llm.Frames { return nil }

func (vendor) Judge(int, http.Header, []byte, time.Time) provider.Verdict { return provider.Verdict{} }

// bench is the accounts of one server, as a router sees them.
type bench struct {
	t      testing.TB
	client *store.Client
	store  *accounts.Store
	router *pool.Router
}

func open(t testing.TB, c *store.Client, list ...pool.Account) *bench {
	t.Helper()
	b := &bench{t: t, client: c, store: accounts.New(c)}
	b.put(1, list...)
	b.router = b.newRouter(b.store)
	return b
}

func (b *bench) newRouter(s pool.Store) *pool.Router {
	return pool.New(pool.Options{
		Store: s, Patience: -1, Providers: map[string]provider.Provider{"red": vendor{"red"}, "blue": vendor{"blue"}},
		Family: func(model string) string { before, _, _ := strings.Cut(model, "-"); return before },
	})
}

// put stores accounts as a new version of the set.
func (b *bench) put(version int64, list ...pool.Account) {
	b.t.Helper()
	rdb := b.client.Redis()
	for _, a := range list {
		text, err := json.Marshal(a)
		if err != nil {
			b.t.Fatal(err)
		}
		if err := rdb.HSet(context.Background(), store.Accounts(), a.ID, text).Err(); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := rdb.Set(context.Background(), store.AccountsVersion(), version, 0).Err(); err != nil {
		b.t.Fatal(err)
	}
}

func account(id, vendor string, priority, most int) pool.Account {
	return pool.Account{ID: id, Provider: vendor, Priority: priority, Weight: 10, MaxConcurrency: most}
}

func want(call string) pool.Want {
	return pool.Want{Call: call, Model: "opus-1", Protocol: llm.Anthropic, Key: "key_1", Session: "s"}
}

// acquire leases an account and says which, or the code of the fault.
func (b *bench) acquire(w pool.Want) (*pool.Lease, string) {
	b.t.Helper()
	l, err := b.router.Acquire(context.Background(), w)
	if err != nil {
		return nil, string(fault.CodeOf(err))
	}
	return l, l.Account.ID
}

// leased leases an account, which must succeed.
func (b *bench) leased(call string) *pool.Lease {
	b.t.Helper()
	l, got := b.acquire(want(call))
	if l == nil {
		b.t.Fatalf("no account for %s: %s", call, got)
	}
	return l
}

func (b *bench) release(r pool.Release) {
	b.t.Helper()
	if err := b.store.Release(context.Background(), r); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) states() map[string]pool.State {
	b.t.Helper()
	s, err := b.store.States(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) marks(calls ...string) map[string]pool.LeaseInfo {
	b.t.Helper()
	found, err := b.store.LeaseOf(context.Background(), calls)
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// cool is a verdict that cools for so long.
func cool(s provider.Scope, d time.Duration) provider.Verdict {
	return provider.Verdict{
		Blame: provider.ByAccount, Scope: s, CoolUntil: time.Now().Add(d), Err: fault.New(fault.UpstreamFailed, "it failed"),
	}
}

// eventually repeats f until it is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func TestLeases(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		b := open(t, c, account("a", "red", 1, 2), account("b", "red", 2, 1))
		before := time.Now()
		one, two, three := b.leased("1"), b.leased("2"), b.leased("3")
		if got := one.Account.ID + two.Account.ID + three.Account.ID; got != "aab" {
			t.Errorf("leased %s", got)
		}
		if diff := cmp.Diff([]pool.Passed{{Account: "a", Why: pool.Full}}, three.Passed); diff != "" {
			t.Errorf("passed over (-want +got)\n%s", diff)
		}
		if _, got := b.acquire(want("4")); got != string(fault.Busy) {
			t.Errorf("a fourth call: %s", got)
		}
		free := want("5")
		free.Unmetered = true
		if _, got := b.acquire(free); got != "a" {
			t.Errorf("an unmetered call: %s", got)
		}
		states := b.states()
		if states["a"].Leases != 2 || states["b"].Leases != 1 {
			t.Errorf("states %+v", states)
		}
		marks := b.marks("1", "3", "4", "5")
		if len(marks) != 2 || marks["3"].Account != "b" || marks["3"].Attempt != 1 || marks["3"].Since.Before(before.Add(-time.Minute)) {
			t.Errorf("marks %+v", marks)
		}
		b.release(one.Settlement(provider.Verdict{}))
		if _, got := b.acquire(want("4")); got != "a" || len(b.marks("1")) != 0 {
			t.Errorf("after a release: %s, marks %v", got, b.marks("1"))
		}
		if err := b.store.Forget(t.Context(), []string{"2", "3"}); err != nil || len(b.marks("2", "3", "4")) != 1 {
			t.Errorf("%v, left %v", err, b.marks("2", "3", "4"))
		}
		if err := b.store.Forget(t.Context(), nil); err != nil || len(b.marks()) != 0 {
			t.Error(err)
		}
	})
}

func TestARepeatIsAnsweredAlike(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		b := open(t, c, account("a", "red", 1, 1), account("b", "red", 2, 1))
		r := pool.Request{
			Call: "1", Attempt: 1, Version: 1, Metered: true,
			Asks: []pool.Ask{{Account: "a", Vendor: "red", Family: "opus", Max: 1}, {Account: "b", Vendor: "red", Family: "opus", Max: 1}},
		}
		first, err := b.store.Acquire(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		r.Asks[0], r.Asks[1] = r.Asks[1], r.Asks[0] // another replica's order
		second, err := b.store.Acquire(t.Context(), r)
		if err != nil || first.Index != 0 || second.Index != 1 || second.Outcome != pool.Leased {
			t.Errorf("%+v, then %+v, %v", first, second, err)
		}
		if s := b.states(); s["a"].Leases != 1 || s["b"].Leases != 0 {
			t.Errorf("%+v", s)
		}
		end := pool.Release{Call: "1", Account: "a", Vendor: "red", Attempt: 1, Healthy: true}
		b.release(end)
		r.Attempt = 2
		if _, err := b.store.Acquire(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		b.release(end) // late, when another attempt runs
		if s, m := b.states(), b.marks("1"); s["b"].Leases != 1 || m["1"].Attempt != 2 || m["1"].Account != "b" {
			t.Errorf("a late release of the first attempt: %+v, %+v", s, m)
		}
		r.Version = 7
		if got, err := b.store.Acquire(t.Context(), r); err != nil || got.Outcome != pool.Stale {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestNext(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		b := open(t, c, account("a", "red", 1, 1), account("b", "red", 2, 1))
		l := b.leased("1")
		n, err := b.router.Next(t.Context(), l, cool(provider.WholeAccount, time.Minute))
		if err != nil || n.Account.ID != "b" || n.Attempt != 2 {
			t.Fatalf("%+v, %v", n, err)
		}
		s := b.states()
		if s["a"].Leases != 0 || s["a"].CoolUntil.IsZero() || s["b"].Leases != 1 || b.marks("1")["1"].Account != "b" {
			t.Errorf("%+v, %+v", s, b.marks("1"))
		}
		v := cool(provider.WholeAccount, time.Minute)
		if _, err := b.router.Next(t.Context(), n, v); !errors.Is(err, v.Err) {
			t.Errorf("%v", err)
		}
		b.release(n.Settlement(v))
		if s := b.states(); s["b"].Leases != 0 || s["b"].CoolUntil.IsZero() || len(b.marks("1")) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestConfigurationChangesAreSeenAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		b := open(t, c, account("a", "red", 1, 0))
		b.leased("1")
		paused := account("a", "red", 1, 0)
		paused.Paused = true
		b.put(2, paused, account("b", "red", 2, 0))
		if _, got := b.acquire(want("2")); got != "b" {
			t.Errorf("leased %s after it was paused", got)
		}
		if v, err := b.store.Version(t.Context()); v != 2 || err != nil {
			t.Errorf("version %d, %v", v, err)
		}
	})
}

func TestNoAccountsYet(t *testing.T) {
	b := &bench{t: t, client: storetest.Embedded(t)}
	b.store = accounts.New(b.client)
	b.router = b.newRouter(b.store)
	if _, got := b.acquire(want("1")); got != string(fault.NoAccount) {
		t.Error(got)
	}
	b.put(1, account("a", "red", 1, 0))
	if _, got := b.acquire(want("1")); got != "a" {
		t.Errorf("the first account: %s", got)
	}
}

func TestRenew(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		b := open(t, c, account("a", "red", 1, 0), account("b", "red", 2, 0))
		b.leased("1")
		rdb := c.Redis()
		soon := float64(time.Now().Add(time.Second).UnixMilli())
		rdb.ZAddArgs(t.Context(), store.AccountLeases("a"), zadd("1", soon))
		if err := b.router.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := rdb.ZScore(t.Context(), store.AccountLeases("a"), "1").Val(); got < soon+30_000 {
			t.Errorf("renewed until %v, %v before", got, soon)
		}
		rdb.Del(t.Context(), store.AccountLeases("a"), store.CallLeases()) // a failover lost them
		if err := b.router.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.marks("1")["1"]; got.Account != "a" || got.Attempt != 1 || b.states()["a"].Leases != 1 {
			t.Errorf("%+v, %+v", got, b.states())
		}
		if err := b.store.Renew(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

// A place that a killed process held is free after its lease ends; the mark of
// its call stays for the sweep, and goes after a day.
func TestLeasesExpire(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		b := open(t, c, account("a", "red", 1, 1))
		b.leased("killed")
		rdb := c.Redis()
		expire := func(ago time.Duration) {
			rdb.ZAddArgs(t.Context(), store.AccountLeases("a"), zadd("killed", float64(time.Now().Add(-ago).UnixMilli())))
		}
		expire(time.Second)
		l, got := b.acquire(want("2"))
		if got != "a" || b.states()["a"].Leases != 1 || len(b.marks("killed")) != 1 {
			t.Fatalf("%s, %+v, marks %v", got, b.states(), b.marks("killed"))
		}
		b.release(l.Settlement(provider.Verdict{}))
		expire(25 * time.Hour)
		b.leased("3")
		if n := rdb.ZCard(t.Context(), store.AccountLeases("a")).Val(); n != 1 || len(b.marks("killed")) != 0 {
			t.Errorf("%d leases, marks %v", n, b.marks("killed"))
		}
	})
}

// Whatever the order of things, an account never has more calls than it may.
func TestConcurrency(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		b := open(t, c, account("a", "red", 1, 3), account("b", "red", 1, 2))
		most := map[string]int64{"a": 3, "b": 2}
		var now [2]atomic.Int64
		var served atomic.Int64
		var wg sync.WaitGroup
		for worker := range 8 {
			router := b.newRouter(b.store)
			wg.Go(func() {
				for i := range 25 {
					w := want(fmt.Sprintf("call-%d-%d", worker, i))
					w.Session = w.Call
					l, err := router.Acquire(context.Background(), w)
					if err != nil {
						if fault.CodeOf(err) != fault.Busy {
							t.Error(err)
						}
						continue
					}
					at := &now[l.Account.ID[0]-'a']
					if n := at.Add(1); n > most[l.Account.ID] {
						t.Errorf("%d calls on %s", n, l.Account.ID)
					}
					served.Add(1)
					at.Add(-1)
					if err := b.store.Release(context.Background(), l.Settlement(provider.Verdict{})); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if s := b.states(); s["a"].Leases != 0 || s["b"].Leases != 0 || served.Load() == 0 {
			t.Errorf("%+v after %d calls", s, served.Load())
		}
	})
}

package accounts_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/pool"
	"sluice/shared/provider"
	"sluice/shared/store"
	"sluice/shared/store/storetest"
)

func zadd(member string, score float64) redis.ZAddArgs {
	return redis.ZAddArgs{Members: []redis.Z{{Score: score, Member: member}}}
}

// content is what the accounts' keys hold, but for times.
func content(t *testing.T, c *store.Client) map[string]any {
	t.Helper()
	rdb, ctx := c.Redis(), context.Background()
	held := map[string]any{"calls": rdb.HKeys(ctx, store.CallLeases()).Val()}
	for _, id := range []string{"a", "b"} {
		held["leases of "+id] = rdb.ZRange(ctx, store.AccountLeases(id), 0, -1).Val()
		health := rdb.HGetAll(ctx, store.AccountHealth(id)).Val()
		delete(health, "until")
		held["health of "+id] = health
	}
	return held
}

// A script whose reply is lost is run again by the client, and changes nothing more.
func TestALostReplyChangesNothing(t *testing.T) {
	lists := []pool.Account{account("a", "red", 1, 1), account("b", "red", 2, 1)}
	verdict := cool(provider.WholeAccount, time.Hour)
	steps := []struct {
		name string
		run  func(b *bench, l *pool.Lease) error
	}{
		{"acquire", func(b *bench, _ *pool.Lease) error { _, err := b.router.Acquire(t.Context(), want("2")); return err }},
		{"next", func(b *bench, l *pool.Lease) error { _, err := b.router.Next(t.Context(), l, verdict); return err }},
		{"renew", func(b *bench, _ *pool.Lease) error { return b.router.Renew(t.Context()) }},
		{"release", func(b *bench, l *pool.Lease) error { return b.store.Release(t.Context(), l.Settlement(verdict)) }},
		{"success", func(b *bench, l *pool.Lease) error {
			return b.store.Release(t.Context(), l.Settlement(provider.Verdict{}))
		}},
		{"forget", func(b *bench, _ *pool.Lease) error { return b.store.Forget(t.Context(), []string{"1"}) }},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			run := func(drop bool) map[string]any {
				server := storetest.Single(t)
				proxy := storetest.NewProxy(t, server.Addr)
				b := open(t, proxy.Client(t), lists...)
				// Half-open with room for this one call: a success that counts twice shows.
				b.client.Redis().HSet(t.Context(), store.AccountHealth("a"), "places", 1, "until", 1)
				l := b.leased("1")
				proxy.Reset()
				if drop {
					lost := false
					proxy.DropReply(func(cmd []string) bool {
						mine := !lost && (cmd[0] == "evalsha" || cmd[0] == "eval" || cmd[0] == "hdel")
						lost = lost || mine
						return mine
					})
				}
				if err := step.run(b, l); err != nil {
					t.Fatal(err)
				}
				if drop && proxy.Dropped() != 1 {
					t.Fatalf("%d replies were lost", proxy.Dropped())
				}
				return content(t, server.Client(t))
			}
			if diff := cmp.Diff(run(false), run(true)); diff != "" {
				t.Errorf("a lost reply (-without +with)\n%s", diff)
			}
		})
	}
}

// An attempt costs one command in one wait, and so does the next.
func TestCommandsOfACall(t *testing.T) {
	proxy := storetest.NewProxy(t, storetest.Single(t).Addr)
	b := open(t, proxy.Client(t), account("a", "red", 1, 0), account("b", "red", 2, 0))
	b.release(b.leased("warm").Settlement(provider.Verdict{}))
	proxy.Reset()
	l := b.leased("1")
	l, err := b.router.Next(t.Context(), l, cool(provider.OneFamily, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	b.release(l.Settlement(provider.Verdict{}))
	if got := len(proxy.Commands()); got != 3 || proxy.Waits() != 3 {
		t.Errorf("%d commands, %d waits: %v", got, proxy.Waits(), proxy.Commands())
	}
}

func TestStoreDown(t *testing.T) {
	proxy := storetest.NewProxy(t, storetest.Single(t).Addr)
	c := storetest.Open(t, store.Options{URL: proxy.URL(), Retries: -1, DialTimeout: 100 * time.Millisecond})
	b := open(t, c, account("a", "red", 1, 0))
	l := b.leased("1")
	proxy.Down(true)
	ctx := t.Context()
	_, acquire := b.router.Acquire(ctx, want("2"))
	_, _, list := b.store.Accounts(ctx)
	_, version := b.store.Version(ctx)
	_, states := b.store.States(ctx)
	_, leases := b.store.LeaseOf(ctx, []string{"1"})
	for name, err := range map[string]error{
		"acquire": acquire, "accounts": list, "version": version, "states": states, "lease of": leases,
		"renew": b.router.Renew(ctx), "release": b.store.Release(ctx, l.Settlement(provider.Verdict{})),
		"forget": b.store.Forget(ctx, []string{"1"}), "reset": b.store.Reset(ctx, "a"),
	} {
		if fault.CodeOf(err) != fault.StoreDown {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsStoredIsChecked(t *testing.T) {
	b := open(t, storetest.Embedded(t), account("a", "red", 1, 0))
	rdb, ctx := b.client.Redis(), t.Context()
	rdb.HSet(ctx, store.CallLeases(), "odd", "a|x|y", "short", "a")
	if _, err := b.store.LeaseOf(ctx, []string{"odd"}); err == nil {
		t.Error("a mark without numbers was read")
	}
	if got := b.marks("short", "none"); len(got) != 0 {
		t.Errorf("%v", got)
	}
	rdb.HSet(ctx, store.Accounts(), "a", "{")
	if _, _, err := b.store.Accounts(ctx); err == nil {
		t.Error("a broken account was read")
	}
	if _, err := b.store.States(ctx); err == nil {
		t.Error("the state of a broken account was read")
	}
	if err := b.store.Reset(ctx, "a"); err == nil {
		t.Error("a broken account was reset")
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	list := make([]pool.Account, 16)
	for i := range list {
		list[i] = account(string(rune('a'+i)), "red", 1, 0)
	}
	s := open(b, storetest.Single(b).Client(b), list...)
	b.ReportAllocs()
	for b.Loop() {
		s.release(s.leased("1").Settlement(provider.Verdict{}))
	}
}

package ledger_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/ledger"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

func TestMain(m *testing.M) { storetest.Main(m) }

var keySecret = secret.New("test-key")

const partition = 5

// office is a key with its user and team, stored as records stores them.
type office struct {
	t      testing.TB
	client *store.Client
	ledger *ledger.Ledger
	gate   *admission.Gate
	loc    admission.Locator
	now    time.Time
}

func open(t testing.TB, c *store.Client, key, user, team admission.Limits) *office {
	o := &office{t: t, client: c, ledger: ledger.New(c), now: time.Now(), loc: admission.Locator{
		Partition: partition,
		Key: admission.Key{
			Owner:  admission.Owner{ID: "key_1", Status: admission.Active, Version: 1, Limits: key},
			Digest: admission.Digest(keySecret), User: "user_1", Team: "team_1",
		},
		User: &admission.User{Owner: admission.Owner{ID: "user_1", Status: admission.Active, Version: 1, Limits: user}, Team: "team_1"},
		Team: &admission.Team{Owner: admission.Owner{ID: "team_1", Status: admission.Active, Version: 1, Limits: team}},
	}}
	o.store("key_1", 1, o.loc.Key)
	o.store("user_1", 1, o.loc.User)
	o.store("team_1", 1, o.loc.Team)
	o.set(store.Locator(o.loc.Key.Digest), o.loc)
	o.gate = o.newGate()
	return o
}

func (o *office) newGate() *admission.Gate {
	return admission.New(admission.Options{Store: o.ledger, Now: func() time.Time { return o.now }})
}

func (o *office) set(key string, v any) {
	o.t.Helper()
	raw, err := json.Marshal(v)
	if err == nil {
		err = o.client.Redis().Set(context.Background(), key, raw, 0).Err()
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) store(id string, version int64, v any) {
	o.t.Helper()
	raw, err := json.Marshal(v)
	if err == nil {
		err = o.client.Redis().HSet(context.Background(), store.Owner(partition, id), "ver", version, "rec", raw).Err()
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// admit opens a call that holds a cent for each token of output.
func (o *office) admit(gate *admission.Gate, output int64) (*admission.Grant, string, error) {
	o.t.Helper()
	ctx := context.Background()
	l, err := gate.Locate(ctx, keySecret)
	if err != nil {
		o.t.Fatal(err)
	}
	call := llm.NewID("call_", o.now)
	g, err := gate.Admit(ctx, l, admission.Ask{
		Call: call, Protocol: llm.Anthropic, Model: "m", Output: output, Limit: 10_000,
		Hold:     func(n int64) (money.Nanos, int64) { return money.Nanos(n) * cent, n },
		Progress: func() int64 { return 0 },
		Row: func(covered int64, hold money.Nanos) []byte {
			return row(usage.Record{Call: call, Key: "key_1", Outcome: usage.Lost, Estimated: true, Usage: llm.Usage{Output: &covered}, Cost: hold, Held: hold})
		},
	})
	return g, call, err
}

const cent = money.Dollar / 100

func row(r usage.Record) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return b
}

func (o *office) settle(g *admission.Grant, cost money.Nanos) {
	o.t.Helper()
	s := g.Settlement(cost, int64(cost/cent), row(usage.Record{Key: "key_1", Cost: cost}))
	if err := o.ledger.Settle(context.Background(), s); err != nil {
		o.t.Fatal(err)
	}
}

// balances are the three owners' balances, which must hold the same.
func (o *office) balance() admission.Balance {
	o.t.Helper()
	var first admission.Balance
	for i, owner := range o.loc.Owners() {
		b, err := o.ledger.Balance(context.Background(), partition, owner)
		if err != nil {
			o.t.Fatal(err)
		}
		if i == 0 {
			first = b
		} else if b != first {
			o.t.Errorf("%s: %+v, the key: %+v", owner.ID, b, first)
		}
	}
	return first
}

// consistent fails unless what is held is the sum of the open calls.
func (o *office) consistent() {
	o.t.Helper()
	ctx := context.Background()
	intents, err := o.client.Redis().HGetAll(ctx, store.Intents(partition)).Result()
	if err != nil {
		o.t.Fatal(err)
	}
	var held, tokens int64
	for call, raw := range intents {
		var h, n int64
		if _, err := fmt.Sscanf(raw, "%d %d ", &h, &n); err != nil {
			o.t.Fatalf("%s: %q: %v", call, raw, err)
		}
		held, tokens = held+h, tokens+n
	}
	for _, owner := range o.loc.Owners() {
		have, err := o.client.Redis().HMGet(ctx, store.Balance(partition, owner.ID), "held", "tokens", "open").Result()
		if err != nil {
			o.t.Fatal(err)
		}
		want := []string{strconv.FormatInt(held, 10), strconv.FormatInt(tokens, 10), strconv.Itoa(len(intents))}
		for i, v := range have {
			if v != nil && v != want[i] || v == nil && want[i] != "0" {
				o.t.Errorf("%s holds %v, its open calls %v", owner.ID, have, want)
			}
		}
	}
}

func (o *office) rows() int64 {
	o.t.Helper()
	n, err := o.client.Redis().XLen(context.Background(), store.Usage(partition)).Result()
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

func dollars(n int64) admission.Limits {
	return admission.Limits{Budgets: []admission.Budget{{Per: admission.Day, USD: money.Nanos(n) * money.Dollar}}}
}

func TestCallIsHeldAndSettled(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, dollars(5), admission.Limits{}, admission.Limits{})
		g, _, err := o.admit(o.gate, 100)
		if err != nil {
			t.Fatal(err)
		}
		if b := o.balance(); b.Held != money.Dollar || b.Open != 1 || b.Day != 0 {
			t.Errorf("open: %+v", b)
		}
		if err := g.Cover(t.Context(), 150); err != nil {
			t.Fatal(err)
		}
		o.consistent()
		o.settle(g, 30*cent)
		if b := o.balance(); b != (admission.Balance{Day: 30 * cent, Week: 30 * cent, Month: 30 * cent, Total: 30 * cent}) {
			t.Errorf("settled: %+v", b)
		}
		if o.rows() != 1 {
			t.Errorf("%d rows", o.rows())
		}
		o.settle(g, 30*cent) // a repeat changes nothing
		if b := o.balance(); b.Day != 30*cent || o.rows() != 1 {
			t.Errorf("settled twice: %+v", b)
		}
		o.consistent()
	})
}

func TestLimitsOfEveryOwner(t *testing.T) {
	none := admission.Limits{}
	window := func(w admission.Window) admission.Limits {
		w.Minutes = 5
		return admission.Limits{Windows: []admission.Window{w}}
	}
	for name, c := range map[string]struct {
		limits admission.Limits
		code   fault.Code
	}{
		"budget":      {dollars(1), fault.BudgetHeld},
		"concurrency": {admission.Limits{Concurrency: 1}, fault.Concurrency},
		"requests":    {window(admission.Window{Requests: 1}), fault.RateLimited},
		"tokens":      {window(admission.Window{Tokens: 150}), fault.RateLimited},
		"cost":        {window(admission.Window{USD: money.Dollar}), fault.RateLimited},
	} {
		for i, who := range []string{"key", "user", "team"} {
			t.Run(name+" of "+who, func(t *testing.T) {
				limits := [3]admission.Limits{none, none, none}
				limits[i] = c.limits
				o := open(t, storetest.SingleShard(t).Client(t), limits[0], limits[1], limits[2])
				g, _, err := o.admit(o.gate, 100)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := o.admit(o.gate, 100); fault.CodeOf(err) != c.code {
					t.Errorf("second call: %v", err)
				}
				o.consistent()
				o.settle(g, 0)
				if _, _, err := o.admit(o.gate, 90); (err == nil) == (name == "requests") {
					t.Errorf("after the first ended: %v", err)
				}
			})
		}
	}
}

func TestRoomOfTheTightestWindow(t *testing.T) {
	windows := func(requests, tokens int64) admission.Limits {
		return admission.Limits{Windows: []admission.Window{{Minutes: 5, Requests: requests, Tokens: tokens}}}
	}
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, windows(10, 1000), windows(0, 900), windows(9, 0))
		var last *admission.Grant
		for range 2 {
			g, _, err := o.admit(o.gate, 100)
			if err != nil {
				t.Fatal(err)
			}
			last = g
		}
		requests, tokens := last.Room()
		if requests == nil || requests.Limit != 9 || requests.Left != 7 || !requests.Reset.After(o.now) {
			t.Errorf("requests: %+v", requests)
		}
		if tokens == nil || tokens.Limit != 900 || tokens.Left != 700 {
			t.Errorf("tokens: %+v", tokens)
		}
	})
}

func TestSpentIsToldFromHeld(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, dollars(1), admission.Limits{}, admission.Limits{})
		g, _, err := o.admit(o.gate, 60)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = o.admit(o.gate, 60); fault.CodeOf(err) != fault.BudgetHeld {
			t.Errorf("while held: %v", err)
		}
		o.settle(g, 50*cent)
		_, _, err = o.admit(o.gate, 60)
		if f := fault.From(err); f.Code != fault.BudgetSpent || f.RetryAfter <= 0 || f.RetryAfter > 24*time.Hour {
			t.Errorf("when spent: %v, again after %v", err, f.RetryAfter)
		}
		if _, _, err = o.admit(o.gate, 50); err != nil {
			t.Errorf("exactly what is left: %v", err)
		}
	})
}

func TestExtensionStopsAtTheBudget(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, dollars(20), admission.Limits{}, admission.Limits{})
		g, _, err := o.admit(o.gate, 100)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Cover(t.Context(), 1500); err != nil {
			t.Errorf("within the budget: %v", err)
		}
		if err := g.Cover(t.Context(), 2001); fault.CodeOf(err) != fault.BudgetSpent {
			t.Errorf("over the budget: %v", err)
		}
		if b := o.balance(); b.Held != 1500*cent && b.Held != 15*money.Dollar {
			t.Errorf("the old hold stands: %+v", b)
		}
		o.consistent()
		o.settle(g, 20*money.Dollar)
		if err := g.Cover(t.Context(), 1600); fault.CodeOf(err) != fault.Internal {
			t.Errorf("after settlement: %v", err)
		}
		o.consistent()
	})
}

func TestRecordsAreVerified(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, admission.Limits{}, admission.Limits{}, admission.Limits{})
		if _, _, err := o.admit(o.gate, 1); err != nil {
			t.Fatal(err)
		}
		team := *o.loc.Team
		team.Limits, team.Version = dollars(1), 2
		o.store("team_1", 2, team)
		if _, _, err := o.admit(o.gate, 101); fault.CodeOf(err) != fault.BudgetSpent {
			t.Errorf("the new limit of the team: %v", err)
		}
		healed, err := o.ledger.Locate(t.Context(), o.loc.Key.Digest)
		if err != nil || healed.Team.Version != 2 {
			t.Errorf("the stored locator was not healed: %v", err)
		}
		key := o.loc.Key
		key.Status, key.Version = admission.Disabled, 2
		o.store("key_1", 2, key)
		if _, _, err := o.admit(o.gate, 1); fault.CodeOf(err) != fault.Forbidden {
			t.Errorf("disabled: %v", err)
		}
		ctx := context.Background()
		if err := c.Redis().Del(ctx, store.Owner(partition, "key_1"), store.Locator(o.loc.Key.Digest)).Err(); err != nil && !c.Cluster() {
			t.Fatal(err)
		}
		c.Redis().Del(ctx, store.Owner(partition, "key_1"))
		c.Redis().Del(ctx, store.Locator(o.loc.Key.Digest))
		l, err := o.gate.Locate(ctx, keySecret)
		if err != nil {
			t.Fatal(err) // still remembered
		}
		if err := o.gate.Verify(ctx, l); fault.CodeOf(err) != fault.Unauthenticated {
			t.Errorf("deleted: %v", err)
		}
	})
}

func TestExpiry(t *testing.T) {
	for name, edit := range map[string]func(*admission.Key){
		"at a time":       func(k *admission.Key) { past := time.Now().Add(-time.Minute); k.ExpiresAt = &past },
		"after first use": func(k *admission.Key) { k.ExpiresAfterFirstUse = 60 },
	} {
		t.Run(name, func(t *testing.T) {
			o := open(t, storetest.SingleShard(t).Client(t), admission.Limits{}, admission.Limits{}, admission.Limits{})
			edit(&o.loc.Key)
			o.store("key_1", 1, o.loc.Key)
			o.set(store.Locator(o.loc.Key.Digest), o.loc)
			first := time.Now().Add(-2 * time.Minute).UnixMilli()
			if err := o.client.Redis().HSet(t.Context(), store.Owner(partition, "key_1"), "first", first).Err(); err != nil {
				t.Fatal(err)
			}
			if _, _, err := o.admit(o.newGate(), 1); fault.CodeOf(err) != fault.Unauthenticated {
				t.Errorf("expired key: %v", err)
			}
		})
	}
}

func BenchmarkAdmitSettle(b *testing.B) {
	o := open(b, storetest.Single(b).Client(b), dollars(9_000_000), dollars(9_000_000), dollars(9_000_000))
	b.ReportAllocs()
	for b.Loop() {
		g, _, err := o.admit(o.gate, 1)
		if err != nil {
			b.Fatal(err)
		}
		o.settle(g, 1)
	}
}

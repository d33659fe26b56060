package ledger_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/money"
	"sluice/shared/pool"
	"sluice/shared/store"
	"sluice/shared/store/ledger"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

// records are the rows of the office's partition, as readers see them.
func (o *office) records() []usage.Record {
	o.t.Helper()
	entries, err := o.client.Redis().XRange(context.Background(), store.Usage(partition), "-", "+").Result()
	if err != nil {
		o.t.Fatal(err)
	}
	rows := make([]usage.Record, len(entries))
	for i, e := range entries {
		if err := json.Unmarshal([]byte(e.Values["r"].(string)), &rows[i]); err != nil {
			o.t.Fatalf("%s: %v", e.Values["r"], err)
		}
	}
	return rows
}

// sweep sweeps until no gap stands in the way.
func (o *office) sweep(sent map[string]pool.LeaseInfo) ledger.Swept {
	o.t.Helper()
	sweeper := ledger.NewSweeper(o.ledger, leases(sent), nil)
	if _, err := sweeper.All(o.t.Context()); err != nil { // nobody has swept before
		o.t.Fatal(err)
	}
	o.expire()
	swept, err := sweeper.All(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	return swept
}

// Who comes back after the sweep took it for dead is charged what it used, once.
func TestLateSettlementCorrects(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		window := admission.Limits{Windows: []admission.Window{{Minutes: 60, Tokens: 1_000_000}}}
		o := open(t, c, dollars(50), window, admission.Limits{})
		g, call, err := o.admit(o.gate, 500)
		if err != nil {
			t.Fatal(err)
		}
		if swept := o.sweep(map[string]pool.LeaseInfo{call: {Account: "acct_1"}}); swept.Settled != 1 {
			t.Fatalf("swept %+v", swept)
		}
		if b := o.balance(); b.Total != 5*money.Dollar || b.Held != 0 {
			t.Fatalf("the sweep's estimate: %+v", b)
		}
		for range 3 { // late, and again, and again
			o.settle(g, 2*money.Dollar)
			if b := o.balance(); b.Total != 2*money.Dollar || b.Held != 0 || b.Open != 0 {
				t.Errorf("after the correction: %+v", b)
			}
		}
		o.consistent()
		rows := o.records()
		if len(rows) != 2 || rows[1].Corrects == nil || rows[1].Corrects.Call != call || !rows[1].Corrects.Estimated {
			t.Fatalf("%+v", rows)
		}
		var sum usage.Row
		for i := range rows {
			sum.Add(&rows[i])
		}
		if sum.Requests != 1 || sum.Cost != 2*money.Dollar || sum.Estimated != 0 {
			t.Errorf("summed up: %+v", sum)
		}
	})
}

// A settlement that comes when nobody knows of the call any more was made before.
func TestAncientSettlementIsNotMadeTwice(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, dollars(50), admission.Limits{}, admission.Limits{})
		o.now = time.Now().Add(-3 * time.Hour)
		g, _, err := o.admit(o.gate, 100)
		if err != nil {
			t.Fatal(err)
		}
		o.settle(g, money.Dollar)
		keys, err := c.Redis().Del(t.Context(), doneSets(t, c)...).Result()
		if err != nil || keys == 0 {
			t.Fatalf("%d done sets, %v", keys, err)
		}
		o.settle(g, money.Dollar)
		if b := o.balance(); b.Total != money.Dollar || o.rows() != 1 {
			t.Errorf("%+v, %d rows", b, o.rows())
		}
	})
}

// A failover that loses acknowledged writes is made good within a beat or two. The
// embedded store has no replicas to fail over to, and the user of a deployment may
// not bring a store back to what it was.
func TestConfirmSettlesAgainWhatWasLost(t *testing.T) {
	t.Run("single", func(t *testing.T) { confirms(t, storetest.Single(t).Client(t)) })
	t.Run("cluster", func(t *testing.T) { confirms(t, storetest.Cluster(t).Client(t)) })
}

func confirms(t *testing.T, c *store.Client) {
	t.Helper()
	o := open(t, c, dollars(50), admission.Limits{}, admission.Limits{})
	lost, _, err := o.admit(o.gate, 100)
	if err != nil {
		t.Fatal(err)
	}
	kept, _, err := o.admit(o.gate, 100)
	if err != nil {
		t.Fatal(err)
	}
	o.settle(kept, money.Dollar)
	before := o.dump()
	o.settle(lost, 3*money.Dollar)
	if n, err := o.ledger.Confirm(t.Context()); n != 0 || err != nil {
		t.Errorf("too early: %d, %v", n, err)
	}
	o.restore(before) // the replica that took over had not seen it
	o.ledger.Age(time.Hour)
	if n, err := o.ledger.Confirm(t.Context()); n != 1 || err != nil {
		t.Errorf("made again: %d, %v", n, err)
	}
	if b := o.balance(); b.Total != 4*money.Dollar || b.Held != 0 || b.Open != 0 || o.rows() != 2 {
		t.Errorf("%+v, %d rows", b, o.rows())
	}
	o.consistent()
	o.ledger.Age(time.Hour)
	if n, err := o.ledger.Confirm(t.Context()); n != 0 || err != nil { // the one made again is confirmed, too
		t.Errorf("afterwards: %d, %v", n, err)
	}
}

// Processes that could not renew because the store was away are not dead.
func TestGapExtendsOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, dollars(50), admission.Limits{}, admission.Limits{})
		if _, _, err := o.admit(o.gate, 100); err != nil {
			t.Fatal(err)
		}
		sweeper := ledger.NewSweeper(o.ledger, leases{}, nil)
		if _, err := sweeper.All(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.expire()
		long := time.Now().Add(-time.Minute).UnixMilli()
		if err := c.Redis().Set(t.Context(), store.Swept(partition), long, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if swept, err := sweeper.All(t.Context()); err != nil || swept.Settled != 0 || !swept.Gap {
			t.Errorf("after a gap: %+v, %v", swept, err)
		}
		if b := o.balance(); b.Open != 1 {
			t.Errorf("%+v", b)
		}
		o.expire() // nobody renewed it in its second time, either
		if swept, err := sweeper.All(t.Context()); err != nil || swept.Settled != 1 || swept.Gap {
			t.Errorf("after its second time: %+v, %v", swept, err)
		}
	})
}

func TestAuditRepairs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, dollars(50), admission.Limits{}, admission.Limits{})
		if _, _, err := o.admit(o.gate, 100); err != nil {
			t.Fatal(err)
		}
		sweeper := ledger.NewSweeper(o.ledger, leases{}, nil)
		if n, err := sweeper.Audit(t.Context()); n != 0 || err != nil {
			t.Errorf("nothing is wrong: %d, %v", n, err)
		}
		for _, wrong := range []struct{ field, by string }{{"held", "700"}, {"open", "-2"}, {"tokens", "12"}} {
			if err := c.Redis().Do(t.Context(), "HINCRBY", store.Balance(partition, "user_1"), wrong.field, wrong.by).Err(); err != nil {
				t.Fatal(err)
			}
			if n, err := sweeper.Audit(t.Context()); n != 1 || err != nil {
				t.Errorf("%s: repaired %d, %v", wrong.field, n, err)
			}
			if b := o.balance(); b.Held != money.Dollar || b.Open != 1 {
				t.Errorf("%s: %+v", wrong.field, b)
			}
		}
		o.consistent()
	})
}

func doneSets(t *testing.T, c *store.Client) []string {
	t.Helper()
	var found []string
	err := c.EachNode(t.Context(), func(ctx context.Context, node redis.Cmdable) error {
		keys, _, err := node.Scan(ctx, 0, "d:{*", 100_000).Result()
		found = append(found, keys...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// image is the ledger's part of the store.
type image map[string]string

// dump keeps the office's partition, restore brings it back: as a replica that
// lagged behind takes over.
func (o *office) dump() image {
	o.t.Helper()
	kept := image{}
	for _, key := range o.keys() {
		text, err := o.client.Redis().Dump(context.Background(), key).Result()
		if err != nil {
			o.t.Fatal(err)
		}
		kept[key] = text
	}
	return kept
}

func (o *office) restore(from image) {
	o.t.Helper()
	ctx := context.Background()
	for _, key := range o.keys() {
		if err := o.client.Redis().Del(ctx, key).Err(); err != nil {
			o.t.Fatal(err)
		}
	}
	for key, text := range from {
		if err := o.client.Redis().RestoreReplace(ctx, key, 0, text).Err(); err != nil {
			o.t.Fatal(err)
		}
	}
}

func (o *office) keys() []string {
	o.t.Helper()
	var found []string
	err := o.client.EachNode(context.Background(), func(ctx context.Context, node redis.Cmdable) error {
		keys, _, err := node.Scan(ctx, 0, "?:{5}*", 100_000).Result()
		found = append(found, keys...)
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return found
}

package ledger_test

import (
	"context"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/money"
	"sluice/shared/pool"
	"sluice/shared/store"
	"sluice/shared/store/ledger"
	"sluice/shared/store/storetest"
)

// leases is a table of leased calls.
type leases map[string]pool.LeaseInfo

func (l leases) LeaseOf(context.Context, []string) (map[string]pool.LeaseInfo, error) { return l, nil }
func (l leases) Forget(context.Context, []string) error                               { return nil }

func TestSweepSettlesTheCallsOfTheDead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, dollars(50), admission.Limits{}, admission.Limits{})
		_, sent, err := o.admit(o.gate, 100)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = o.admit(o.gate, 200); err != nil {
			t.Fatal(err)
		}
		alive, _, err := o.admit(o.gate, 300)
		if err != nil {
			t.Fatal(err)
		}
		sweeper := ledger.NewSweeper(o.ledger, leases{sent: {Account: "acct_1"}}, nil)
		if swept, err := sweeper.All(t.Context()); swept.Settled != 0 || err != nil {
			t.Errorf("nothing is due: %+v, %v", swept, err)
		}
		o.expire()
		if err := alive.Cover(t.Context(), 301); err != nil { // renews it
			t.Fatal(err)
		}
		if swept, err := sweeper.All(t.Context()); swept.Settled != 2 || err != nil {
			t.Errorf("swept %+v, %v", swept, err)
		}
		if b := o.balance(); b.Total != money.Dollar || b.Open != 1 {
			t.Errorf("the leased call costs its hold, the other nothing: %+v", b)
		}
		o.consistent()
		if o.rows() != 2 {
			t.Errorf("%d rows", o.rows())
		}
		if n, err := sweeper.Partition(t.Context(), partition); n != 0 || err != nil {
			t.Errorf("swept again: %d, %v", n, err)
		}
	})
}

// expire makes every open call due.
func (o *office) expire() {
	o.t.Helper()
	ctx := context.Background()
	calls, err := o.client.Redis().ZRange(ctx, store.Due(partition), 0, -1).Result()
	if err != nil {
		o.t.Fatal(err)
	}
	for _, call := range calls {
		if err := o.client.Redis().ZAddXX(ctx, store.Due(partition), redis.Z{Member: call}).Err(); err != nil {
			o.t.Fatal(err)
		}
	}
}

// 200 goroutines share a budget for 50 calls: never more than 50 are admitted at
// once, and all of it is usable.
func TestNoOverrunInParallel(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		o := open(t, c, admission.Limits{}, dollars(50), admission.Limits{})
		var mu sync.Mutex
		var grants []*admission.Grant
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				g, _, err := o.admit(o.gate, 100)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					grants = append(grants, g)
				} else if fault.CodeOf(err) != fault.BudgetHeld {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(grants) != 50 {
			t.Errorf("%d admitted", len(grants))
		}
		o.consistent()
		for _, g := range grants {
			wg.Go(func() { o.settle(g, money.Dollar) })
		}
		wg.Wait()
		if b := o.balance(); b.Total != 50*money.Dollar || b.Held != 0 {
			t.Errorf("%+v", b)
		}
	})
}

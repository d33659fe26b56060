package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/money"
	"sluice/shared/store"
	"sluice/shared/usage"
)

// books reads what the store has of owners and their keys. It reads the store itself
// and asks no process: what a process says is what is on trial.
func (a *arena) books(ctx context.Context, budgets map[string]money.Nanos, keys []key) (books, error) {
	var b books
	mine := make(map[string]bool, len(keys))
	for _, k := range keys {
		mine[k.ID] = true
	}
	partitions := make(map[int]bool)
	for owner := range budgets {
		partitions[admission.PartitionOf(owner)] = true
	}
	for _, p := range slices.Sorted(maps.Keys(partitions)) {
		if err := a.partition(ctx, p, mine, &b); err != nil {
			return b, err
		}
	}
	var err error
	if b.Balances, err = a.balances(ctx, budgets, keys); err != nil {
		return b, err
	}
	b.Leases, err = a.leased(ctx)
	return b, err
}

// partition reads rows and open calls of a ledger partition.
func (a *arena) partition(ctx context.Context, p int, mine map[string]bool, b *books) error {
	pipe := a.direct.Pipeline()
	rows, open, due := pipe.XRange(ctx, store.Usage(p), "-", "+"), pipe.HGetAll(ctx, store.Intents(p)), pipe.ZRange(ctx, store.Due(p), 0, -1)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for _, entry := range rows.Val() {
		text, _ := entry.Values["r"].(string)
		var r usage.Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return fmt.Errorf("row %s of partition %d: %w", entry.ID, p, err)
		}
		if mine[r.Key] {
			b.Rows = append(b.Rows, r)
		}
	}
	opened := make(map[string]bool)
	for id, stored := range open.Val() {
		o, err := readOpen(id, stored)
		if err != nil {
			return err
		}
		opened[id] = true
		if mine[o.Key] {
			b.Open = append(b.Open, o)
		}
	}
	for _, id := range due.Val() {
		if !opened[id] { // those that are open are blamed as such
			b.Due = append(b.Due, id)
		}
	}
	return nil
}

// readOpen reads an open call as the ledger keeps it.
func readOpen(id, stored string) (openCall, error) {
	o := openCall{Call: id}
	parts := strings.SplitN(stored, " ", 3)
	if len(parts) != 3 {
		return o, fmt.Errorf("open call %s is stored in an unknown form", id)
	}
	var kept struct {
		Plan admission.Plan
		Row  usage.Record
	}
	hold, err := strconv.ParseInt(parts[0], 10, 64)
	if err == nil {
		err = json.Unmarshal([]byte(parts[2]), &kept)
	}
	if err != nil {
		return o, fmt.Errorf("open call %s: %w", id, err)
	}
	o.Hold, o.Key = money.Nanos(hold), kept.Row.Key
	for _, s := range kept.Plan.Shares {
		o.Owners = append(o.Owners, s.Owner)
	}
	return o, nil
}

// balances reads what owners and keys have spent and hold.
func (a *arena) balances(ctx context.Context, budgets map[string]money.Nanos, keys []key) (map[string]admission.Balance, error) {
	pipe := a.direct.Pipeline()
	read := make(map[string]*redis.MapStringStringCmd)
	for owner := range budgets {
		read[owner] = pipe.HGetAll(ctx, store.Balance(admission.PartitionOf(owner), owner))
	}
	for _, k := range keys {
		read[k.ID] = pipe.HGetAll(ctx, store.Balance(admission.PartitionOf(k.Team), k.ID))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	all := make(map[string]admission.Balance)
	for owner, have := range read {
		all[owner] = balanceOf(have.Val())
	}
	return all, nil
}

// balanceOf is a balance as the scripts keep it. The field of what was spent in all
// is one of the names in a plan, which is the only place where it is known.
func balanceOf(have map[string]string) admission.Balance {
	return admission.Balance{
		Total: nanos(have[string(admission.Total)]), Held: nanos(have["held"]), Open: int(nanos(have["open"])),
	}
}

// nanos is an integer that a script wrote; absent is zero, and anything else is -1,
// which no balance may be.
func nanos(text string) money.Nanos {
	if text == "" {
		return 0
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return money.Nanos(v)
}

// leased are the calls that have a place at an account now.
func (a *arena) leased(ctx context.Context) ([]string, error) {
	now, err := a.direct.Time(ctx).Result()
	if err != nil {
		return nil, err
	}
	var calls []string
	for _, id := range a.accounts {
		some, err := a.direct.ZRangeArgs(ctx, redis.ZRangeArgs{
			Key: store.AccountLeases(id), ByScore: true, Start: now.UnixMilli(), Stop: "+inf",
		}).Result()
		if err != nil {
			return nil, err
		}
		calls = append(calls, some...)
	}
	return calls, nil
}

// expire lets the time of calls pass that nobody renews: they become due at once, and
// their places end. It waits until no call was opened or closed for a while, for what
// is open then is of processes that died.
func (a *arena) expire(ctx context.Context, budgets map[string]money.Nanos, keys []key) error {
	const still = 4 * time.Second
	var open string
	since := time.Now()
	var failed error
	poll(patience, func() bool {
		b, err := a.books(ctx, budgets, keys)
		var ids []string
		for _, o := range b.Open {
			ids = append(ids, o.Call)
		}
		slices.Sort(ids)
		now := strings.Join(ids, " ")
		if failed = err; err != nil || now != open {
			open, since = now, time.Now()
		}
		return len(b.Open) == 0 || time.Since(since) > still
	})
	if failed != nil {
		return failed
	}
	for owner := range budgets {
		due := store.Due(admission.PartitionOf(owner))
		if err := a.end(ctx, due); err != nil {
			return err
		}
	}
	for _, id := range a.accounts {
		if err := a.end(ctx, store.AccountLeases(id)); err != nil {
			return err
		}
	}
	return nil
}

// end moves the end of everything in a set that is sorted by it into the past.
func (a *arena) end(ctx context.Context, set string) error {
	ids, err := a.direct.ZRange(ctx, set, 0, -1).Result()
	for _, id := range ids {
		if err == nil {
			err = a.direct.ZAddXX(ctx, set, redis.Z{Score: float64(time.Now().Add(-time.Second).UnixMilli()), Member: id}).Err()
		}
	}
	return err
}

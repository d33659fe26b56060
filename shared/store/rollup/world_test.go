package rollup_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/store"
	"sluice/shared/store/rollup"
	"sluice/shared/usage"
)

var start = time.Date(2026, 3, 24, 9, 30, 0, 0, time.UTC)

// settled is a record in the ledger.
type settled struct {
	partition int
	at        time.Time
	seq       int
	usage.Record
}

// world is a store with records, and a roller over it.
type world struct {
	t      testing.TB
	client *store.Client
	clock  time.Time // of the roller
	*rollup.Roller
}

func newWorld(t testing.TB, c *store.Client) *world {
	w := &world{t: t, client: c, clock: start}
	w.Roller = rollup.New(rollup.Options{Client: c, Now: func() time.Time { return w.clock }})
	return w
}

// settle writes records as the ledger does.
func (w *world) settle(all ...settled) {
	w.t.Helper()
	for group := range slices.Chunk(all, 500) {
		pipe := w.client.Redis().Pipeline()
		for _, s := range group {
			row, err := json.Marshal(s.Record)
			if err != nil {
				w.t.Fatal(err)
			}
			pipe.XAdd(w.t.Context(), &redis.XAddArgs{
				Stream: store.Usage(s.partition), ID: fmt.Sprintf("%d-%d", s.at.UnixMilli(), s.seq), Values: []any{"r", row},
			})
		}
		if _, err := pipe.Exec(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) roll() rollup.Result {
	w.t.Helper()
	done, err := w.All(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

func (w *world) sum(q usage.Query) []usage.Row {
	w.t.Helper()
	rows, err := rollup.NewReader(w.client).Sum(w.t.Context(), everywhere(), q)
	if err != nil {
		w.t.Fatalf("%+v: %v", q, err)
	}
	return rows
}

// holds compares a sum with that of the records, added up one by one.
func (w *world) holds(q usage.Query, all []settled) {
	w.t.Helper()
	if diff := cmp.Diff(naive(q, all), w.sum(q)); diff != "" {
		w.t.Fatalf("%+v (-records +sum):\n%s", q, diff)
	}
}

func everywhere() []int {
	all := make([]int, admission.Partitions)
	for p := range all {
		all[p] = p
	}
	return all
}

// naive is a sum of records, added up one by one.
func naive(q usage.Query, all []settled) []usage.Row {
	zone, grain := q.Zone, q.Grain
	if zone == nil {
		zone = time.UTC
	}
	if grain == "" {
		grain = usage.Day
	}
	found := map[string]*usage.Row{}
	for i := range all {
		s := &all[i]
		if s.at.Before(q.From) || !q.To.IsZero() && !s.at.Before(q.To) || !q.Matches(&s.Record) {
			continue
		}
		group := []string{}
		for _, d := range q.GroupBy {
			group = append(group, d.Of(&s.Record))
		}
		at := grain.Start(s.at.In(zone))
		key := fmt.Sprintf("%d %q", at.UnixNano(), group)
		if found[key] == nil {
			found[key] = &usage.Row{Bucket: at, Group: group}
		}
		found[key].Add(&s.Record)
	}
	return sorted(found)
}

func sorted(found map[string]*usage.Row) []usage.Row {
	rows := []usage.Row{}
	for _, r := range found {
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(x, y usage.Row) int {
		if c := x.Bucket.Compare(y.Bucket); c != 0 {
			return c
		}
		return slices.Compare(x.Group, y.Group)
	})
	return rows
}

func n(v int64) *int64 { return &v }

// history is so many records over a time, in the order they were settled. Keys move
// between users, teams and tags; some records correct an earlier one.
func history(count int, from time.Time, over time.Duration, partitions ...int) []settled {
	random := rand.New(rand.NewPCG(uint64(count), 7))
	at, seq := from, 1
	all := make([]settled, count)
	for i := range all {
		next := at.Add(time.Duration(random.Int64N(int64(over) / int64(count) * 8 / 3))).Truncate(time.Millisecond)
		if random.IntN(4) == 0 || !next.After(at) {
			seq++ // the same millisecond, in any partition
		} else {
			at, seq = next, 1
		}
		key := random.IntN(5)
		moved := key + 2*i/count
		r := usage.Record{
			Call: fmt.Sprintf("call_%05d", i), At: at.Add(-time.Second), Key: fmt.Sprintf("key_%d", key),
			Model: []string{"opus", "a:b 7:\n\x00", "sonnet"}[random.IntN(3)], Account: fmt.Sprintf("acct_%d", random.IntN(3)),
			User: fmt.Sprintf("user_%d", moved%3), Team: []string{"", "team_1", "team_2"}[moved%3],
			Usage: llm.Usage{Input: n(random.Int64N(5000)), Output: n(random.Int64N(900)), Reasoning: n(5)},
			Cost:  money.Nanos(random.Int64N(1e9)), Estimated: i%5 == 0, Unpriced: i%7 == 0,
		}
		switch random.IntN(20) {
		case 0:
			r.Cost, r.Usage.CacheRead = 1e14, n(1<<53-1)
		case 1:
			r.Usage = llm.Usage{CacheWrite5m: n(1 << 40), CacheWrite1h: n(1e14)}
		case 2:
			if i > 0 {
				earlier := all[i-1].Record
				r.Corrects = &earlier
			}
		}
		if moved%2 == 0 {
			r.Tags = map[string]string{"env": "test", "a": fmt.Sprint(moved)}
		}
		all[i] = settled{partitions[random.IntN(len(partitions))], at, seq, r}
	}
	return all
}

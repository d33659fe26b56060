package rollup_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/money"
	"sluice/shared/store"
	"sluice/shared/store/rollup"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

var zones = []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "America/Sao_Paulo"}

// query is any query over the time of some records.
func query(t testing.TB, random *rand.Rand, all []settled) usage.Query {
	t.Helper()
	q := usage.Query{Grain: []usage.Grain{usage.Hour, usage.Day, usage.Month, ""}[random.IntN(4)]}
	var err error
	if q.Zone, err = time.LoadLocation(zones[random.IntN(len(zones))]); err != nil {
		t.Fatal(err)
	}
	for _, at := range []*time.Time{&q.From, &q.To} {
		some := all[random.IntN(len(all))].at.In(q.Zone)
		switch random.IntN(5) {
		case 0:
			*at = some
		case 1:
			*at = usage.Hour.Start(some)
		case 2:
			*at = usage.Day.Start(some)
		case 3:
			*at = usage.Month.Start(some)
		}
	}
	r := &all[random.IntN(len(all))].Record
	for at, v := range map[*string]string{&q.Key: r.Key, &q.User: r.User, &q.Team: r.Team, &q.Account: r.Account, &q.Model: r.Model} {
		if random.IntN(6) == 0 {
			*at = v
		}
	}
	for _, d := range []usage.Dimension{usage.ByKey, usage.ByModel, usage.ByAccount, usage.ByUser, usage.ByTeam, "tag:env", "tag:a", "tag:none"} {
		if random.IntN(4) == 0 {
			q.GroupBy = append(q.GroupBy, d)
		}
	}
	return q
}

// A sum is that of the records, whatever of them is rolled up.
func TestSumIsThatOfTheRecords(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		w := newWorld(t, c)
		random := rand.New(rand.NewPCG(1, 2))
		all := history(3000, start, 12*24*time.Hour, 0, 5, 5, 5, 5, 63)
		for done := 0; done < len(all); {
			next := min(done+1+random.IntN(1800), len(all))
			w.settle(all[done:next]...)
			done = next
			for range 6 {
				w.holds(query(t, random, all[:done]), all[:done])
			}
			if random.IntN(4) > 0 {
				w.roll()
			}
			for range 6 {
				w.holds(query(t, random, all[:done]), all[:done])
			}
		}
		if w.roll(); w.roll() != (rollup.Result{}) {
			t.Error("there is more to roll up after everything is")
		}
		for range 30 {
			w.holds(query(t, random, all), all)
		}
	})
}

// A sum does not read what is rolled up: with the entries gone it is the same.
func TestSumReadsRollups(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		w := newWorld(t, c)
		all := history(3000, start, 12*24*time.Hour, 5)
		w.settle(all...)
		w.roll()
		if err := c.Redis().XTrimMaxLen(t.Context(), store.Usage(5), 0).Err(); err != nil {
			t.Fatal(err)
		}
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range []usage.Grain{usage.Hour, usage.Day, usage.Month} {
			for _, z := range []*time.Location{time.UTC, berlin} {
				w.holds(usage.Query{Grain: g, Zone: z, GroupBy: []usage.Dimension{usage.ByUser}}, all)
				w.holds(usage.Query{Grain: g, Zone: z, From: usage.Hour.Start(all[900].at), To: usage.Hour.Start(all[2800].at)}, all)
			}
		}
	})
}

// Four rollers and a reader at once: nothing counts twice, and nothing is missed at
// any time.
func TestRollersAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		w := newWorld(t, c)
		all := history(5000, start, 50*time.Hour, 1, 2, 2, 2)
		w.settle(all...)
		want := naive(usage.Query{}, all)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var rollers, readers sync.WaitGroup
		failed := make(chan error, 8)
		for range 4 {
			r := rollup.New(rollup.Options{Client: c, Now: func() time.Time { return start }})
			rollers.Go(func() {
				if _, err := r.All(ctx); err != nil {
					failed <- err
				}
			})
		}
		readers.Go(func() {
			for ctx.Err() == nil {
				rows, err := rollup.NewReader(c).Sum(ctx, everywhere(), usage.Query{})
				if ctx.Err() != nil {
					return
				}
				if diff := cmp.Diff(want, rows); err != nil || diff != "" {
					failed <- fmt.Errorf("while it is rolled up: %w (-records +sum)\n%s", errors.Join(err, errors.New("differs")), diff)
					return
				}
			}
		})
		rollers.Wait()
		cancel()
		readers.Wait()
		close(failed)
		for err := range failed {
			t.Error(err)
		}
		w.roll()
		w.holds(usage.Query{Grain: usage.Hour, GroupBy: []usage.Dimension{usage.ByKey, usage.ByModel}}, all)
	})
}

// What does not fit 64 bits, or cannot be read, is told with what to do, and holds
// up its partition only.
func TestRollRefuses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		ctx := t.Context()
		w := newWorld(t, c)
		add := func(p int, id string, values ...any) {
			t.Helper()
			if err := c.Redis().XAdd(ctx, &redis.XAddArgs{Stream: store.Usage(p), ID: id, Values: values}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		huge := fmt.Sprintf(`{"key":"k","usage":{"input":%d}}`, int64(1<<63-1))
		add(1, "5000-0", "r", huge)
		add(1, "6000-0", "r", huge)
		add(2, "5000-0", "r", "{")
		add(3, "5000-0", "other", "{}")
		add(4, "5000-0", "r", huge)
		_, err := w.All(ctx)
		for _, want := range []string{"XDEL u:{1} 6000-0", "does not fit 64 bits", "XDEL u:{2} 5000-0", "is damaged", "XDEL u:{3} 5000-0", `no field "r"`} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want it to say %q", err, want)
			}
		}
		add(4, "6000-0", "r", huge) // now the sum that is stored is too large
		if _, err := w.All(ctx); err == nil || !strings.Contains(err.Error(), `rollup: r:{4}:day:19700101`) {
			t.Errorf("a stored sum that overflows: %v", err)
		}
		for p, id := range map[int]string{1: "6000-0", 2: "5000-0", 3: "5000-0", 4: "6000-0"} {
			if err := c.Redis().XDel(ctx, store.Usage(p), id).Err(); err != nil {
				t.Fatal(err)
			}
		}
		w.roll()
		_, err = rollup.NewReader(c).Sum(ctx, []int{1, 4}, usage.Query{})
		if err == nil || !strings.Contains(err.Error(), "does not fit 64 bits") {
			t.Errorf("a sum over partitions that overflows: %v", err)
		}
	})
}

func TestSumRefuses(t *testing.T) {
	c := storetest.Single(t).Client(t)
	w := newWorld(t, c)
	w.settle(settled{partition: 1, at: start, seq: 1, Record: usage.Record{Key: "k"}})
	w.roll()
	day := store.Rollup(1, "day", "20260324")
	for _, values := range [][]any{{"1:k", "1 0 0 0 0 0 0 0 0 0"}, {"1:k0:0:0:0:", "1 2 3"}} {
		if err := c.Redis().HSet(t.Context(), day, values...).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := rollup.NewReader(c).Sum(t.Context(), []int{1}, usage.Query{}); fault.CodeOf(err) != fault.Internal || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%v: %v", values, err)
		}
		if err := c.Redis().HDel(t.Context(), day, values[0].(string)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Redis().HSet(t.Context(), store.Cursors(1), "rolled", "x").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := rollup.NewReader(c).Sum(t.Context(), []int{1}, usage.Query{}); !strings.Contains(fmt.Sprint(err), "r:{1} are damaged") {
		t.Errorf("damaged cursors: %v", err)
	}
}

// Money and tokens are exact at the edges of what Lua and JSON count exactly.
func TestExact(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		w := newWorld(t, c)
		var all []settled
		for i, v := range []int64{1e14, 1<<53 - 1, 1 << 53, 1<<53 + 1, 1e14 + 1, 1} {
			r := usage.Record{Key: "k", Cost: money.Nanos(v)}
			r.Usage.Input = n(v)
			all = append(all, settled{9, start, i + 1, r})
			w.settle(all[i])
			w.roll()
			w.holds(usage.Query{Grain: usage.Month}, all)
		}
		row := w.sum(usage.Query{})[0]
		if want := int64(3*(1<<53) + 2e14 + 2); row.Input != want || int64(row.Cost) != want {
			t.Errorf("input %d, cost %d, want %d", row.Input, row.Cost, want)
		}
	})
}

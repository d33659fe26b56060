package records_test

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
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/store"
	"sluice/shared/usage"
)

// settled is a record in the ledger.
type settled struct {
	partition int
	at        time.Time
	seq       int
	usage.Record
}

// settle writes records as the ledger does.
func (b *bench) settle(t testing.TB, all ...settled) {
	t.Helper()
	for group := range slices.Chunk(all, 500) {
		pipe := b.client.Redis().Pipeline()
		for _, s := range group {
			row, err := json.Marshal(s.Record)
			if err != nil {
				t.Fatal(err)
			}
			pipe.XAdd(t.Context(), &redis.XAddArgs{
				Stream: store.Usage(s.partition), ID: fmt.Sprintf("%d-%d", s.at.UnixMilli(), s.seq),
				Values: []any{"r", row},
			})
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func count(n int64) *int64 { return &n }

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// history is n records over the partitions, in the order they were settled.
func history(n int, partitions ...int) []settled {
	random := rand.New(rand.NewPCG(1, 2))
	at, seq := start, 0
	all := make([]settled, n)
	for i := range all {
		if step := random.IntN(4); step == 0 {
			seq++ // the same millisecond, in any partition
		} else {
			at, seq = at.Add(time.Duration(step)*time.Millisecond), 1
		}
		all[i] = settled{partitions[random.IntN(len(partitions))], at, seq, usage.Record{
			Call: fmt.Sprintf("call_%04d", i), At: at.Add(-time.Second), Key: "key_" + string("ab"[i%2]),
			Model: "model-" + string("xyz"[i%3]), Account: "acct_1", Team: "team_1",
			Tags:  map[string]string{"env": string("pq"[i%2])},
			Usage: llm.Usage{Input: count(int64(i)), Output: count(2), CacheRead: count(3), Reasoning: count(1)},
			Cost:  money.Nanos(i) * 1000, Estimated: i%5 == 0, Unpriced: i%7 == 0,
		}}
	}
	return all
}

func calls(rs []usage.Record) []string {
	ids := []string{}
	for _, r := range rs {
		ids = append(ids, r.Call)
	}
	return ids
}

// pages reads all pages of a query.
func (b *bench) pages(t testing.TB, q usage.Query) []string {
	t.Helper()
	all := []string{}
	for {
		page := must(b.Usage().Records(t.Context(), q))(t)
		if q.Limit > 0 && len(page.Records) > q.Limit {
			t.Fatalf("a page of %d records, want at most %d", len(page.Records), q.Limit)
		}
		all = append(all, calls(page.Records)...)
		if q.Cursor = page.Next; page.Next == "" {
			return all
		}
	}
}

func TestRecordPages(t *testing.T) {
	once(t, func(t *testing.T, b *bench) {
		if got := b.pages(t, usage.Query{}); len(got) != 0 {
			t.Errorf("records of nothing: %v", got)
		}
		all := history(400, 0, 5, 5, 5, 5, 5, 63)
		// Ids are unique within a partition only; the same one in another is no loss.
		twin := all[200]
		twin.partition, twin.Call = 17, "call_twin"
		b.settle(t, append(all, twin)...)
		for _, tt := range []struct {
			name string
			q    usage.Query
			want func(s settled) bool
		}{
			{"all", usage.Query{}, func(settled) bool { return true }},
			{"of a key", usage.Query{Key: "key_a"}, func(s settled) bool { return s.Key == "key_a" }},
			{"of a user that is gone", usage.Query{User: "user_0"}, func(settled) bool { return false }},
			{"of a model and account", usage.Query{Model: "model-x", Account: "acct_1"}, func(s settled) bool { return s.Model == "model-x" }},
			{"of a span", usage.Query{From: all[50].at, To: all[90].at}, func(s settled) bool {
				return !s.at.Before(all[50].at) && s.at.Before(all[90].at)
			}},
			{"of an empty span", usage.Query{From: start, To: start}, func(settled) bool { return false }},
			{"before time began", usage.Query{To: time.Unix(-1, 0)}, func(settled) bool { return false }},
		} {
			selected := slices.DeleteFunc(append(slices.Clone(all), twin), func(s settled) bool { return !tt.want(s) })
			slices.SortStableFunc(selected, newest)
			want := []string{}
			for _, s := range selected {
				want = append(want, s.Call)
			}
			for _, limit := range []int{0, 1, 7, 200} {
				tt.q.Limit = limit
				if limit == 1 && len(want) > 50 {
					continue // many pages
				}
				if diff := cmp.Diff(want, b.pages(t, tt.q)); diff != "" {
					t.Errorf("%s, pages of %d (-want +got):\n%s", tt.name, limit, diff)
				}
			}
		}
		_, err := b.Usage().Records(t.Context(), usage.Query{Cursor: "x"})
		wantFault(t, err, fault.Invalid, "is no cursor")
	})
}

// newest orders records as pages do: by id, then by partition, the last first.
func newest(x, y settled) int {
	if c := y.at.Compare(x.at); c != 0 {
		return c
	}
	if x.seq != y.seq {
		return y.seq - x.seq
	}
	return y.partition - x.partition
}

func TestRecordsOfOwners(t *testing.T) {
	once(t, func(t *testing.T, b *bench) {
		from, to := b.newTeam(t, "from"), b.newTeam(t, "to")
		user := b.newUser(t, "user", from.ID)
		key := b.newKey(t, "one", func(k *admission.Key) { k.User = user.ID })
		old, now := admission.PartitionOf(from.ID), admission.PartitionOf(to.ID)
		record := func(call string, partition, minute int, r usage.Record) settled {
			r.Call = call
			return settled{partition, start.Add(time.Duration(minute) * time.Minute), 1, r}
		}
		b.settle(t, record("first", old, 1, usage.Record{Key: key.ID, User: user.ID, Team: from.ID}))
		if got := b.pages(t, usage.Query{Key: key.ID}); !slices.Equal(got, []string{"first"}) {
			t.Errorf("of the key: %v", got)
		}
		if err := b.Keys().Delete(t.Context(), by, key.ID, 0); err != nil {
			t.Fatal(err)
		}
		user.Team = to.ID
		must(b.Users().Update(t.Context(), by, user))(t)
		b.settle(t, record("second", now, 2, usage.Record{Key: "key_2", User: user.ID, Team: to.ID}))
		for name, tt := range map[string]struct {
			q    usage.Query
			want []string
		}{
			"a user that changed its team": {usage.Query{User: user.ID}, []string{"second", "first"}},
			"a key that was deleted":       {usage.Query{Key: key.ID}, []string{"first"}},
			"the former team":              {usage.Query{Team: from.ID}, []string{"first"}},
			"the new team":                 {usage.Query{Team: to.ID}, []string{"second"}},
		} {
			if got := b.pages(t, tt.q); !slices.Equal(got, tt.want) {
				t.Errorf("%s: %v, want %v", name, got, tt.want)
			}
		}
	})
}

func TestSum(t *testing.T) {
	once(t, func(t *testing.T, b *bench) {
		all := history(2500, 3, 3, 3, 40)
		b.settle(t, all...)
		for _, tt := range []struct {
			name string
			q    usage.Query
			want int // rows
		}{
			{"one row", usage.Query{}, 1},
			{"by key", usage.Query{GroupBy: []usage.Dimension{usage.ByKey}}, 2},
			{"by model and tag", usage.Query{Grain: usage.Month, GroupBy: []usage.Dimension{usage.ByModel, "tag:env"}}, 6},
			{"of a model in a span", usage.Query{Grain: usage.Hour, Model: "model-x", From: all[100].at, To: all[2000].at}, 1},
		} {
			want := map[string]usage.Row{}
			for i := range all {
				s := &all[i]
				outside := !tt.q.From.IsZero() && (s.at.Before(tt.q.From) || !s.at.Before(tt.q.To))
				if outside || !tt.q.Matches(&s.Record) {
					continue
				}
				var group []string
				for _, d := range tt.q.GroupBy {
					group = append(group, d.Of(&s.Record))
				}
				row := want[fmt.Sprint(group)]
				row.Add(&s.Record)
				want[fmt.Sprint(group)] = row
			}
			rows := must(b.Usage().Sum(t.Context(), tt.q))(t)
			if len(rows) != tt.want || len(want) != tt.want {
				t.Errorf("%s: %d rows, want %d", tt.name, len(rows), tt.want)
			}
			for _, row := range rows {
				w := want[fmt.Sprint(row.Group)]
				w.Bucket, w.Group = row.Bucket, row.Group
				if diff := cmp.Diff(w, row); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.name, diff)
				}
			}
		}
	})
}

func TestSumBuckets(t *testing.T) {
	once(t, func(t *testing.T, b *bench) {
		zone := must(time.LoadLocation("Europe/Berlin"))(t)
		at := time.Date(2026, 3, 31, 21, 30, 0, 0, time.UTC) // 23:30 in Berlin
		for i := range 3 {
			b.settle(t, settled{i, at.Add(time.Duration(i) * 20 * time.Minute), 1, usage.Record{Call: "c", Model: string("yxx"[i])}})
		}
		type row struct {
			Bucket, Group string
			Requests      int64
		}
		for _, tt := range []struct {
			grain usage.Grain
			zone  *time.Location
			want  []row
		}{
			{usage.Month, zone, []row{{"2026-03-01T00:00:00+01:00", "x", 1}, {"2026-03-01T00:00:00+01:00", "y", 1}, {"2026-04-01T00:00:00+02:00", "x", 1}}},
			{usage.Day, nil, []row{{"2026-03-31T00:00:00Z", "x", 2}, {"2026-03-31T00:00:00Z", "y", 1}}},
			{usage.Hour, nil, []row{{"2026-03-31T21:00:00Z", "x", 1}, {"2026-03-31T21:00:00Z", "y", 1}, {"2026-03-31T22:00:00Z", "x", 1}}},
		} {
			q := usage.Query{Grain: tt.grain, Zone: tt.zone, GroupBy: []usage.Dimension{usage.ByModel}}
			var got []row
			for _, r := range must(b.Usage().Sum(t.Context(), q))(t) {
				got = append(got, row{r.Bucket.Format(time.RFC3339), r.Group[0], r.Requests})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s in %v (-want +got):\n%s", tt.grain, tt.zone, diff)
			}
		}
	})
}

func TestUsageDamage(t *testing.T) {
	once(t, func(t *testing.T, b *bench) {
		for i, values := range [][]any{{"r", "{"}, {"other", "{}"}} {
			stream := store.Usage(i)
			if err := b.client.Redis().XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: values}).Err(); err != nil {
				t.Fatal(err)
			}
			_, err := b.Usage().Sum(t.Context(), usage.Query{})
			wantFault(t, err, fault.Internal, "usage record")
			_, err = b.Usage().Records(t.Context(), usage.Query{})
			wantFault(t, err, fault.Internal, "usage record")
			if err := b.client.Redis().Del(t.Context(), stream).Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

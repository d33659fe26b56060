package rollup_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/store/rollup"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

// buckets are those of a partition that there are.
func (w *world) buckets(p int) (hours, days, months []string) {
	w.t.Helper()
	at := func(g usage.Grain, layout string, each func(time.Time) time.Time) (found []string) {
		pipe := w.client.Redis().Pipeline()
		var names []string
		for t := g.Start(start.AddDate(0, -1, 0)); t.Before(start.AddDate(2, 0, 0)); t = each(t) {
			names = append(names, t.Format(layout))
			pipe.Exists(w.t.Context(), store.Rollup(p, string(g), t.Format(layout)))
		}
		cmds, err := pipe.Exec(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		for i, cmd := range cmds {
			if cmd.(*redis.IntCmd).Val() > 0 {
				found = append(found, names[i])
			}
		}
		return found
	}
	hours = at(usage.Hour, "2006010215", func(t time.Time) time.Time { return t.Add(time.Hour) })
	days = at(usage.Day, "20060102", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) })
	months = at(usage.Month, "200601", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) })
	return hours, days, months
}

func (w *world) stored(p int) int64 {
	w.t.Helper()
	n, err := w.client.Redis().XLen(w.t.Context(), store.Usage(p)).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// dated is a sum of records as it is when they are old: of whole days of UTC (or of
// months), which count where their date is, from and to dates on.
func dated(q usage.Query, unit usage.Grain, all []settled) []usage.Row {
	moved := slices.Clone(all)
	for i := range moved {
		day := unit.Start(moved[i].at)
		moved[i].at = time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, q.Zone)
	}
	rows := naive(q, moved)
	for i := range rows {
		rows[i].UTC = q.Zone != time.UTC
	}
	return rows
}

func TestRetention(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		w := newWorld(t, c)
		all := history(1600, start, 500*24*time.Hour, 5)
		last := all[len(all)-1].at
		w.settle(all...)
		w.clock = last
		for range 4 {
			w.roll() // in steps
		}
		detail := usage.Day.Start(last.AddDate(0, 0, -7))
		days := usage.Month.Start(last.AddDate(0, 0, -400))
		hasHours, hasDays, hasMonths := w.buckets(5)
		if h, d, m := hasHours[0], hasDays[0], hasMonths[0]; h < detail.Format("2006010215") || d < days.Format("20060102") || m != start.Format("200601") {
			t.Errorf("buckets begin at %s, %s, %s; want them from %s, %s, %s on", h, d, m, detail, days, start)
		}
		recent := slices.IndexFunc(all, func(s settled) bool { return !s.at.Before(detail) })
		if got := w.stored(5); got != int64(len(all)-recent) {
			t.Errorf("%d records in the stream, want %d", got, len(all)-recent)
		}
		kept := slices.IndexFunc(all, func(s settled) bool { return !s.at.Before(days) })
		by := []usage.Dimension{usage.ByKey}
		for _, name := range zones {
			zone, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			// Since there is detail, to the millisecond.
			for _, g := range []usage.Grain{usage.Hour, usage.Day, usage.Month} {
				w.holds(usage.Query{Grain: g, Zone: zone, From: detail, GroupBy: by}, all)
				w.holds(usage.Query{Grain: g, Zone: zone, From: all[recent].at.Add(time.Millisecond), GroupBy: by}, all)
			}
			// Before, by days of UTC, from and to any time.
			for _, from := range []time.Time{days, days.Add(time.Minute), all[kept+200].at.In(zone), usage.Day.Start(all[kept+300].at.In(zone))} {
				for _, to := range []time.Time{usage.Day.Start(all[recent-200].at.In(zone)), all[recent-100].at} {
					q := usage.Query{Zone: zone, From: from, To: to, GroupBy: by, Grain: usage.Day}
					if diff := cmp.Diff(dated(q, usage.Day, all[kept:]), w.sum(q)); diff != "" {
						t.Errorf("%+v (-days of UTC +sum):\n%s", q, diff)
					}
					q.Grain = usage.Month
					if diff := cmp.Diff(dated(q, usage.Day, all[kept:]), w.sum(q)); diff != "" {
						t.Errorf("%+v (-months of UTC's days +sum):\n%s", q, diff)
					}
				}
			}
			// Before that, by months of UTC.
			q := usage.Query{Zone: zone, To: days.AddDate(0, 0, -9), GroupBy: by, Grain: usage.Month}
			if diff := cmp.Diff(dated(q, usage.Month, all[:kept]), w.sum(q)); diff != "" {
				t.Errorf("%+v (-months of UTC +sum):\n%s", q, diff)
			}
		}
		// All of it: everything counts once.
		row := w.sum(usage.Query{Grain: usage.Month})
		var total, want usage.Row
		for i := range row {
			total.Requests, total.Cost = total.Requests+row[i].Requests, total.Cost+row[i].Cost
		}
		for i := range all {
			want.Add(&all[i].Record)
		}
		if total.Requests != want.Requests || total.Cost != want.Cost {
			t.Errorf("all months have %d calls at %v, want %d at %v", total.Requests, total.Cost, want.Requests, want.Cost)
		}
		for _, q := range []usage.Query{
			{Grain: usage.Hour, From: detail.Add(-time.Second)}, {Grain: usage.Day, From: days.Add(-time.Second)}, {From: start},
		} {
			_, err := rollup.NewReader(c).Sum(t.Context(), everywhere(), q)
			if f := fault.From(err); err == nil || f.Code != fault.Invalid || f.Field != "from" || !strings.Contains(f.Message, "are kept; begin then, or add up by") {
				t.Errorf("%+v: %v", q, err)
			}
		}
	})
}

// A clock that is ahead removes nothing of the day that was rolled up last.
func TestRetentionWithClockAhead(t *testing.T) {
	c := storetest.Single(t).Client(t)
	w := newWorld(t, c)
	all := history(300, start, 10*time.Hour, 5)
	w.settle(all[:200]...)
	w.clock = start.AddDate(3, 0, 0)
	w.roll()
	w.settle(all[200:]...)
	w.holds(usage.Query{Grain: usage.Hour}, all)
	w.roll()
	w.holds(usage.Query{Grain: usage.Hour}, all)
}

// A long past is removed in steps, and between them sums are right.
func TestRetentionInSteps(t *testing.T) {
	w := newWorld(t, storetest.Single(t).Client(t))
	var all []settled
	for i, years := range []int{6, 4, 0} {
		all = append(all, settled{5, start.AddDate(-years, 0, 0), 1, usage.Record{Call: fmt.Sprint(i), Cost: 1}})
	}
	w.settle(all...)
	w.roll()
	for _, g := range []usage.Grain{usage.Hour, usage.Day, usage.Month} {
		w.holds(usage.Query{Grain: g, From: start.AddDate(-4, 0, -1)}, all)
	}
	for range 5 {
		w.roll()
	}
	if hours, days, months := w.buckets(5); len(hours) != 1 || len(days) != 1 || len(months) != 1 || w.stored(5) != 1 {
		t.Errorf("%v, %v, %v and %d records", hours, days, months, w.stored(5))
	}
	w.holds(usage.Query{Grain: usage.Month}, all)
}

// What is old stays in the stream until the archive has it.
func TestRetentionWaitsForArchive(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		w := newWorld(t, c)
		to := &shelf{after: func(put int) error {
			if put > 3 {
				return errors.New("full")
			}
			return nil
		}}
		all := history(2000, start, 20*24*time.Hour, 5)
		w.settle(all...)
		w.clock = all[len(all)-1].at
		detail := usage.Day.Start(w.clock.AddDate(0, 0, -7))
		if _, err := w.archiving(to).All(t.Context()); err == nil {
			t.Fatal("the archive takes everything")
		}
		archived := 0
		for _, lines := range to.lines(t) {
			archived += len(lines)
		}
		left := w.stored(5)
		if left >= int64(len(all)) || left < int64(len(all)-archived) {
			t.Errorf("%d records are left of %d, %d or fewer of which are archived", left, len(all), archived)
		}
		var log bytes.Buffer
		other := rollup.New(rollup.Options{Client: c, Now: func() time.Time { return w.clock }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 2 {
			if _, err := other.All(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if w.stored(5) != left || strings.Count(log.String(), "for an archive that this process does not have") != 1 {
			t.Errorf("a process without an archive leaves %d of %d records and logs %s", w.stored(5), left, &log)
		}
		to.after = nil
		for range 2 {
			if _, err := w.archiving(to).All(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		recent := slices.IndexFunc(all, func(s settled) bool { return !s.at.Before(detail) })
		if got := w.stored(5); got != int64(len(all)-recent) {
			t.Errorf("%d records in the stream, want %d", got, len(all)-recent)
		}
		w.clock = w.clock.Add(6 * time.Hour)
		if _, err := w.archiving(to).All(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rows(t, all), to.lines(t)); diff != "" {
			t.Errorf("(-records +archive)\n%s", diff)
		}
	})
}

// The reply of each script is dropped once, and so is that of trimming: whatever was
// repeated, nothing happened twice.
func TestLostReplies(t *testing.T) {
	single := storetest.Single(t)
	for nth, name := range []string{"roll", "close", "archived", "keep hours", "keep days", "trim"} {
		t.Run(name, func(t *testing.T) {
			single.Flush(t)
			proxy := storetest.NewProxy(t, single.Addr)
			direct := newWorld(t, single.Client(t))
			w, to := newWorld(t, proxy.Client(t)), &shelf{}
			w.settle(history(50, start.AddDate(-3, 0, 0), 3*time.Hour, 9)...) // every script is known to the server from here on
			w.clock = start
			if _, err := w.archiving(&shelf{}).All(t.Context()); err != nil {
				t.Fatal(err)
			}
			all := history(1200, start.AddDate(0, 0, -500), 500*24*time.Hour, 5)
			direct.settle(all...)
			w.clock = all[len(all)-1].at.Add(6 * time.Hour)
			dropped := false
			proxy.DropReply(func(cmd []string) bool {
				text := strings.ToLower(strings.Join(cmd, " "))
				is := []bool{
					strings.HasPrefix(text, "eval") && strings.Contains(text, "r:{5}:hour") && !strings.Contains(text, "detail"),
					strings.HasPrefix(text, "eval") && len(cmd) == 6 && strings.Contains(text, "r:{5}") && strings.Count(text, "-") == 1,
					strings.HasPrefix(text, "eval") && len(cmd) == 6 && strings.Contains(text, "r:{5}") && strings.Count(text, "-") == 2,
					strings.HasPrefix(text, "eval") && strings.Contains(text, "r:{5}:hour") && strings.Contains(text, "detail"),
					strings.HasPrefix(text, "eval") && strings.Contains(text, "r:{5}:day") && strings.Contains(text, "days"),
					strings.HasPrefix(text, "xtrim"),
				}[nth]
				first := !dropped && is
				dropped = dropped || first
				return first
			})
			for range 4 {
				if _, err := w.archiving(to).All(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if proxy.Dropped() != 1 {
				t.Fatalf("%d replies were dropped", proxy.Dropped())
			}
			total := func(rows []usage.Row) string {
				var sum usage.Row
				for _, r := range rows {
					sum.Requests, sum.Input, sum.Cost = sum.Requests+r.Requests, sum.Input+r.Input, sum.Cost+r.Cost
				}
				return fmt.Sprint(sum)
			}
			q := usage.Query{Grain: usage.Month, From: start.AddDate(-2, 0, 0)}
			if got, want := total(direct.sum(q)), total(naive(q, all)); got != want {
				t.Errorf("sums to %s, want %s", got, want)
			}
			if diff := cmp.Diff(rows(t, all), to.lines(t)); diff != "" {
				t.Errorf("(-records +archive)\n%s", diff)
			}
		})
	}
}

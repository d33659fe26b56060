package admission

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/money"
)

func TestPeriods(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string, zone *time.Location) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		name         string
		budget       Budget
		now          time.Time
		begins, ends string
	}{
		{"day", Budget{Per: Day}, at("2026-03-10 23:59", time.UTC), "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"},
		{"day in the owner's zone", Budget{Per: Day}, at("2026-03-10 23:30", time.UTC).In(berlin), "2026-03-11T00:00:00+01:00", "2026-03-12T00:00:00+01:00"},
		{"day of 23 hours", Budget{Per: Day}, at("2026-03-29 12:00", berlin), "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"},
		{"week begins on Monday", Budget{Per: Week}, at("2026-03-15 12:00", time.UTC), "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z"},
		{"week on its first day", Budget{Per: Week}, at("2026-03-09 00:00", time.UTC), "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z"},
		{"week from Sunday", Budget{Per: Week, Anchor: 7}, at("2026-03-10 12:00", time.UTC), "2026-03-08T00:00:00Z", "2026-03-15T00:00:00Z"},
		{"month", Budget{Per: Month}, at("2026-02-28 12:00", time.UTC), "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"month before its anchor", Budget{Per: Month, Anchor: 15}, at("2026-01-14 12:00", time.UTC), "2025-12-15T00:00:00Z", "2026-01-15T00:00:00Z"},
		{"month on its anchor", Budget{Per: Month, Anchor: 15}, at("2026-01-15 00:00", time.UTC), "2026-01-15T00:00:00Z", "2026-02-15T00:00:00Z"},
	} {
		begins, ends := c.budget.period(c.now)
		got := [2]string{begins.Format(time.RFC3339), ends.Format(time.RFC3339)}
		if diff := cmp.Diff([2]string{c.begins, c.ends}, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

func TestPlanCountsEveryOwner(t *testing.T) {
	expires := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	loc := &Locator{
		Partition: 7,
		Key: Key{
			Owner: Owner{ID: "key_1", Version: 3, Limits: Limits{
				Concurrency: 5,
				Windows:     []Window{{Minutes: 5, Requests: 10, Tokens: 1000, USD: money.Dollar}},
				Budgets: []Budget{
					{Per: Day, USD: 5 * money.Dollar},
					{Per: Day, USD: 3 * money.Dollar},
					{Per: Month, USD: 2 * money.Dollar, Models: []string{"claude-opus-*"}},
					{Per: Month, USD: 1 * money.Dollar, Models: []string{"gpt-*"}},
				},
			}},
			ExpiresAt: &expires, ExpiresAfterFirstUse: 60,
		},
		User: &User{Owner: Owner{ID: "user_1", Version: 9, TimeZone: "Asia/Tokyo"}},
	}
	g := New(Options{})
	plan, err := g.plan(loc, "claude-opus-4-5", time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ Owner, Field, Label, Held, Max string }
	var got []row
	for _, s := range plan.Shares {
		for _, c := range s.Counters {
			got = append(got, row{s.Owner, c.Field, c.Label, c.Held, c.Max})
		}
	}
	suffix := got[4].Field[len("month"):]
	want := []row{
		{"key_1", "day", "20261125", "held", "3000000000"}, // of two budgets the smaller
		{"key_1", "week", "20261123", "held", ""},
		{"key_1", "month", "20261101", "held", ""},
		{"key_1", "total", "", "held", ""},
		{"key_1", "month" + suffix, "20261101", "held" + suffix, "2000000000"},
		{"user_1", "day|Asia/Tokyo", "20261126", "held", ""},
		{"user_1", "week|Asia/Tokyo", "20261123", "held", ""},
		{"user_1", "month|Asia/Tokyo", "20261101", "held", ""},
		{"user_1", "total", "", "held", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counters (-want +got)\n%s", diff)
	}
	key := plan.Shares[0]
	if key.Expires != expires.UnixMilli() || key.Lifetime != 60_000 || key.Concurrency != 5 || key.Version != "3" {
		t.Errorf("key's share: %+v", key)
	}
	if w := key.Windows[0]; w.Slot != 30_000 || w.Requests != "10" || w.Tokens != "1000" || w.USD != "1000000000" {
		t.Errorf("window: %+v", w)
	}
	if len(key.Held) != 2 {
		t.Errorf("held fields: %v", key.Held)
	}
}

func TestPlanRefusesUnknownZone(t *testing.T) {
	loc := &Locator{Key: Key{Owner: Owner{ID: "key_1", TimeZone: "Mars/Olympus"}}}
	if _, err := New(Options{}).plan(loc, "m", time.Now()); err == nil {
		t.Fatal("no error")
	}
}

func TestModels(t *testing.T) {
	for _, c := range []struct {
		rules Models
		model string
		want  bool
	}{
		{Models{}, "anything", true},
		{Models{Allow: []string{"claude-haiku-*"}}, "claude-haiku-4-5", true},
		{Models{Allow: []string{"claude-haiku-*"}}, "claude-opus-4-5", false},
		{Models{Deny: []string{"*opus*"}}, "claude-opus-4-5", false},
		{Models{Allow: []string{"claude-*"}, Deny: []string{"*opus*"}}, "claude-opus-4-5", false},
		{Models{Allow: []string{"[malformed"}}, "[malformed", false},
	} {
		if got := c.rules.Allows(c.model); got != c.want {
			t.Errorf("%+v allows %q: %v", c.rules, c.model, got)
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	g := New(Options{})
	loc := &Locator{Key: Key{Owner: Owner{ID: "key_1", Limits: Limits{
		Budgets: []Budget{{Per: Month, USD: 5 * money.Dollar}}, Windows: []Window{{Minutes: 5, Requests: 10}},
	}}}, User: &User{Owner: Owner{ID: "user_1"}}, Team: &Team{Owner: Owner{ID: "team_1"}}}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.plan(loc, "claude-opus-4-5", now); err != nil {
			b.Fatal(err)
		}
	}
}

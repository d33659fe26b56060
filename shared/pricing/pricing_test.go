package pricing

import (
	"strings"
	"testing"
	"time"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
)

func n(v int64) *int64 { return &v }

func table(t testing.TB) *Table {
	t.Helper()
	tab, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

var now = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

func TestCost(t *testing.T) {
	tab := table(t)
	for name, c := range map[string]struct {
		model    string
		at       time.Time
		usage    llm.Usage
		cost     string
		unpriced bool
	}{
		"every class":         {"claude-opus-4-5", now, llm.Usage{Input: n(1000), Output: n(1000), CacheRead: n(1000), CacheWrite5m: n(1000), CacheWrite1h: n(1000)}, "0.04675", false},
		"a snapshot":          {"claude-opus-4-5-20251101", now, llm.Usage{Input: n(1)}, "0.000005", false},
		"rounded once":        {"claude-3-haiku", now, llm.Usage{CacheRead: n(1), Input: n(1)}, "0.00000028", false},
		"nothing":             {"claude-opus-4-5", now, llm.Usage{}, "0.00", false},
		"web searches":        {"claude-opus-4-5", now, llm.Usage{Units: map[llm.Unit]int64{llm.WebSearches: 3, llm.WebFetches: 9}}, "0.03", false},
		"an unknown unit":     {"claude-opus-4-5", now, llm.Usage{Units: map[llm.Unit]int64{"songs": 1}}, "0.00", true},
		"short of long":       {"claude-haiku-5-5", now, llm.Usage{Input: n(99_999), CacheRead: n(1), Output: n(1000)}, "0.01049991", false},
		"long":                {"claude-haiku-5-5", now, llm.Usage{Input: n(100_000), CacheRead: n(1), Output: n(1000)}, "0.05250005", false},
		"fast":                {"claude-opus-4-6", now, llm.Usage{Output: n(1000), Speed: "fast"}, "0.15", false},
		"a speed unpriced":    {"claude-opus-4-5", now, llm.Usage{Output: n(1000), Speed: "fast"}, "0.025", true},
		"usual speed":         {"claude-opus-4-5", now, llm.Usage{Output: n(1000), Speed: "standard", Tier: "standard"}, "0.025", false},
		"another tier":        {"claude-opus-4-5", now, llm.Usage{Output: n(1000), Tier: "priority"}, "0.025", true},
		"in the US":           {"claude-opus-4-6", now, llm.Usage{Output: n(1000), Region: "us"}, "0.0275", false},
		"before a new price":  {"claude-sonnet-5-5", time.Date(2026, 10, 6, 23, 0, 0, 0, time.UTC), llm.Usage{CacheRead: n(million)}, "0.20", false},
		"from a new price on": {"claude-sonnet-5-5", time.Date(2026, 10, 7, 0, 0, 0, 0, time.UTC), llm.Usage{CacheRead: n(million)}, "0.10", false},
	} {
		p, ok := tab.Price("anthropic", c.model, c.at)
		if !ok {
			t.Errorf("%s: no price", name)
			continue
		}
		if cost, unpriced := p.Cost(c.usage); cost.String() != c.cost || unpriced != c.unpriced {
			t.Errorf("%s: $%s, unpriced %v; want $%s, %v", name, cost, unpriced, c.cost, c.unpriced)
		}
	}
}

// Whatever a call within its bounds uses, it costs no more than the bound.
func TestBoundIsABound(t *testing.T) {
	tab := table(t)
	for _, m := range tab.Models("") {
		p, ok := tab.Price("", m.ID, now)
		if !ok {
			t.Fatalf("%s has no price now", m.ID)
		}
		for _, input := range []int64{0, 1000, 100_000, 200_001} {
			for cache, usage := range map[llm.CacheClass]llm.Usage{
				llm.NoCache: {Input: n(input), Output: n(500), Region: "us"},
				llm.Cache5m: {CacheWrite5m: n(input), Output: n(500)},
				llm.Cache1h: {CacheWrite1h: n(input), Output: n(500), Region: "us"},
			} {
				bound := p.Bound(input, cache, 500, Ask{})
				if cost, _ := p.Cost(usage); cost > bound {
					t.Errorf("%s: %d tokens of class %d cost $%s, bound $%s", m.ID, input, cache, cost, bound)
				}
			}
			for speed := range p.speeds {
				bound := p.Bound(input, llm.NoCache, 500, Ask{Speed: speed, Region: "us"})
				if cost, _ := p.Cost(llm.Usage{Input: n(input), Output: n(500), Speed: speed, Region: "us"}); cost > bound {
					t.Errorf("%s at speed %s: $%s, bound $%s", m.ID, speed, cost, bound)
				}
			}
		}
	}
}

func TestPriceFinds(t *testing.T) {
	tab := table(t)
	for name, want := range map[string]bool{
		"claude-opus-4-5": true, "claude-opus-4-5-20251101": true, "claude-opus-4-6[1m]": true, "claude-3-5-haiku-latest": true,
		"claude-opus-4-0": true, "claude-opus-4-20250514": true, "claude-opus-9": false, "": false, "claude-opus-4-5-2025": false,
	} {
		if _, ok := tab.Price("anthropic", name, now); ok != want {
			t.Errorf("%q: %v", name, ok)
		}
	}
	if _, ok := tab.Price("", "claude-haiku-5-5", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); ok {
		t.Error("a price before its first date")
	}
	if got := tab.Family("claude-opus-4-5-20251101"); got != "opus" {
		t.Errorf("family %q", got)
	}
	if got := tab.Family("unknown"); got != "unknown" {
		t.Errorf("family %q", got)
	}
}

func TestLoadRefuses(t *testing.T) {
	const good = `{"models":[{"id":"m","name":"M","family":"f","context_window":1,"max_output":1,"source":"s","rates":[{"from":"2026-01-01","input":"1","output":"1","cache_read":"1","cache_write_5m":"1","cache_write_1h":"1"}]}]}`
	if _, err := Load(strings.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]string{
		"unknown field":  {`"name":"M"`, `"nmae":"M"`},
		"no source":      {`"source":"s"`, `"source":""`},
		"no window":      {`"context_window":1`, `"context_window":0`},
		"no rates":       {`"rates":[`, `"rates":[],"units":{},"aliases":[`},
		"negative price": {`"input":"1"`, `"input":"-1"`},
		"number":         {`"input":"1"`, `"input":1`},
		"no price":       {`"input":"1",`, ``},
		"bad date":       {`2026-01-01`, `2026-1-1`},
		"bad release":    {`"name":"M"`, `"name":"M","released":"x"`},
		"bad speed":      {`"name":"M"`, `"name":"M","speeds":{"fast":"x"}`},
		"twice":          {`"name":"M"`, `"name":"M","aliases":["m"]`},
		"bad long":       {`"cache_write_1h":"1"`, `"cache_write_1h":"1","long":{"over":0}`},
		"long unpriced":  {`"cache_write_1h":"1"`, `"cache_write_1h":"1","long":{"over":5}`},
	} {
		bad := strings.Replace(good, c[0], c[1], 1)
		if _, err := Load(strings.NewReader(bad)); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(strings.NewReader(`{"regions":{"us":"1e3"}}`)); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("region: %v", err)
	}
}

func TestEveryPriceNamesItsSource(t *testing.T) {
	for _, m := range table(t).Models("anthropic") {
		if m.DisplayName == "" || m.CreatedAt.After(now) {
			t.Errorf("%+v", m)
		}
	}
}

func BenchmarkCost(b *testing.B) {
	p, _ := table(b).Price("anthropic", "claude-opus-4-5", now)
	u := llm.Usage{Input: n(1000), Output: n(1000), CacheRead: n(1000)}
	b.ReportAllocs()
	var sum money.Nanos
	for b.Loop() {
		cost, _ := p.Cost(u)
		sum += cost
	}
}

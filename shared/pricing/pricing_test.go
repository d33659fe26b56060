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
		"a batch":             {"claude-opus-4-5", now, llm.Usage{Input: n(1000), Output: n(1000), Tier: "batch"}, "0.015", false},
		"anywhere":            {"claude-opus-4-5", now, llm.Usage{Output: n(1000), Region: "not_available"}, "0.025", false},
		"on the moon":         {"claude-opus-4-6", now, llm.Usage{Output: n(1000), Region: "moon"}, "0.025", true},
		"fast in the US":      {"claude-opus-5-5", now, llm.Usage{Output: n(1000), CacheRead: n(1000), Speed: "fast", Region: "us"}, "0.04444", false},
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
				if unheard := p.Bound(input, llm.NoCache, 500, Ask{Speed: "warp", Region: "moon"}); unheard < bound {
					t.Errorf("%s: $%s bounds a speed that is not known, below the $%s of %s", m.ID, unheard, bound, speed)
				}
			}
			if exact, most := p.Bound(input, llm.NoCache, 500, Ask{Region: "global"}), p.Bound(input, llm.NoCache, 500, Ask{}); exact > most {
				t.Errorf("%s: $%s bounds one region, $%s any", m.ID, exact, most)
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

const one = `{"models":[{"id":"m","name":"M","family":"f","context_window":1,"max_output":1,"source":"s","rates":[{"from":"2026-01-01","input":"1","output":"1","cache_read":"1","cache_write_5m":"1","cache_write_1h":"1"}]}]}`

// entry is one model's row of a price file with an input price of its own.
func entry(provider, id, input string) string {
	return `{"provider":"` + provider + `","id":"` + id + `","name":"M","family":"of ` + id + `","context_window":1,"max_output":1,"source":"s","rates":[{"from":"2026-01-01","input":"` +
		input + `","output":"1","cache_read":"1","cache_write_5m":"1","cache_write_1h":"1"}]}`
}

func TestPriceOrder(t *testing.T) {
	tab, err := Load(strings.NewReader(`{"models":[` + strings.Join([]string{
		entry("", "star-*", "1"), entry("", "star-2*", "2"), entry("", "star-2-big", "3"),
		entry("shop", "star-2-big", "4"), entry("shop", "star-*", "5"), entry("shop", "moon", "6"),
	}, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ provider, model, want string }{
		{"", "star-1", "1.00"}, {"", "star-2-small", "2.00"}, {"", "star-2-big", "3.00"}, {"", "star-2-big-20260101", "3.00"},
		{"other", "star-2-big", "3.00"}, {"shop", "star-2-big", "4.00"}, {"shop", "star-2-big-latest", "4.00"},
		{"shop", "star-1", "5.00"}, {"shop", "star-2-small", "5.00"}, {"shop", "moon", "6.00"}, {"other", "moon", ""}, {"", "sun", ""},
	} {
		got := ""
		if p, ok := tab.Price(c.provider, c.model, now); ok {
			cost, _ := p.Cost(llm.Usage{Input: n(million)})
			got = cost.String()
		}
		if got != c.want {
			t.Errorf("%s at %q costs %q, want %q", c.model, c.provider, got, c.want)
		}
	}
	var listed []string
	for _, m := range tab.Models("shop") {
		listed = append(listed, m.ID)
	}
	if got := strings.Join(listed, " "); got != "moon star-2-big star-2-big" {
		t.Errorf("listed %q", got)
	}
	if got := tab.Family("star-1"); got != "of star-*" {
		t.Errorf("family %q", got)
	}
}

func TestNoSumOverflows(t *testing.T) {
	dearest := strings.ReplaceAll(one, `"1"`, `"1000"`)
	dearest = strings.Replace(dearest, `{"models"`, `{"tiers":{"t":"20"},"regions":{"r":"20"},"models"`, 1)
	dearest = strings.Replace(dearest, `"name":"M"`, `"name":"M","speeds":{"s":"20"},"units":{"u":"1000"}`, 1)
	tab, err := Load(strings.NewReader(dearest))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := tab.Price("", "m", now)
	cost, unpriced := p.Cost(llm.Usage{Input: n(1), Units: map[llm.Unit]int64{"u": 1}, Tier: "t", Speed: "s", Region: "r"})
	if cost.String() != "1008.00" || unpriced {
		t.Errorf("$%s, unpriced %v", cost, unpriced)
	}
}

func TestLoadRefuses(t *testing.T) {
	if _, err := Load(strings.NewReader(one)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]string{
		"unknown field":  {`"name":"M"`, `"title":"M"`},
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
		"dear":           {`"input":"1"`, `"input":"1000.01"`},
		"dear unit":      {`"name":"M"`, `"name":"M","units":{"u":"1001"}`},
		"bad unit":       {`"name":"M"`, `"name":"M","units":{"u":"-1"}`},
		"large factor":   {`"name":"M"`, `"name":"M","speeds":{"fast":"20.1"}`},
		"bad tier":       {`{"models"`, `{"tiers":{"t":"0"},"models"`},
		"bad pattern":    {`"id":"m"`, `"id":"m[*"`},
		"same date":      {`"rates":[`, `"rates":[{"from":"2026-01-01","input":"1","output":"1","cache_read":"1","cache_write_5m":"1","cache_write_1h":"1"},`},
		"two files":      {`]}]}`, `]}]} {}`},
		"bad long":       {`"cache_write_1h":"1"`, `"cache_write_1h":"1","long":{"over":0}`},
		"long unpriced":  {`"cache_write_1h":"1"`, `"cache_write_1h":"1","long":{"over":5}`},
	} {
		bad := strings.Replace(one, c[0], c[1], 1)
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

func BenchmarkPrice(b *testing.B) {
	tab := table(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := tab.Price("anthropic", "claude-opus-4-5-20251101", now); !ok {
			b.Fatal("no price")
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(one)
	f.Add(`{"tiers":{"batch":"0.5"},"models":[` + entry("p", "m*", "0.1") + `]}`)
	f.Fuzz(func(t *testing.T, text string) {
		tab, err := Load(strings.NewReader(text))
		if err != nil {
			if fault.CodeOf(err) != fault.Invalid {
				t.Errorf("%v", err)
			}
			return
		}
		for _, m := range tab.Models("") {
			p, ok := tab.Price("", m.ID, now)
			if !ok {
				continue // of one provider, or not yet sold
			}
			if cost, _ := p.Cost(llm.Usage{Input: n(1000), Output: n(10)}); cost < 0 || cost > p.Bound(1000, llm.Cache1h, 10, Ask{}) {
				t.Errorf("%s: $%s", m.ID, cost)
			}
		}
	})
}

package llm

import (
	"cmp"
	"maps"
)

// Unit is something a vendor bills beside tokens.
type Unit string

// The units.
const (
	WebSearches Unit = "web_searches" // requests of the server-side search tool
	WebFetches  Unit = "web_fetches"  // requests of the server-side fetch tool
)

// Usage is what a vendor says a call used. Figures are cumulative and in tokens;
// nil means the vendor did not say, which is not zero. Input excludes what was
// read from or written to a cache; Reasoning is part of Output.
type Usage struct {
	Input        *int64         `json:"input,omitempty"`
	Output       *int64         `json:"output,omitempty"`
	CacheRead    *int64         `json:"cache_read,omitempty"`
	CacheWrite5m *int64         `json:"cache_write_5m,omitempty"`
	CacheWrite1h *int64         `json:"cache_write_1h,omitempty"`
	Reasoning    *int64         `json:"reasoning,omitempty"`
	Units        map[Unit]int64 `json:"units,omitempty"`
	Tier         string         `json:"tier,omitempty"`   // service tier as reported
	Speed        string         `json:"speed,omitempty"`  // speed as reported
	Region       string         `json:"region,omitempty"` // inference region as reported
}

// Merge takes over what o knows. Figures replace, they never add: every vendor
// repeats cumulative figures through a stream.
func (u *Usage) Merge(o *Usage) {
	if o == nil {
		return
	}
	replace(&u.Input, o.Input)
	replace(&u.Output, o.Output)
	replace(&u.CacheRead, o.CacheRead)
	replace(&u.CacheWrite5m, o.CacheWrite5m)
	replace(&u.CacheWrite1h, o.CacheWrite1h)
	replace(&u.Reasoning, o.Reasoning)
	if len(o.Units) > 0 {
		if u.Units == nil {
			u.Units = make(map[Unit]int64, len(o.Units))
		}
		maps.Copy(u.Units, o.Units)
	}
	u.Tier = cmp.Or(o.Tier, u.Tier)
	u.Speed = cmp.Or(o.Speed, u.Speed)
	u.Region = cmp.Or(o.Region, u.Region)
}

func replace(old **int64, now *int64) {
	if now != nil {
		v := *now
		*old = &v
	}
}

// Count is the figure behind p, or zero when it is unknown.
func Count(p *int64) int64 {
	if p == nil {
		return 0
	}
	return *p
}

// InputTotal is every token that went in, cached or not.
func (u *Usage) InputTotal() int64 {
	return Count(u.Input) + Count(u.CacheRead) + Count(u.CacheWrite5m) + Count(u.CacheWrite1h)
}

// Reading is what the meter has seen of an answer so far.
type Reading struct {
	Usage     Usage `json:"usage"`
	Generated int64 `json:"generated"` // bytes of generated content seen
	Complete  bool  `json:"complete"`  // the terminal event was seen
}

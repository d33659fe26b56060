// Package pricing knows what models cost: a table of prices with the dates from
// which they hold, and exact costs in nano-dollars.
//
// Prices are data (prices.json), each with the source it was read from. A cost is
// summed in 128 bits and rounded once. What has no price is said so: a cost that
// lacks something is marked, never guessed.
package pricing

import (
	"cmp"
	"math/big"
	"path"
	"slices"
	"strings"
	"time"

	"sluice/shared/llm"
	"sluice/shared/money"
)

// Rates are prices of tokens, in nano-dollars per million.
type Rates struct {
	Input        money.Nanos
	Output       money.Nanos
	CacheRead    money.Nanos
	CacheWrite5m money.Nanos
	CacheWrite1h money.Nanos
}

// Price is what a model costs at one moment.
type Price struct {
	Family        string // "opus", "sonnet", …: models that share a vendor's limits
	ContextWindow int64  // tokens of input and output together
	MaxOutput     int64  // tokens

	rates   Rates
	over    int64 // input tokens above which the whole call costs long rates; 0 = never
	long    Rates
	units   map[llm.Unit]money.Nanos // each
	tiers   map[string]int64         // thousandths of the rates, by service tier as reported
	speeds  map[string]int64         // by speed as reported
	regions map[string]int64         // by region as reported
}

// ModelInfo is a model as listed for clients.
type ModelInfo struct {
	ID          string
	DisplayName string
	CreatedAt   time.Time // the epoch when it is not known
}

const (
	million = 1_000_000
	plain   = 1000 // thousandths: the rates as they are
	// Three factors times the largest rate fit in 64 bits.
	maxFactor = 20
	maxRate   = 1000 * money.Dollar

	standard = "standard" // what vendors call the usual tier and speed
)

// Cost is what a call cost. unpriced says that it used something that has no
// price here; the cost lacks that.
func (p Price) Cost(u llm.Usage) (cost money.Nanos, unpriced bool) {
	r := p.at(u.InputTotal())
	factor, known := p.factor(u.Tier, u.Speed, u.Region)
	unpriced = !known
	var s money.Sum
	s.Add(llm.Count(u.Input), scale(r.Input, factor))
	s.Add(llm.Count(u.Output), scale(r.Output, factor))
	s.Add(llm.Count(u.CacheRead), scale(r.CacheRead, factor))
	s.Add(llm.Count(u.CacheWrite5m), scale(r.CacheWrite5m, factor))
	s.Add(llm.Count(u.CacheWrite1h), scale(r.CacheWrite1h, factor))
	for unit, n := range u.Units {
		each, priced := p.units[unit]
		if n > 0 && !priced && unit != llm.WebFetches { // fetches cost their tokens only
			unpriced = true
		}
		s.Add(n, each*million)
	}
	return s.Nanos(), unpriced
}

// Ask is what a request asks for beyond plain tokens.
type Ask struct {
	Speed  string // "" = the usual
	Region string // "" = any
}

// Bound is the most that a call can cost with so much input in tokens, all of it
// of the dearest class that the request can trigger, and so much output, at the
// dearest service tier. Units are not in it: requests do not bound them.
func (p *Price) Bound(input int64, cache llm.CacheClass, output int64, ask Ask) money.Nanos {
	r := p.at(input)
	dearest := max(r.Input, r.CacheRead)
	if cache >= llm.Cache5m {
		dearest = max(dearest, r.CacheWrite5m)
	}
	if cache >= llm.Cache1h {
		dearest = max(dearest, r.CacheWrite1h)
	}
	speed, known := of(p.speeds, ask.Speed)
	if !known {
		speed = largest(p.speeds)
	}
	// The region that was asked for is known; an account's default, or a region
	// that the vendor will refuse, may be the dearest.
	region, known := of(p.regions, ask.Region)
	if !known || ask.Region == "" {
		region = largest(p.regions)
	}
	factor := combine(combine(largest(p.tiers), speed), region)
	var s money.Sum
	s.Add(input, scale(dearest, factor))
	s.Add(output, scale(r.Output, factor))
	return s.Nanos()
}

func (p *Price) at(input int64) Rates {
	if p.over > 0 && input > p.over {
		return p.long
	}
	return p.rates
}

// factor multiplies the rates, in thousandths; known is false when a tier, speed
// or region has no price, which then counts as the usual one.
func (p *Price) factor(tier, speed, region string) (factor int64, known bool) {
	t, knownTier := of(p.tiers, tier)
	s, knownSpeed := of(p.speeds, speed)
	r, knownRegion := of(p.regions, region)
	return combine(combine(t, s), r), knownTier && knownSpeed && knownRegion
}

// of is a factor by its name as reported; the usual one when there is no name.
func of(factors map[string]int64, name string) (factor int64, known bool) {
	if name == "" || name == standard {
		return plain, true
	}
	if f, ok := factors[name]; ok {
		return f, true
	}
	return plain, false
}

// combine multiplies factors, rounding up.
func combine(a, b int64) int64 { return (a*b + plain - 1) / plain }

// largest is the largest of some factors, and not below 1.
func largest(factors map[string]int64) int64 {
	most := int64(plain)
	for _, f := range factors {
		most = max(most, f)
	}
	return most
}

// scale multiplies a rate by thousandths, rounding up.
func scale(rate money.Nanos, factor int64) money.Nanos {
	if factor == plain {
		return rate
	}
	return money.Nanos((int64(rate)*factor + plain - 1) / plain)
}

// Table is prices by model. It never changes.
type Table struct {
	models   []model
	byName   map[name]*model
	patterns []pattern // longest first
}

// name is a model's name at a provider, "" = any.
type name struct{ provider, model string }

// pattern stands for many names, in the syntax of path.Match.
type pattern struct {
	name
	is *model
}

type model struct {
	provider string // "" = any
	id       string
	name     string
	family   string
	released time.Time
	price    Price // without rates
	dated    []dated
}

// dated are the rates from a moment on.
type dated struct {
	from  time.Time
	rates Rates
	over  int64
	long  Rates
}

// Price is the price of a vendor's model at a moment; false when there is none. A
// name is looked for as it is, then without the date of a snapshot
// ("claude-opus-4-5-20251101") and the like, then among the patterns, the longest
// first; each time what the provider has of its own goes before what any has.
func (t *Table) Price(provider, model string, at time.Time) (Price, bool) {
	m := t.find(provider, model)
	if m == nil {
		return Price{}, false
	}
	i, exact := slices.BinarySearchFunc(m.dated, at, func(d dated, at time.Time) int { return d.from.Compare(at) })
	if !exact {
		i--
	}
	if i < 0 {
		return Price{}, false
	}
	p := m.price
	p.rates, p.over, p.long = m.dated[i].rates, m.dated[i].over, m.dated[i].long
	return p, true
}

// Family is the family of a model that any provider may have; the name itself when
// it is not known.
func (t *Table) Family(model string) string {
	if m := t.find("", model); m != nil {
		return m.family
	}
	return model
}

// Models lists the models of a provider, "" = all, by id. Patterns are no models.
func (t *Table) Models(provider string) []ModelInfo {
	var list []ModelInfo
	for i := range t.models {
		m := &t.models[i]
		if isPattern(m.id) {
			continue
		}
		if provider == "" || m.provider == "" || m.provider == provider {
			list = append(list, ModelInfo{ID: m.id, DisplayName: m.name, CreatedAt: m.released})
		}
	}
	slices.SortFunc(list, func(a, b ModelInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// find is the entry of a model, nil when there is none.
func (t *Table) find(provider, wanted string) *model {
	for _, n := range [2]string{wanted, bare(wanted)} {
		for _, p := range [2]string{provider, ""} {
			if m, ok := t.byName[name{p, n}]; ok {
				return m
			}
		}
	}
	for _, p := range [2]string{provider, ""} {
		for i := range t.patterns {
			if t.patterns[i].provider == p && matches(t.patterns[i].model, wanted) {
				return t.patterns[i].is
			}
		}
	}
	return nil
}

func isPattern(s string) bool { return strings.ContainsAny(s, `*?[`) }

// matches tolerates no error: patterns are checked when the table is loaded.
func matches(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}

// bare is a model's name without what does not change its price: the mark of a
// long context, and the date of a snapshot.
func bare(model string) string {
	model = strings.TrimSuffix(model, "[1m]")
	model = strings.TrimSuffix(model, "-latest")
	const date = len("-20260131")
	if n := len(model) - date; n > 0 && model[n] == '-' && strings.Trim(model[n+1:], "0123456789") == "" {
		return model[:n]
	}
	return model
}

// thousandths reads a decimal factor such as "1.1", at most maxFactor.
func thousandths(text string) (int64, bool) {
	r, ok := new(big.Rat).SetString(text)
	if !ok || strings.ContainsAny(text, "eE/") {
		return 0, false
	}
	r.Mul(r, big.NewRat(plain, 1))
	if !r.IsInt() || r.Sign() <= 0 || !r.Num().IsInt64() || r.Num().Int64() > maxFactor*plain {
		return 0, false
	}
	return r.Num().Int64(), true
}

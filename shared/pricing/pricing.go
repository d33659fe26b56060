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
	speeds  map[string]int64         // thousandths of the rates, by speed as reported
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
	plain   = 1000 // thousandths
)

// Cost is what a call cost. unpriced says that it used something that has no
// price here; the cost lacks that.
func (p Price) Cost(u llm.Usage) (cost money.Nanos, unpriced bool) {
	r := p.at(u.InputTotal())
	factor, known := p.factor(u.Speed, u.Region)
	unpriced = !known || u.Tier != "" && u.Tier != "standard"
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

// Bound is the most that a call can cost with so much input, all of it of the
// dearest class that the request can trigger, and so much output.
func (p *Price) Bound(input int64, cache llm.CacheClass, output int64, ask Ask) money.Nanos {
	r := p.at(input)
	dearest := max(r.Input, r.CacheRead)
	if cache >= llm.Cache5m {
		dearest = max(dearest, r.CacheWrite5m)
	}
	if cache >= llm.Cache1h {
		dearest = max(dearest, r.CacheWrite1h)
	}
	factor, known := p.factor(ask.Speed, ask.Region)
	if !known {
		factor = largest(p.speeds)
	}
	if ask.Region == "" { // an account's default may confine it to a dearer region
		factor = factor * largest(p.regions) / plain
	}
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

// factor multiplies the rates, in thousandths; known is false for a speed that
// has no price.
func (p *Price) factor(speed, region string) (factor int64, known bool) {
	factor = plain
	if speed != "" && speed != "standard" && speed != "normal" {
		f, ok := p.speeds[speed]
		if !ok {
			return plain, false
		}
		factor = f
	}
	if f, ok := p.regions[strings.ToLower(region)]; ok {
		factor = factor * f / plain
	}
	return factor, true
}

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
	models  []model
	byName  map[string]*model // ids and aliases
	regions map[string]int64
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

// Price is the price of a vendor's model at a moment; false when there is none.
// Snapshots ("claude-opus-4-5-20251101") and the like have the price of their model.
func (t *Table) Price(provider, name string, at time.Time) (Price, bool) {
	m := t.find(provider, name)
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

// Family is the family of a model; the name itself when it is not known.
func (t *Table) Family(name string) string {
	if m := t.find("", name); m != nil {
		return m.family
	}
	return name
}

// Models lists the models of a provider, "" = all, by id.
func (t *Table) Models(provider string) []ModelInfo {
	var list []ModelInfo
	for i := range t.models {
		m := &t.models[i]
		if provider == "" || m.provider == "" || m.provider == provider {
			list = append(list, ModelInfo{ID: m.id, DisplayName: m.name, CreatedAt: m.released})
		}
	}
	slices.SortFunc(list, func(a, b ModelInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// find looks for the provider's own entry first, then for one of any provider.
func (t *Table) find(provider, name string) *model {
	for _, n := range []string{name, bare(name)} {
		for _, p := range []string{provider, ""} {
			if m, ok := t.byName[p+"/"+n]; ok {
				return m
			}
		}
	}
	return nil
}

// bare is a model's name without what does not change its price: the mark of a
// long context, and the date of a snapshot.
func bare(name string) string {
	name = strings.TrimSuffix(name, "[1m]")
	name = strings.TrimSuffix(name, "-latest")
	const date = len("-20260131")
	if n := len(name) - date; n > 0 && name[n] == '-' && strings.Trim(name[n+1:], "0123456789") == "" {
		return name[:n]
	}
	return name
}

// thousandths reads a decimal factor such as "1.1".
func thousandths(text string) (int64, bool) {
	r, ok := new(big.Rat).SetString(text)
	if !ok || strings.ContainsAny(text, "eE/") {
		return 0, false
	}
	r.Mul(r, big.NewRat(plain, 1))
	if !r.IsInt() || r.Sign() <= 0 || !r.Num().IsInt64() || r.Num().Int64() > 100*plain {
		return 0, false
	}
	return r.Num().Int64(), true
}

package cost

import (
	"cmp"
	"fmt"
	"slices"

	"sluice/shared/money"
)

// estimator collects the lines of one deployment.
type estimator struct {
	set     *templates
	prices  map[string]Price
	fleet   fleet
	items   []*Item
	lines   map[itemKey]*Item // of items: equal resources at one price are one line
	remarks []string
}

type itemKey struct{ resource, price string }

func newEstimator(prices []Price, set *templates) *estimator {
	e := &estimator{set: set, prices: map[string]Price{}, lines: map[itemKey]*Item{}}
	for _, p := range prices {
		e.prices[p.Key] = p
	}
	return e
}

// run prices every resource, and then what the requests themselves cause.
func (e *estimator) run() error {
	known := kinds()
	for _, r := range e.set.resources {
		if _, ok := known[r.kind]; !ok && !isCustom(r.kind) {
			return fmt.Errorf("%s has no price: list its type in infra/cost/kinds.go, priced or free of charge", r)
		}
	}
	var err error
	if e.fleet, err = e.readFleet(); err != nil {
		return err
	}
	for _, r := range e.set.resources {
		if price := known[r.kind]; price != nil {
			if err := price(e, r); err != nil {
				return err
			}
		}
	}
	return e.traffic()
}

// add adds to a line. The price is named by its key.
func (e *estimator) add(resource, price string, q [3]Quantity) error {
	p, ok := e.prices[price]
	if !ok {
		return fmt.Errorf("%s has no price: add %q to infra/cost/prices.json, with its source", resource, price)
	}
	key := itemKey{resource, price}
	it := e.lines[key]
	if it == nil {
		it = &Item{Resource: resource, Price: p}
		e.lines[key], e.items = it, append(e.items, it)
	}
	for i := range q {
		it.Quantity[i] += q[i]
		it.Cost[i] = p.of(it.Quantity[i])
	}
	return nil
}

// of is the price of a quantity. Sum counts prices per million, which a
// quantity in millionths cancels.
func (p Price) of(q Quantity) money.Nanos {
	var s money.Sum
	s.Add(int64(q), p.USD)
	return s.Nanos()
}

// flat is a quantity that no load changes.
func flat(q Quantity) [3]Quantity { return [3]Quantity{q, q, q} }

// hourly is what runs the whole month.
func hourly(count int64) [3]Quantity { return flat(Quantity(count) * hoursPerMonth * one) }

// each computes a quantity for each load.
func each(q func(i int, l Load) int64) (all [3]Quantity) {
	for i, l := range Loads() {
		all[i] = Quantity(q(i, l))
	}
	return all
}

// perRequest is a quantity that grows with the requests alone.
func perRequest(q int64) [3]Quantity {
	return each(func(_ int, l Load) int64 { return l.Requests * q })
}

func (e *estimator) remark(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(e.remarks, text) {
		e.remarks = append(e.remarks, text)
	}
}

// estimate sums the lines and orders them.
func (e *estimator) estimate(d Deployment) *Estimate {
	out := &Estimate{Deployment: d, Remarks: e.remarks}
	for _, it := range e.items {
		if it.Quantity == ([3]Quantity{}) {
			continue // it is there, and no load uses it
		}
		out.Items = append(out.Items, *it)
		for i, c := range it.Cost {
			out.Total[i] += c
		}
	}
	slices.SortFunc(out.Items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(b.Cost[0], a.Cost[0]), cmp.Compare(b.Cost[2], a.Cost[2]),
			cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Price.Key, b.Price.Key))
	})
	for _, g := range Goals() {
		if g.Deployment == d.Name {
			out.Goal = &g
		}
	}
	if !out.Met() {
		out.Remarks = append(out.Remarks, fmt.Sprintf("It misses its goal of $%s by $%s.", cents(out.Goal.Most), cents(out.Total[0]-out.Goal.Most)))
	}
	return out
}

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/pricing"
	"sluice/shared/simulator"
	"sluice/shared/usage"
)

// provider is what the accounts of a run are of.
const provider = "compatible"

// longestToken is more bytes than a token of the vendor's has on average.
const longestToken = 8

// judge holds evidence against the invariants.
type judge struct {
	evidence
	prices *pricing.Table
	final  map[string][]usage.Record // the last row of each call, by key
	found  []violation
}

// verify is every violation of the invariants. It is empty only at rest: while calls
// run, money is held.
func verify(e evidence, prices *pricing.Table) []violation {
	j := &judge{evidence: e, prices: prices, final: make(map[string][]usage.Record)}
	j.fold()
	for i := range j.Calls {
		j.call(&j.Calls[i])
	}
	j.money()
	j.rest()
	j.strangers()
	for _, text := range j.Faults {
		j.blame(expected, "%s", text)
	}
	return j.found
}

func (j *judge) blame(what invariant, format string, args ...any) {
	j.found = append(j.found, violation{what, fmt.Sprintf(format, args...)})
}

// fold reduces the rows to the last of each call: a row that corrects takes the
// place of the one before, and only of that.
func (j *judge) fold() {
	rows := make(map[string][]usage.Record)
	for _, r := range j.Books.Rows {
		rows[r.Call] = append(rows[r.Call], r)
	}
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		all := rows[id]
		for i := range all {
			switch {
			case i > 0 && all[i].Corrects == nil:
				j.blame(double, "call %s was settled %d times", id, len(all))
			case i == 0 && all[i].Corrects != nil:
				j.blame(double, "call %s has a correction of a row that is not there", id)
			case i > 0 && all[i].Corrects.Cost != all[i-1].Cost:
				j.blame(double, "call %s: $%s is corrected, $%s was written", id, all[i].Corrects.Cost, all[i-1].Cost)
			}
		}
		last := all[len(all)-1]
		j.final[last.Key] = append(j.final[last.Key], last)
	}
}

// call holds the rows of one call against what the vendor and the client know.
func (j *judge) call(c *call) {
	if c.Saw == broke && !c.Killed {
		j.blame(answers, "%s saw neither an answer nor an error: %s", c.describe(), c.Detail)
	}
	rows, charges := j.final[c.Key], j.Bill[c.ID]
	worked := len(slices.DeleteFunc(slices.Clone(j.Arrivals[c.ID]), arrival.refused))
	if worked == 0 || c.Kind == count {
		j.free(c, rows)
		return
	}
	if len(rows) != worked {
		j.blame(billed, "%s: %d rows of %d attempts that the vendor worked on; its answers: %v", c.describe(), len(rows), worked, j.Arrivals[c.ID])
		return
	}
	finished := slices.IndexFunc(charges, func(b simulator.Charge) bool { return b.Finished })
	for i := range rows {
		r := &rows[i]
		switch {
		case finished >= 0 && !r.Estimated:
			j.equal(c, r, &charges[finished])
		case finished >= 0 && worked == 1 && !c.Killed:
			j.blame(billed, "%s: the vendor finished it, its row is an estimate (%s %s)", c.describe(), r.Outcome, r.Code)
		default:
			j.between(c, r)
		}
	}
}

func (c *call) describe() string {
	return fmt.Sprintf("%s %s (%s; process %d, saw %s %d %s)", c.Kind, c.ID, c.Script, c.Process, c.Saw, c.Status, c.Detail)
}

// free is what must be of a call that the vendor did not work on.
func (j *judge) free(c *call, rows []usage.Record) {
	if len(rows) > 1 {
		j.blame(double, "%s: %d rows", c.describe(), len(rows))
	}
	for i := range rows {
		if r := &rows[i]; r.Cost != 0 || r.Tokens() != 0 || r.Estimated {
			j.blame(unsent, "%s: the vendor did not work on it, it costs $%s (%s %s)", c.describe(), r.Cost, r.Outcome, r.Code)
		}
	}
}

// equal is what must be of a call that the vendor finished.
func (j *judge) equal(c *call, r *usage.Record, b *simulator.Charge) {
	for name, figures := range map[string][2]*int64{
		"input": {r.Usage.Input, b.Usage.Input}, "output": {r.Usage.Output, b.Usage.Output},
		"cache read":     {r.Usage.CacheRead, b.Usage.CacheRead},
		"cache write 5m": {r.Usage.CacheWrite5m, b.Usage.CacheWrite5m}, "cache write 1h": {r.Usage.CacheWrite1h, b.Usage.CacheWrite1h},
	} {
		if row, bill := llm.Count(figures[0]), llm.Count(figures[1]); row != bill {
			j.blame(billed, "%s: %s is %d in the ledger, %d on the bill", c.describe(), name, row, bill)
		}
	}
	if cost := j.cost(c.Model, b.Usage); r.Cost != cost || r.Outcome != usage.Complete {
		j.blame(billed, "%s: $%s (%s) in the ledger, $%s on the bill", c.describe(), r.Cost, r.Outcome, cost)
	}
}

// between is what must be of a call that nobody knows the end of.
func (j *judge) between(c *call, r *usage.Record) {
	seen := c.Read.Usage
	output := max(llm.Count(seen.Output), c.Read.Generated/longestToken)
	seen.Output = &output
	least := j.cost(c.Model, seen)
	if !r.Estimated {
		j.blame(estimated, "%s: the vendor did not finish it, its row says so of nothing (%s %s $%s)", c.describe(), r.Outcome, r.Code, r.Cost)
	}
	if r.Cost < min(least, r.Held) || r.Cost > r.Held || r.Cost == 0 {
		j.blame(estimated, "%s: $%s is not between the $%s that was seen and the $%s that was held", c.describe(), r.Cost, least, r.Held)
	}
}

func (j *judge) cost(model string, u llm.Usage) money.Nanos {
	price, ok := j.prices.Price(provider, model, time.Now())
	if !ok {
		j.blame(billed, "%s has no price", model)
		return 0
	}
	cost, unpriced := price.Cost(u)
	if unpriced {
		j.blame(billed, "%s: a part of %+v has no price", model, u)
	}
	return cost
}

// money holds balances and budgets against the rows.
func (j *judge) money() {
	spent, corrected := make(map[string]money.Nanos), make(map[string]money.Nanos)
	for i := range j.Books.Rows {
		r := &j.Books.Rows[i]
		cost := r.Cost
		if r.Corrects != nil {
			cost -= r.Corrects.Cost
			corrected[r.Team] += max(cost, 0)
		} else if r.Cost > r.Held {
			j.blame(overrun, "row of %s costs $%s, $%s was held", r.Call, r.Cost, r.Held)
		}
		spent[r.Key] += cost
		spent[r.Team] += cost
	}
	for _, owner := range slices.Sorted(maps.Keys(j.Books.Balances)) {
		if b := j.Books.Balances[owner]; b.Total != spent[owner] {
			j.blame(sums, "%s: the balance is $%s, its rows sum up to $%s", owner, b.Total, spent[owner])
		}
	}
	for _, owner := range slices.Sorted(maps.Keys(j.Budgets)) {
		if b := j.Books.Balances[owner]; b.Total > j.Budgets[owner]+corrected[owner] {
			j.blame(overrun, "%s: $%s spent of $%s, $%s of it by corrections", owner, b.Total, j.Budgets[owner], corrected[owner])
		}
	}
	for _, text := range j.Overruns {
		j.blame(overrun, "%s", text)
	}
	if j.Rollups != nil {
		for _, text := range j.Rollups(j.Books.Rows) {
			j.blame(sums, "%s", text)
		}
	}
}

// rest is what must be when no call runs.
func (j *judge) rest() {
	holds := make(map[string]money.Nanos)
	for _, o := range j.Books.Open {
		j.blame(held, "call %s of %s is still open, with $%s held", o.Call, o.Key, o.Hold)
		for _, owner := range o.Owners {
			holds[owner] += o.Hold
		}
	}
	for _, owner := range slices.Sorted(maps.Keys(j.Books.Balances)) {
		b := j.Books.Balances[owner]
		if b.Held != holds[owner] {
			j.blame(held, "%s: $%s is held, the holds of open calls sum up to $%s", owner, b.Held, holds[owner])
		}
		if b.Open != 0 || b.Held != 0 {
			j.blame(held, "%s: %d calls open and $%s held at rest", owner, b.Open, b.Held)
		}
	}
	for _, id := range j.Books.Due {
		j.blame(held, "call %s is still listed as due", id)
	}
	for _, id := range j.Books.Leases {
		j.blame(leases, "call %s still has its place at an account", id)
	}
}

// strangers are rows and charges that no call accounts for.
func (j *judge) strangers() {
	keys, ids := make(map[string]bool), make(map[string]bool)
	for i := range j.Calls {
		keys[j.Calls[i].Key], ids[j.Calls[i].ID] = true, true
	}
	for _, key := range slices.Sorted(maps.Keys(j.final)) {
		if !keys[key] {
			j.blame(unsent, "key %s has %d rows and made no call", key, len(j.final[key]))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(j.Bill)) {
		if !ids[id] {
			j.blame(billed, "the vendor billed %s, which nobody sent", id)
		}
	}
}

package chaos

import (
	"slices"
	"testing"
	"time"

	"sluice/shared/admission"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/pricing"
	"sluice/shared/simulator"
	"sluice/shared/usage"
)

const testModel = "claude-haiku-4-5"

func n(v int64) *int64 { return &v }

// sound is evidence of four calls without a fault: one that finished, one that was
// cut, one that the vendor refused and one that was refused before. It returns what
// the first costs.
func sound(t *testing.T) (evidence, money.Nanos) {
	t.Helper()
	prices, err := pricing.Default()
	if err != nil {
		t.Fatal(err)
	}
	price, ok := prices.Price(provider, testModel, time.Now())
	if !ok {
		t.Fatal("no price")
	}
	full, part := llm.Usage{Input: n(100), Output: n(50)}, llm.Usage{Input: n(100), Output: n(20)}
	cost, _ := price.Cost(full)
	cut, _ := price.Cost(part)
	row := func(id string, o usage.Outcome, u llm.Usage, c money.Nanos) usage.Record {
		return usage.Record{
			Call: "req_" + id, Key: "key_" + id, Team: "team", Model: testModel, Outcome: o, Usage: u, Cost: c,
			Held: money.Dollar / 100, Estimated: o != usage.Complete && c > 0,
		}
	}
	one := func(id string, k kind, s saw) call {
		return call{ID: id, Key: "key_" + id, Owner: "team", Kind: k, Model: testModel, Saw: s}
	}
	e := evidence{
		Calls: []call{one("a", stream, whole), one("b", leaver, left), one("c", plain, typed), one("d", plain, typed)},
		Arrivals: map[string][]arrival{
			"a": {{Status: 429}, {Status: 200}}, "b": {{Status: 200}}, "c": {{Status: 429}},
		},
		Bill: map[string][]simulator.Charge{"a": {{Usage: full, Finished: true}}, "b": {{Usage: full}}},
		Books: books{
			Rows: []usage.Record{
				row("a", usage.Complete, full, cost), row("b", usage.Aborted, part, cut), row("c", usage.Failed, llm.Usage{}, 0),
			},
			Balances: map[string]admission.Balance{
				"team": {Total: cost + cut}, "key_a": {Total: cost}, "key_b": {Total: cut}, "key_c": {},
			},
		},
		Budgets: map[string]money.Nanos{"team": money.Dollar},
	}
	e.Calls[1].Read = llm.Reading{Usage: llm.Usage{Input: n(100), Output: n(1)}, Generated: 80}
	return e, cost
}

// correct adds a row that corrects the last one of a call, and the balances with it.
func correct(e *evidence, i int, cost money.Nanos) {
	was := e.Books.Rows[i]
	now := was
	now.Corrects, now.Cost = &was, cost
	e.Books.Rows = append(e.Books.Rows, now)
	for _, owner := range []string{was.Key, was.Team} {
		b := e.Books.Balances[owner]
		b.Total += cost - was.Cost
		e.Books.Balances[owner] = b
	}
}

// TestVerifySound accepts what is as it should be.
func TestVerifySound(t *testing.T) {
	prices, err := pricing.Default()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*evidence){
		"sound":                        func(*evidence) {},
		"a killed process knew no end": killed,
		"an estimate was corrected":    func(e *evidence) { correct(e, 1, e.Books.Rows[1].Cost*2) },
		"a correction over the budget": func(e *evidence) {
			e.Budgets["team"] = e.Books.Balances["team"].Total
			correct(e, 1, e.Books.Rows[1].Held)
		},
		"a client of a killed process": func(e *evidence) { e.Calls[3].Saw, e.Calls[3].Killed = broke, true },
		"the vendor reset, and the next account finished": func(e *evidence) {
			e.Arrivals["a"] = []arrival{{}, {Status: 200}}
			r := e.Books.Rows[1]
			r.Call, r.Key = "req_a2", "key_a"
			add(e, r)
		},
	} {
		e, _ := sound(t)
		change(&e)
		for _, v := range verify(e, prices) {
			t.Errorf("%s: %s: %s", name, v.invariant, v.Detail)
		}
	}
}

// killed makes the row of the finished call that of a process that died.
func killed(e *evidence) {
	e.Calls[0].Killed, e.Calls[0].Saw = true, broke
	r := &e.Books.Rows[0]
	r.Outcome, r.Estimated = usage.Lost, true
}

// add adds a row, and its cost to the balances.
func add(e *evidence, r usage.Record) {
	e.Books.Rows = append(e.Books.Rows, r)
	for _, owner := range []string{r.Key, r.Team} {
		b := e.Books.Balances[owner]
		b.Total += r.Cost
		e.Books.Balances[owner] = b
	}
}

// balance changes what is noted of an owner.
func balance(e *evidence, owner string, change func(*admission.Balance)) {
	b := e.Books.Balances[owner]
	change(&b)
	e.Books.Balances[owner] = b
}

// TestVerifyFindsEachFault breaks the ledger in one way at a time. Every invariant
// must be the one that notices.
func TestVerifyFindsEachFault(t *testing.T) {
	prices, err := pricing.Default()
	if err != nil {
		t.Fatal(err)
	}
	rows := func(e *evidence) []usage.Record { return e.Books.Rows }
	for name, c := range map[string]struct {
		want   invariant
		change func(*evidence)
	}{
		"a token too few":              {billed, func(e *evidence) { rows(e)[0].Usage.Output = n(49) }},
		"a cached token too many":      {billed, func(e *evidence) { rows(e)[0].Usage.CacheRead = n(1) }},
		"another cost":                 {billed, func(e *evidence) { correct(e, 0, rows(e)[0].Cost-1) }},
		"a finished call is estimated": {billed, func(e *evidence) { rows(e)[0].Estimated = true }},
		"a finished call has no row":   {billed, func(e *evidence) { e.Books.Rows = rows(e)[1:] }},
		"a cut call has no row":        {billed, func(e *evidence) { e.Books.Rows = append(rows(e)[:1:1], rows(e)[2]) }},
		"a killed call has no row":     {billed, func(e *evidence) { killed(e); e.Books.Rows = rows(e)[1:] }},
		"an attempt has no row":        {billed, func(e *evidence) { e.Arrivals["a"] = []arrival{{}, {Status: 200}} }},
		"nobody sent what was billed":  {billed, func(e *evidence) { e.Bill["x"] = []simulator.Charge{{}} }},

		"a cut call is no estimate":   {estimated, func(e *evidence) { rows(e)[1].Estimated = false }},
		"an estimate of too little":   {estimated, func(e *evidence) { correct(e, 1, rows(e)[1].Cost/2) }},
		"an estimate of nothing":      {estimated, func(e *evidence) { correct(e, 1, 0) }},
		"an estimate above the hold":  {estimated, func(e *evidence) { correct(e, 1, rows(e)[1].Held+1) }},
		"less than a dead one's seen": {estimated, func(e *evidence) { e.Calls[1].Killed = true; e.Calls[1].Read.Usage.Output = n(21) }},

		"a refused call costs":       {unsent, func(e *evidence) { correct(e, 2, 1) }},
		"a call never sent costs":    {unsent, func(e *evidence) { r := rows(e)[1]; r.Call, r.Key = "req_d", "key_d"; add(e, r) }},
		"an unsent call is estimate": {unsent, func(e *evidence) { rows(e)[2].Estimated = true }},
		"a count costs":              {unsent, func(e *evidence) { e.Calls[1].Kind = count }},
		"a row of nobody's":          {unsent, func(e *evidence) { r := rows(e)[1]; r.Call, r.Key = "req_x", "key_x"; add(e, r) }},

		"the budget is exceeded":  {overrun, func(e *evidence) { e.Budgets["team"] = e.Books.Balances["team"].Total - 1 }},
		"more than was held":      {overrun, func(e *evidence) { rows(e)[0].Held = rows(e)[0].Cost - 1 }},
		"it was seen meanwhile":   {overrun, func(e *evidence) { e.Overruns = []string{"seen"} }},
		"more than was corrected": {overrun, func(e *evidence) { e.Budgets["team"] = 1; correct(e, 1, rows(e)[1].Cost+1) }},

		"money is held":            {held, func(e *evidence) { balance(e, "team", func(b *admission.Balance) { b.Held = 1 }) }},
		"less than nothing":        {held, func(e *evidence) { balance(e, "key_a", func(b *admission.Balance) { b.Held = -1 }) }},
		"a call counts as open":    {held, func(e *evidence) { balance(e, "team", func(b *admission.Balance) { b.Open = 1 }) }},
		"a call is open":           {held, func(e *evidence) { e.Books.Open = []openCall{{Call: "req_a", Owners: []string{"team"}}} }},
		"a call is listed":         {held, func(e *evidence) { e.Books.Due = []string{"req_a"} }},
		"a place is taken":         {leases, func(e *evidence) { e.Books.Leases = []string{"req_a"} }},
		"settled twice":            {double, func(e *evidence) { add(e, rows(e)[1]) }},
		"correction of nothing":    {double, func(e *evidence) { rows(e)[1].Corrects = &usage.Record{} }},
		"correction of another":    {double, func(e *evidence) { correct(e, 1, 500_000); rows(e)[3].Corrects = &usage.Record{Cost: 1} }},
		"two rows of one refused":  {double, func(e *evidence) { r := rows(e)[2]; r.Call = "req_c2"; add(e, r) }},
		"the balance says more":    {sums, func(e *evidence) { balance(e, "team", func(b *admission.Balance) { b.Total++ }) }},
		"the key's says less":      {sums, func(e *evidence) { balance(e, "key_b", func(b *admission.Balance) { b.Total-- }) }},
		"the rollups differ":       {sums, func(e *evidence) { e.Rollups = func([]usage.Record) []string { return []string{"an hour"} } }},
		"an answer breaks off":     {answers, func(e *evidence) { e.Calls[0].Saw = broke }},
		"the episode has an issue": {expected, func(e *evidence) { e.Faults = []string{"no file"} }},
	} {
		e, _ := sound(t)
		c.change(&e)
		found := verify(e, prices)
		if !slices.ContainsFunc(found, func(v violation) bool { return v.invariant == c.want }) {
			t.Errorf("%s: %v, want a violation of %q", name, found, c.want)
		}
	}
}

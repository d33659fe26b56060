package relay

import (
	"context"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/pool"
	"sluice/shared/pricing"
)

// firstOutput is the output in tokens that the hold of a stream covers at first.
// Clients ask for far more than they use (Claude Code for 128,000).
const firstOutput = 4096

// quote is what a call may cost at most, at any account that may serve it.
type quote struct {
	bound    llm.Bound
	exact    int64 // input tokens as the vendor counted them; 0 = not asked
	limit    int64 // output tokens
	ask      pricing.Ask
	unpriced bool            // some account that may serve it has no price for the model
	prices   []pricing.Price // of each account that may serve it and has one
}

// admit holds money for the call.
func (rl *Relay) admit(x *exchange) (_ *admission.Grant, err error) {
	defer x.stage("admit").done(&err)
	x.want = wanted(x)
	if err = rl.appraise(x); err != nil {
		return nil, rl.verified(x, err)
	}
	ask := admission.Ask{
		Call: x.call.ID, Protocol: x.call.Protocol, Model: x.call.Model,
		Output: x.quote.limit, Limit: x.quote.limit,
		Unpriced: x.quote.unpriced, Fallbacks: x.call.Fallbacks,
		Hold: x.quote.hold, Progress: x.progress, Row: x.lost,
	}
	if x.call.Stream && x.key.Key.Hold != admission.HoldStrict {
		ask.Output = min(ask.Limit, firstOutput)
	}
	grant, err := rl.Gate.Admit(x.ctx, x.key, ask)
	if err == nil || !tooMuch(err) {
		return grant, err
	}
	if !rl.countExactly(x) {
		return nil, err
	}
	return rl.Gate.Admit(x.ctx, x.key, ask)
}

// wanted is what the call needs of an account.
func wanted(x *exchange) pool.Want {
	k := &x.key.Key
	return pool.Want{
		Call: x.call.ID, Model: x.call.Model, Protocol: x.call.Protocol, Key: k.ID, Session: x.call.Session,
		Account: k.Bind.Account, Group: k.Bind.Group,
	}
}

// tooMuch says whether a smaller hold might have been admitted.
func tooMuch(err error) bool {
	switch fault.CodeOf(err) {
	case fault.BudgetSpent, fault.BudgetHeld, fault.RateLimited:
		return true
	default:
		return false
	}
}

// verified answers a refusal that rests on the key's record only after the record
// was found to be current: a key that is gone is 401, whatever else is wrong.
func (rl *Relay) verified(x *exchange, err error) error {
	if stale := rl.Gate.Verify(x.ctx, x.key); stale != nil {
		return stale
	}
	return err
}

// appraise finds the prices of the call at every account that may serve it.
func (rl *Relay) appraise(x *exchange) error {
	candidates, err := rl.Router.Candidates(x.ctx, x.want)
	if err != nil {
		return err
	}
	q := quote{bound: x.call.Input, limit: x.call.MaxOutput, ask: pricing.Ask{Speed: x.call.Speed, Region: x.call.Region}}
	for _, c := range candidates {
		price, ok := rl.Prices.Price(c.Account.Provider, c.Upstream, x.started)
		if !ok {
			q.unpriced = true
			continue
		}
		q.prices = append(q.prices, price)
	}
	if q.limit == 0 {
		for _, p := range q.prices {
			q.limit = max(q.limit, p.MaxOutput)
		}
	}
	x.quote = q
	return nil
}

// hold is the dearest that the call can be with so much output, and the tokens
// that it can take.
func (q *quote) hold(output int64) (money.Nanos, int64) {
	var most money.Nanos
	for i := range q.prices {
		p := &q.prices[i]
		most = max(most, p.Bound(q.inputAt(p), q.bound.Cache, output, q.ask))
	}
	return most, q.inputTokens() + output
}

// inputTokens bounds the input at the account where it may be largest.
func (q *quote) inputTokens() int64 {
	if len(q.prices) == 0 {
		return q.bound.Text + q.bound.Media
	}
	var most int64
	for i := range q.prices {
		most = max(most, q.inputAt(&q.prices[i]))
	}
	return most
}

func (q *quote) inputAt(p *pricing.Price) int64 {
	switch {
	case q.exact > 0:
		return q.exact
	case q.bound.External:
		return p.ContextWindow
	default:
		return min(p.ContextWindow, q.bound.Text+q.bound.Media)
	}
}

// dearest is the price that makes the largest hold.
func (q *quote) dearest() (pricing.Price, bool) {
	var found pricing.Price
	var most money.Nanos
	for i := range q.prices {
		p := &q.prices[i]
		if amount := p.Bound(q.inputAt(p), q.bound.Cache, firstOutput, q.ask); amount >= most {
			found, most = *p, amount
		}
	}
	return found, len(q.prices) > 0
}

// countExactly asks an upstream for the exact input, which is free, when the
// bound is too coarse for what is left of a limit. It says whether that helped.
func (rl *Relay) countExactly(x *exchange) bool {
	if x.call.Input.External || len(x.quote.prices) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(x.ctx, exactPatience)
	defer cancel()
	tokens, err := rl.exactInput(ctx, x)
	if err != nil {
		x.log.InfoContext(ctx, "exact count not available", "error", err)
		return false
	}
	exact := tokens + tokens/50 + 16 // the vendor calls its count an estimate
	if exact >= x.quote.inputTokens() {
		return false
	}
	x.quote.exact = exact
	return true
}

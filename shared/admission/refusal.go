package admission

import (
	"fmt"
	"time"

	"sluice/shared/fault"
	"sluice/shared/money"
)

// retryHeld is when a call is worth repeating that others in flight keep out.
const retryHeld = 2 * time.Second

// refusal is a Refusal as the client is told: the limit, the figure, the reset.
func refusal(r Refusal, in *Intent, kinds []string, now time.Time) *fault.Error {
	share := &in.Plan.Shares[r.Share]
	whose := kinds[r.Share]
	switch r.Reason {
	case OverConcurrency:
		return fault.New(fault.Concurrency, "the %s may have %d calls at once and has %d in flight",
			whose, share.Concurrency, r.Used).After(time.Second)
	case OverRequests, OverTokens, OverCost:
		return overWindow(r, in, share.Windows[r.Item].window, whose, now)
	case BudgetIsHeld:
		c := &share.Counters[r.Item]
		return fault.New(fault.BudgetHeld, "the %s budget of the %s is $%s: $%s is spent and calls in flight hold $%s, which leaves too little for this call (up to $%s)",
			c.budget.label(), whose, c.budget.USD, money.Nanos(r.Used), money.Nanos(r.Held), in.Hold).After(retryHeld)
	default:
		return spent(money.Nanos(r.Used), &share.Counters[r.Item], in, whose, now)
	}
}

func spent(used money.Nanos, c *Counter, in *Intent, whose string, now time.Time) *fault.Error {
	reset := "it does not reset"
	if !c.ends.IsZero() {
		reset = "it resets at " + c.ends.Format(time.RFC3339)
	}
	e := fault.New(fault.BudgetSpent, "the %s budget of the %s is $%s and $%s of it is spent; %s",
		c.budget.label(), whose, c.budget.USD, used, reset)
	if left := remaining(c.budget.USD, used); left > 0 {
		e = fault.New(fault.BudgetSpent, "the %s budget of the %s is $%s and the remaining $%s does not cover this call (up to $%s); %s",
			c.budget.label(), whose, c.budget.USD, left, in.Hold, reset)
	}
	if !c.ends.IsZero() {
		e.RetryAfter = c.ends.Sub(now)
	}
	return e
}

func overWindow(r Refusal, in *Intent, w Window, whose string, now time.Time) *fault.Error {
	var figure string
	switch r.Reason {
	case OverRequests:
		figure = fmt.Sprintf("%d requests; %d were made", w.Requests, r.Used)
	case OverTokens:
		figure = fmt.Sprintf("%d tokens; %d were used, %d are in flight and this call may take %d", w.Tokens, r.Used, r.Held, in.Tokens)
	default:
		figure = fmt.Sprintf("$%s; $%s was spent, $%s is in flight and this call may cost $%s", w.USD, money.Nanos(r.Used), money.Nanos(r.Held), in.Hold)
	}
	e := fault.New(fault.RateLimited, "the limit of the %s in any %d minutes is %s", whose, w.Minutes, figure)
	if wait := time.UnixMilli(r.Until).Sub(now); r.Until > 0 && wait > 0 {
		return e.After(max(wait, time.Second))
	}
	return e.After(retryHeld)
}

// label names the budget in a sentence.
func (b Budget) label() string {
	switch b.Per {
	case Day:
		return "daily"
	case Week:
		return "weekly"
	case Month:
		return "monthly"
	default:
		return "total"
	}
}

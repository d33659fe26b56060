package admission

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/money"
)

const (
	// BeatEvery is how often open calls are renewed.
	BeatEvery = 10 * time.Second
	// ahead is how far the hold of a stream is kept ahead of its answer: by two beats.
	ahead = 2 * BeatEvery
	// OutputRate is tokens per second that an answer is assumed to have made even
	// if nothing of it is seen: vendors bill thinking that they do not show.
	OutputRate = 100
	// step is the least by which a hold grows, so that a fast answer does not ask
	// for every frame.
	step = 1024
)

// Grant is a call that was admitted. Whoever got it gives it back with the
// Settlement it makes.
type Grant struct {
	gate  *Gate
	ask   Ask
	kinds []string
	since time.Time

	windows []WindowUse // as of the admission

	covered atomic.Int64 // output tokens that the hold covers

	reserved       money.Nanos // of the hold, for attempts that were set aside
	reservedTokens int64

	mu      sync.Mutex // held while the intent is extended
	intent  Intent
	settled bool
}

// Held is the money held for the call now.
func (g *Grant) Held() money.Nanos {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.intent.Hold
}

// Covered is the output, in tokens, that the hold covers.
func (g *Grant) Covered() int64 { return g.covered.Load() }

// Cover raises the hold so that it covers an output of so many tokens. It is free
// while the hold covers them already. It errs with the refusal of a budget or
// window, or StoreDown.
func (g *Grant) Cover(ctx context.Context, output int64) error {
	if output <= g.covered.Load() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var refused error
	for _, want := range []int64{output + step, output} {
		in, more := g.next(want)
		if !more {
			return nil
		}
		answers, err := g.gate.store.Extend(ctx, []Intent{in})
		if err != nil {
			return err
		}
		if refused = g.take(in, want, answers[0]); refused == nil {
			return nil
		}
	}
	return refused
}

// Reserve raises the hold by what an attempt may have cost that is given up for
// another one: both may be billed. It errs with the refusal of a budget or window,
// or StoreDown; nothing is reserved then.
func (g *Grant) Reserve(ctx context.Context, cost money.Nanos, tokens int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved += cost
	g.reservedTokens += tokens
	in := g.intent
	in.Hold += cost
	in.Tokens += tokens
	in.Row = g.ask.Row(g.covered.Load(), in.Hold)
	answers, err := g.gate.store.Extend(ctx, []Intent{in})
	if err == nil {
		err = g.take(in, g.covered.Load(), answers[0])
	}
	if err != nil {
		g.reserved -= cost
		g.reservedTokens -= tokens
	}
	return err
}

// next is the intent with a hold that covers want tokens of output, at most the
// limit of the call; more says whether that raises it.
func (g *Grant) next(want int64) (in Intent, more bool) {
	in.Call, in.Partition, in.Plan = g.intent.Call, g.intent.Partition, g.intent.Plan
	in.Hold, in.Tokens = g.intent.Hold, g.intent.Tokens
	covered := g.covered.Load()
	if want = g.cap(want); want > covered {
		covered, more = want, true
		in.Hold, in.Tokens = g.ask.Hold(want)
		in.Hold += g.reserved
		in.Tokens += g.reservedTokens
	}
	in.Row = g.ask.Row(covered, in.Hold)
	return in, more
}

// cap bounds what is covered by what the call may output at most.
func (g *Grant) cap(want int64) int64 {
	if g.ask.Limit > 0 {
		return min(want, g.ask.Limit)
	}
	return want
}

// take applies the answer to an extension.
func (g *Grant) take(in Intent, want int64, x Extended) error {
	switch x.Outcome {
	case Admitted:
		g.intent = in
		g.covered.Store(max(g.covered.Load(), g.cap(want)))
		return nil
	case Refused:
		return refusal(x.Refusal, &in, g.kinds, g.gate.now())
	default:
		// The sweep took this process for dead. The vendor works on, so the answer goes
		// on: its settlement corrects the sweep's, and nothing is held till then.
		g.gate.log.Warn("call was settled while it ran, because its process was silent for too long", "call", g.intent.Call)
		g.settled = true
		g.covered.Store(math.MaxInt64)
		return nil
	}
}

// Settlement ends the grant and describes its end: what the call cost, the
// tokens it took and the record to keep. From here on it is renewed no more.
func (g *Grant) Settlement(cost money.Nanos, tokens int64, row json.RawMessage) Settlement {
	g.gate.forget(g)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settled = true
	return Settlement{
		Call: g.intent.Call, Partition: g.intent.Partition, Plan: g.intent.Plan,
		Cost: cost, Tokens: tokens, Row: row,
	}
}

func (g *Gate) register(grant *Grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[grant.intent.Call] = grant
}

func (g *Gate) forget(grant *Grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, grant.intent.Call)
}

// Open is the number of calls that are open in this process.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}

// Beat renews every open call of this process and keeps the holds of streams two
// beats ahead of their answers. A refused extension leaves the hold as it is: the
// stream ends when it gets there. It errs with fault.StoreDown.
func (g *Gate) Beat(ctx context.Context) error {
	g.mu.Lock()
	grants := slices.Collect(maps.Values(g.open))
	g.mu.Unlock()
	const batch = 100
	for group := range slices.Chunk(grants, batch) {
		if err := g.renew(ctx, group); err != nil {
			return err
		}
	}
	return nil
}

// renew extends the grants in one pipeline. Their locks keep Cover out meanwhile;
// a grant that is being extended by Cover is renewed by that.
func (g *Gate) renew(ctx context.Context, grants []*Grant) error {
	var intents []Intent
	var wants []int64
	var locked []*Grant
	defer func() {
		for _, grant := range locked {
			grant.mu.Unlock()
		}
	}()
	for _, grant := range grants {
		if !grant.mu.TryLock() {
			continue
		}
		locked = append(locked, grant)
		if grant.settled {
			continue
		}
		want := grant.horizon(g.now())
		in, _ := grant.next(want)
		intents, wants = append(intents, in), append(wants, want)
	}
	if len(intents) == 0 {
		return nil
	}
	answers, err := g.store.Extend(ctx, intents)
	if err != nil {
		return err
	}
	byCall := make(map[string]int, len(intents))
	for i, in := range intents {
		byCall[in.Call] = i
	}
	for _, grant := range locked {
		i, asked := byCall[grant.intent.Call]
		if !asked {
			continue
		}
		if err := grant.take(intents[i], wants[i], answers[i]); err != nil {
			g.log.WarnContext(ctx, "hold not extended", "call", grant.intent.Call, "error", err)
		}
	}
	return nil
}

// horizon is the output that the answer may have reached two beats from now.
func (g *Grant) horizon(now time.Time) int64 {
	output := g.ask.Progress()
	rate := int64(OutputRate)
	if elapsed := now.Sub(g.since); elapsed > time.Second {
		rate = max(rate, output*int64(time.Second)/int64(elapsed))
	}
	return max(g.covered.Load(), output+rate*int64(ahead/time.Second))
}

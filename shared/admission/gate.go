package admission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/secret"
)

const (
	hintTTL  = 30 * time.Second // how long a process trusts a locator without asking
	maxHints = 10_000

	// countsPerMinute bounds the token counts of a key, which are free and come
	// in bursts (Claude Code sends 26 at once).
	countsPerMinute = 1200
)

// Options make a Gate. Store is required.
type Options struct {
	Store Store
	// Sweep settles what is due in a partition and says how many calls that were.
	// The gate calls it when calls of dead processes keep a live one out. May be nil.
	Sweep  func(ctx context.Context, partition int) (int, error)
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Gate admits calls. It is safe for concurrent use.
type Gate struct {
	store Store
	sweep func(ctx context.Context, partition int) (int, error)
	now   func() time.Time
	log   *slog.Logger
	hints hints
	zones zones

	mu   sync.Mutex
	open map[string]*Grant // by call; what Beat keeps alive
}

// New is a Gate.
func New(o Options) *Gate {
	g := &Gate{store: o.Store, sweep: o.Sweep, now: o.Now, log: o.Logger, open: make(map[string]*Grant)}
	if g.now == nil {
		g.now = time.Now
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	return g
}

// Digest is what a secret is looked up by: its SHA-256 in hex.
func Digest(s secret.Value) string {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return hex.EncodeToString(sum[:])
}

// Located is a key that was found by its secret.
type Located struct {
	*Locator
	digest string
}

// Locate finds the key of a secret, from memory when it was seen in the last 30
// seconds. What it says is a hint until the call is admitted. It errs with
// fault.Unauthenticated or StoreDown.
func (g *Gate) Locate(ctx context.Context, s secret.Value) (*Located, error) {
	if s.Empty() {
		return nil, fault.New(fault.Unauthenticated, "no key was sent; send it as x-api-key or as Authorization: Bearer")
	}
	digest := Digest(s)
	if l := g.hints.get(digest, g.now()); l != nil {
		return &Located{l, digest}, nil
	}
	l, err := g.store.Locate(ctx, digest)
	if err != nil {
		return nil, err
	}
	g.hints.put(digest, l, g.now())
	return &Located{l, digest}, nil
}

// Ask is what a call needs to be admitted.
type Ask struct {
	Call      string
	Protocol  llm.Protocol
	Model     string // "" when the route names none
	Unpriced  bool   // some account that may serve it has no price for the model
	Fallbacks bool   // it names further models that the vendor may use instead
	Output    int64  // tokens that the hold covers at first
	Limit     int64  // tokens that the answer may have at most
	// Hold is the dearest that the call can be with so much output, and the
	// tokens it can take: input bound included.
	Hold func(output int64) (money.Nanos, int64)
	// Progress is how far the answer is, in estimated tokens of output.
	Progress func() int64
	// Row is the record to write if the process dies while so much is held, which
	// covers so much output.
	Row func(covered int64, hold money.Nanos) []byte
}

// Admit opens a call. It errs with fault.Unauthenticated, Forbidden, Invalid, Concurrency,
// RateLimited, BudgetSpent, BudgetHeld or StoreDown. After an unknown answer of
// the store the call is voided.
func (g *Gate) Admit(ctx context.Context, l *Located, a Ask) (*Grant, error) {
	hold, tokens := a.Hold(a.Output)
	in := Intent{Call: a.Call, Hold: hold, Tokens: tokens, Row: a.Row(a.Output, hold)}
	answer, err := g.ask(ctx, l, &a, Open, &in)
	if err != nil {
		if fault.CodeOf(err) == fault.StoreDown {
			g.void(ctx, in)
		}
		return nil, err
	}
	grant := &Grant{gate: g, ask: a, intent: in, kinds: l.kinds(), since: g.now(), windows: answer.Windows}
	grant.covered.Store(a.Output)
	g.register(grant)
	return grant, nil
}

// Allow verifies a key for something that costs nothing, such as counting tokens
// or listing models. Counts have a rate limit of their own. It errs as Admit does.
func (g *Gate) Allow(ctx context.Context, l *Located, p llm.Protocol, model string) error {
	_, err := g.ask(ctx, l, &Ask{Protocol: p, Model: model}, Count, &Intent{})
	return err
}

// Verify checks that the key is what Locate said. It errs with
// fault.Unauthenticated, Forbidden or StoreDown.
func (g *Gate) Verify(ctx context.Context, l *Located) error {
	_, err := g.ask(ctx, l, &Ask{}, Probe, &Intent{})
	return err
}

// ask puts a request to the store until its plan was made from current records.
// l is brought up to date; in is completed.
func (g *Gate) ask(ctx context.Context, l *Located, a *Ask, why Purpose, in *Intent) (Answer, error) {
	const attempts = 4 // records may change again in between
	swept := false
	for range attempts {
		forbidden := permit(l.Locator, a)
		purpose := why
		if forbidden != nil {
			purpose = Probe // refuse only what current records refuse
		}
		answer, err := g.try(ctx, l, a, purpose, in)
		switch {
		case err != nil:
			return Answer{}, err
		case answer.Outcome == Stale:
			if err := g.refresh(ctx, l, answer.Fresh); err != nil {
				return Answer{}, err
			}
		case forbidden != nil:
			return Answer{}, forbidden
		case answer.Outcome == Refused:
			if !swept && answer.Refusal.Due > 0 && g.swept(ctx, in.Partition) {
				swept = true
				continue
			}
			return Answer{}, refusal(answer.Refusal, in, l.kinds(), answer.Now)
		default:
			return answer, concluded(answer.Outcome)
		}
	}
	return Answer{}, fault.New(fault.Busy, "the key's records keep changing; try again").After(time.Second)
}

func (g *Gate) try(ctx context.Context, l *Located, a *Ask, purpose Purpose, in *Intent) (Answer, error) {
	plan, err := g.plan(l.Locator, a.Model, g.now())
	if err != nil {
		return Answer{}, err
	}
	if purpose == Count {
		plan.countOnly()
	}
	in.Partition, in.Plan = l.Partition, plan
	return g.store.Admit(ctx, Request{Intent: *in, Purpose: purpose})
}

func concluded(o Outcome) error {
	switch o {
	case Admitted:
		return nil
	case Expired:
		return fault.New(fault.Unauthenticated, "the key has expired; ask for a new one")
	default:
		return fault.New(fault.Internal, "the call was settled before it began")
	}
}

// countOnly reduces the plan to the rate limit of token counts.
func (p *Plan) countOnly() {
	w := span(Window{Minutes: 1, Requests: countsPerMinute})
	w.Name = "count"
	for i := range p.Shares {
		s := &p.Shares[i]
		s.Concurrency, s.Held, s.Counters, s.Windows = 0, nil, nil, nil
	}
	p.Shares[0].Windows = []Span{w}
}

// permit is what the records alone forbid.
func permit(l *Locator, a *Ask) error {
	for i, o := range l.Owners() {
		if o.Status == Disabled {
			return fault.New(fault.Forbidden, "the %s is disabled", l.kinds()[i])
		}
	}
	switch k := &l.Key; {
	case len(k.Dialects) > 0 && a.Protocol != "" && !slices.Contains(k.Dialects, a.Protocol):
		return fault.New(fault.Forbidden, "the key may not speak the %s protocol; it may speak %v", a.Protocol, k.Dialects)
	case a.Model != "" && !k.Models.Allows(a.Model):
		return fault.New(fault.Forbidden, "the key may not use the model %q", a.Model)
	case a.Fallbacks && (l.Budgeted() || len(k.Models.Allow)+len(k.Models.Deny) > 0):
		return fault.At("fallbacks", "the key has a budget or a list of models, which fallbacks would evade; leave them out")
	case a.Unpriced && l.Budgeted():
		return fault.New(fault.Forbidden, "the model %q has no price, and the key's budget cannot be kept without one", a.Model)
	}
	return nil
}

// refresh replaces a hint that was out of date, in memory and in the store.
func (g *Gate) refresh(ctx context.Context, l *Located, fresh *Locator) error {
	g.hints.drop(l.digest)
	if fresh == nil { // the key has other owners now, or is gone
		stored, err := g.store.Locate(ctx, l.digest)
		if err != nil {
			return err
		}
		l.Locator = stored
		return nil
	}
	if fresh.Key.Digest != l.digest {
		return fault.New(fault.Unauthenticated, "the key was rotated; use the new one")
	}
	l.Locator = fresh
	g.hints.put(l.digest, fresh, g.now())
	if err := g.store.Heal(ctx, l.digest, fresh); err != nil {
		g.log.WarnContext(ctx, "a stored locator is out of date", "key", fresh.Key.ID, "error", err)
	}
	return nil
}

func (g *Gate) swept(ctx context.Context, partition int) bool {
	if g.sweep == nil {
		return false
	}
	n, err := g.sweep(ctx, partition)
	if err != nil {
		g.log.WarnContext(ctx, "sweep failed", "partition", partition, "error", err)
	}
	return n > 0
}

// void closes a call whose admission has no known answer.
func (g *Gate) void(ctx context.Context, in Intent) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := g.store.Settle(ctx, Settlement{Call: in.Call, Partition: in.Partition, Plan: in.Plan})
	if err != nil {
		g.log.WarnContext(ctx, "a call of unknown admission is left to the sweep", "call", in.Call, "error", err)
	}
}

// kinds name the owners in messages, in the order of Owners.
func (l *Locator) kinds() []string {
	kinds := []string{"key"}
	if l.User != nil {
		kinds = append(kinds, "user")
	}
	if l.Team != nil {
		kinds = append(kinds, "team")
	}
	return kinds
}

// Package ledger keeps the money: it implements the gate's Store, and the
// settlement of calls, as Lua scripts in which every change is made at once.
//
// The scripts check everything, then write; each is safe to repeat. A call is
// open while it stands in its partition's intents, and settled when it stands in
// one of the partition's done sets; an owner's held amount is the sum of the
// holds of its open calls.
package ledger

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/pool"
	"sluice/shared/store"
	"sluice/shared/store/accounts"
)

//go:embed lib.lua
var lib string

//go:embed admit.lua
var admitSource string

//go:embed extend.lua
var extendSource string

//go:embed settle.lua
var settleSource string

//go:embed due.lua
var dueSource string

//go:embed unconfirmed.lua
var unconfirmedSource string

//go:embed audit.lua
var auditSource string

// doneSpan is the time of one done set. A call belongs to the set of the time in
// its id, so that every settlement of it looks into the same one.
const doneSpan = 5 * time.Minute

const day = 24 * time.Hour

// Ledger is the money in Redis. It is safe for concurrent use.
type Ledger struct {
	client                                         *store.Client
	admit, extend, settle, due, unconfirmed, audit *store.Script

	recent recent
}

// New is a Ledger in the given store.
func New(c *store.Client) *Ledger {
	return &Ledger{
		client: c,
		admit:  store.NewScript("admit", lib+admitSource),
		extend: store.NewScript("extend", lib+extendSource),
		settle: store.NewScript("settle", lib+settleSource),
		due:    store.NewScript("due", lib+dueSource),

		unconfirmed: store.NewScript("unconfirmed", unconfirmedSource),
		audit:       store.NewScript("audit", lib+auditSource),
	}
}

// Locate reads the stored locator of a secret's digest. It errs with
// fault.Unauthenticated when there is none, or StoreDown.
func (l *Ledger) Locate(ctx context.Context, digest string) (*admission.Locator, error) {
	raw, err := l.client.Redis().Get(ctx, store.Locator(digest)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, fault.New(fault.Unauthenticated, "the key is not known; check it, or ask for a new one")
	}
	if err != nil {
		return nil, store.Fault(err)
	}
	var found admission.Locator
	if err := json.Unmarshal(raw, &found); err != nil {
		return nil, fmt.Errorf("ledger: stored locator: %w", err)
	}
	return &found, nil
}

// Heal replaces the stored locator of a digest, unless the key was deleted meanwhile.
func (l *Ledger) Heal(ctx context.Context, digest string, loc *admission.Locator) error {
	raw, err := json.Marshal(loc)
	if err != nil {
		return err
	}
	return store.Fault(l.client.Redis().SetXX(ctx, store.Locator(digest), raw, redis.KeepTTL).Err())
}

// Admit asks to open a call. It errs with fault.StoreDown.
func (l *Ledger) Admit(ctx context.Context, r admission.Request) (admission.Answer, error) {
	keys := append(make([]string, 0, 9), store.Intents(r.Partition), store.Due(r.Partition), doneKey(r.Partition, r.Call))
	for _, s := range r.Plan.Shares {
		keys = append(keys, store.Owner(r.Partition, s.Owner), store.Balance(r.Partition, s.Owner))
	}
	plan, kept, err := encode(&r.Intent)
	if err != nil {
		return admission.Answer{}, err
	}
	got, err := l.client.Run(ctx, store.Call{Script: l.admit, Keys: keys, Args: []any{
		r.Call, string(r.Purpose), r.Hold.Decimal(), r.Tokens, admission.IntentTTL.Milliseconds(), plan, kept,
	}})
	if err != nil {
		return admission.Answer{}, err
	}
	reply := reply{items: list(got)}
	a := admission.Answer{Outcome: admission.Outcome(reply.text()), Now: time.UnixMilli(reply.number())}
	switch a.Outcome {
	case admission.Stale:
		a.Fresh, err = fresh(&r, reply.items[2:])
	case admission.Refused:
		a.Refusal = reply.refusal()
	case admission.Admitted:
		for reply.next < len(reply.items) && reply.err == nil {
			a.Windows = append(a.Windows, admission.WindowUse{
				Share: int(reply.number()), Item: int(reply.number()),
				Requests: reply.number(), Tokens: reply.number(), Until: reply.number(),
			})
		}
	}
	return a, errors.Join(err, reply.err)
}

// Extend renews open calls in one pipeline. It errs with fault.StoreDown when
// any could not be renewed.
func (l *Ledger) Extend(ctx context.Context, intents []admission.Intent) ([]admission.Extended, error) {
	calls := make([]store.Call, len(intents))
	for i := range intents {
		in := &intents[i]
		keys := []string{store.Intents(in.Partition), store.Due(in.Partition), doneKey(in.Partition, in.Call)}
		plan, kept, err := encode(in)
		if err != nil {
			return nil, err
		}
		calls[i] = store.Call{Script: l.extend, Keys: append(keys, balances(in.Partition, in.Plan)...), Args: []any{
			in.Call, in.Hold.Decimal(), in.Tokens, admission.IntentTTL.Milliseconds(), plan, kept,
		}}
	}
	answers := make([]admission.Extended, len(intents))
	for i, r := range l.client.RunAll(ctx, calls...) {
		if r.Err != nil {
			return nil, r.Err
		}
		reply := reply{items: list(r.Value)}
		answers[i].Outcome = admission.Outcome(reply.text())
		reply.number()
		if answers[i].Outcome == admission.Refused {
			answers[i].Refusal = reply.refusal()
		}
		if reply.err != nil {
			return nil, reply.err
		}
	}
	return answers, nil
}

// Settle closes a call, or corrects what the sweep made of it. It errs with
// fault.StoreDown; a call that was settled before stays as it is.
func (l *Ledger) Settle(ctx context.Context, s admission.Settlement) error {
	return l.Close(ctx, s, nil)
}

// Close settles a call and ends its lease, if it has one, in one pipeline. Both
// are safe to repeat. It errs with fault.StoreDown.
func (l *Ledger) Close(ctx context.Context, s admission.Settlement, lease *pool.Release) error {
	settle, err := l.settleCall(s, settledBy(s.Call, time.Now()))
	if err != nil {
		return err
	}
	calls := []store.Call{settle}
	if lease != nil {
		calls = append(calls, accounts.ReleaseCall(*lease))
	}
	var errs error
	for _, r := range l.client.RunAll(ctx, calls...) {
		errs = errors.Join(errs, r.Err)
	}
	if errs == nil {
		l.recent.add(s)
	}
	return errs
}

// mode is who settles a call; see settle.lua.
type mode string

const (
	real  mode = "real"
	late  mode = "late"
	swept mode = "swept"
)

// settledBy is the mode of the call's own process: past the time that done sets
// are kept, their silence says nothing any more.
func settledBy(call string, now time.Time) mode {
	if at, err := llm.IDTime(call); err == nil && now.Sub(at) > doneKept-2*doneSpan {
		return late
	}
	return real
}

// settleCall is the script run of a settlement.
func (l *Ledger) settleCall(s admission.Settlement, m mode) (store.Call, error) {
	plan, err := json.Marshal(s.Plan)
	if err != nil {
		return store.Call{}, err
	}
	keys := []string{
		store.Intents(s.Partition), store.Due(s.Partition), doneKey(s.Partition, s.Call),
		tombKey(s.Partition, s.Call), store.Usage(s.Partition),
	}
	args := []any{s.Call, s.Cost.Decimal(), s.Tokens, plan, string(m)}
	if len(s.Row) > 0 {
		args = append(args, []byte(s.Row))
	}
	for _, row := range s.Doubtful {
		args = append(args, []byte(row))
	}
	return store.Call{Script: l.settle, Keys: append(keys, balances(s.Partition, s.Plan)...), Args: args}, nil
}

// Balance is what an owner has spent in its current periods and holds now. It
// errs with fault.StoreDown.
func (l *Ledger) Balance(ctx context.Context, partition int, o *admission.Owner) (admission.Balance, error) {
	counters, err := admission.StandingCounters(o, time.Now())
	if err != nil {
		return admission.Balance{}, err
	}
	have, err := l.client.Redis().HGetAll(ctx, store.Balance(partition, o.ID)).Result()
	if err != nil {
		return admission.Balance{}, store.Fault(err)
	}
	var b admission.Balance
	for i, amount := range []*money.Nanos{&b.Day, &b.Week, &b.Month, &b.Total} {
		if c := counters[i]; have[c.Field+"@"] == c.Label {
			*amount = money.Nanos(parse(have[c.Field]))
		}
	}
	b.Held, b.Open = money.Nanos(parse(have["held"])), int(parse(have["open"]))
	return b, nil
}

// Open is the number of calls in flight and the money held for them, over all
// partitions. Its cost is that of reading every open call. It errs with
// fault.StoreDown.
func (l *Ledger) Open(ctx context.Context) (calls int64, held money.Nanos, err error) {
	pipe := l.client.Redis().Pipeline()
	open := make([]*redis.StringSliceCmd, admission.Partitions)
	for p := range open {
		open[p] = pipe.HVals(ctx, store.Intents(p))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, 0, store.Fault(err)
	}
	for _, intents := range open {
		for _, stored := range intents.Val() {
			hold, _, _ := strings.Cut(stored, " ")
			calls, held = calls+1, held+money.Nanos(parse(hold))
		}
	}
	return calls, held, nil
}

// encode is the plan for the script, and the plan and row as they are kept with
// the open call.
func encode(in *admission.Intent) (plan, kept []byte, err error) {
	if plan, err = json.Marshal(in.Plan); err != nil {
		return nil, nil, err
	}
	kept, err = json.Marshal(in)
	return plan, kept, err
}

// fresh is the locator that the records of a stale answer make. It is nil when
// one of them is gone or the key belongs to other owners now.
func fresh(r *admission.Request, records []any) (*admission.Locator, error) {
	loc := &admission.Locator{Partition: r.Partition}
	for i, raw := range records {
		text, _ := raw.(string)
		if text == "" {
			return nil, nil
		}
		id := r.Plan.Shares[i].Owner
		var into any
		switch {
		case i == 0:
			into = &loc.Key
		case id == loc.Key.User:
			into = &loc.User
		case id == loc.Key.Team:
			into = &loc.Team
		default:
			return nil, nil
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return nil, fmt.Errorf("ledger: stored record %s: %w", id, err)
		}
	}
	if (loc.Key.User != "") != (loc.User != nil) || (loc.Key.Team != "") != (loc.Team != nil) {
		return nil, nil
	}
	return loc, nil
}

func balances(partition int, p admission.Plan) []string {
	keys := make([]string, len(p.Shares), len(p.Shares)+4)
	for i, s := range p.Shares {
		keys[i] = store.Balance(partition, s.Owner)
	}
	return keys
}

// doneKey is the done set of a call. An id without a time, such as that of a
// count, has no set of its own and never gets into one.
func doneKey(partition int, call string) string {
	at, err := llm.IDTime(call)
	if err != nil {
		return store.Done(partition, 0)
	}
	return store.Done(partition, at.Unix()/int64(doneSpan/time.Second))
}

// tombKey is the set of tombs of a call, by the day in its id.
func tombKey(partition int, call string) string {
	at, err := llm.IDTime(call)
	if err != nil {
		return store.Tombs(partition, 0)
	}
	return store.Tombs(partition, at.Unix()/int64(day/time.Second))
}

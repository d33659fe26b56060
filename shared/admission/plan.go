package admission

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/money"
)

// Plan says where a call is counted and against which limits, compiled from the
// limits of its owners. It travels with the open call, so that whoever settles
// it charges the very counters that admitted it, whatever the limits say by then.
type Plan struct {
	Shares []Share `json:"shares"`
}

// Share is the part of a Plan that concerns one owner.
type Share struct {
	Owner       string    `json:"id"`
	Version     string    `json:"ver"`              // of the record that the plan was made from
	Expires     int64     `json:"exp,omitempty"`    // Unix ms; the key is refused from then on; 0 = never
	Lifetime    int64     `json:"life,omitempty"`   // ms from the first use; 0 = for ever
	Concurrency int       `json:"conc,omitempty"`   // calls at once; 0 = unlimited
	Held        []string  `json:"held,omitempty"`   // fields that hold money while the call is open
	Counters    []Counter `json:"count,omitempty"`  // what its cost is added to
	Windows     []Span    `json:"window,omitempty"` // rolling windows it is counted in
}

// Counter is an amount in nano-dollars for one calendar period, and its limit.
type Counter struct {
	Field string `json:"f"`
	Label string `json:"l"`             // first day of the period as YYYYMMDD, which sorts; "" = all time
	Held  string `json:"h"`             // field of the money held against it
	Max   string `json:"max,omitempty"` // nano-dollars; "" = counted, not limited

	budget Budget
	ends   time.Time
}

// Span is a rolling window: a ring of spanSlots slots of which the current one is
// filling, so that it never covers less than the time it stands for.
type Span struct {
	Name     string `json:"n"`             // prefix of its fields
	Slot     int64  `json:"ms"`            // length of a slot
	Requests string `json:"r,omitempty"`   // limits; "" = none
	Tokens   string `json:"t,omitempty"`   //
	USD      string `json:"usd,omitempty"` // nano-dollars

	window Window
}

// spanParts is how finely a window slides: it covers at most one part more than
// its length.
const spanParts = 10

// heldField is the field of an owner's balance that holds all its open calls.
const heldField = "held"

// plan compiles the limits of the key's owners for one model at one moment.
func (g *Gate) plan(loc *Locator, model string, now time.Time) (Plan, error) {
	var p Plan
	for i, owner := range loc.Owners() {
		zone, err := g.zones.load(owner.TimeZone)
		if err != nil {
			return Plan{}, err
		}
		s := Share{
			Owner: owner.ID, Version: strconv.FormatInt(owner.Version, 10), Concurrency: owner.Limits.Concurrency,
			Held: []string{heldField}, Counters: standing(owner, now.In(zone)),
		}
		for _, b := range owner.Limits.Budgets {
			s.limit(b, owner, model, now.In(zone))
		}
		for _, w := range owner.Limits.Windows {
			s.Windows = append(s.Windows, span(w))
		}
		if i == 0 {
			s.expire(&loc.Key)
		}
		p.Shares = append(p.Shares, s)
	}
	return p, nil
}

// standing are the counters that every owner has, so that a budget set today
// knows what was spent before it.
func standing(o *Owner, now time.Time) []Counter {
	list := make([]Counter, 0, 4)
	for _, per := range []Period{Day, Week, Month, Total} {
		list = append(list, counter(Budget{Per: per}, o, now))
	}
	return list
}

// StandingCounters are the counters of what an owner has spent in its current
// day, week, month and in all, for reading its balance.
func StandingCounters(o *Owner, now time.Time) ([]Counter, error) {
	zone, err := time.LoadLocation(o.TimeZone)
	if err != nil {
		return nil, err
	}
	return standing(o, now.In(zone)), nil
}

// limit adds a budget to the share: it limits the standing counter of the same
// period, or has a counter of its own.
func (s *Share) limit(b Budget, o *Owner, model string, now time.Time) {
	if len(b.Models) > 0 && !slices.ContainsFunc(b.Models, func(p string) bool { return Match(p, model) }) {
		return
	}
	c := counter(b, o, now)
	c.Max = b.USD.Decimal()
	if !slices.Contains(s.Held, c.Held) {
		s.Held = append(s.Held, c.Held)
	}
	for i := range s.Counters {
		if s.Counters[i].Field != c.Field {
			continue
		}
		if s.Counters[i].Max == "" || s.Counters[i].budget.USD > b.USD {
			s.Counters[i] = c
		}
		return
	}
	s.Counters = append(s.Counters, c)
}

func (s *Share) expire(k *Key) {
	if k.ExpiresAt != nil {
		s.Expires = k.ExpiresAt.UnixMilli()
	}
	s.Lifetime = int64(k.ExpiresAfterFirstUse) * 1000
}

// counter names the counter of a budget. The name holds what the counter depends
// on, so that a change of time zone, anchor or models begins a new one.
func counter(b Budget, o *Owner, now time.Time) Counter {
	c := Counter{Field: string(b.Per), Held: heldField, budget: b}
	if anchor := cmp.Or(b.Anchor, 1); anchor != 1 {
		c.Field += "#" + strconv.Itoa(anchor)
	}
	if o.TimeZone != "" && b.Per != Total {
		c.Field += "|" + o.TimeZone
	}
	if len(b.Models) > 0 {
		sum := sha256.Sum256([]byte(strings.Join(b.Models, "\n")))
		suffix := "~" + hex.EncodeToString(sum[:6])
		c.Field += suffix
		c.Held += suffix
	}
	if b.Per != Total {
		var begins time.Time
		begins, c.ends = b.period(now)
		c.Label = begins.Format("20060102")
	}
	return c
}

// period is the span of the budget that now lies in, in now's time zone.
func (b Budget) period(now time.Time) (begins, ends time.Time) {
	y, m, d := now.Date()
	anchor := cmp.Or(b.Anchor, 1)
	date := func(m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, now.Location()) }
	switch b.Per {
	case Week:
		back := (int(now.Weekday()) - anchor + 7) % 7
		return date(m, d-back), date(m, d-back+7)
	case Month:
		if d < anchor {
			m--
		}
		return date(m, anchor), date(m+1, anchor)
	default:
		return date(m, d), date(m, d+1)
	}
}

// span is a window as the script counts it.
func span(w Window) Span {
	s := Span{Name: "w" + strconv.Itoa(w.Minutes), Slot: int64(w.Minutes) * 60_000 / spanParts, window: w}
	if w.Requests > 0 {
		s.Requests = strconv.FormatInt(w.Requests, 10)
	}
	if w.Tokens > 0 {
		s.Tokens = strconv.FormatInt(w.Tokens, 10)
	}
	if w.USD > 0 {
		s.USD = w.USD.Decimal()
	}
	return s
}

// Match says whether a model's name matches a pattern of path.Match. A malformed
// pattern matches nothing.
func Match(pattern, model string) bool {
	ok, err := path.Match(pattern, model)
	return ok && err == nil
}

// Allows says whether the rules let a key use the model.
func (m Models) Allows(model string) bool {
	matches := func(p string) bool { return Match(p, model) }
	if slices.ContainsFunc(m.Deny, matches) {
		return false
	}
	return len(m.Allow) == 0 || slices.ContainsFunc(m.Allow, matches)
}

// Budgeted says whether any owner of the key counts money, so that a model
// without a price must be refused.
func (l *Locator) Budgeted() bool {
	return slices.ContainsFunc(l.Owners(), func(o *Owner) bool { return o.Limits.Budgeted() })
}

// remaining is what is left of a limit, never below zero.
func remaining(limit, used money.Nanos) money.Nanos { return max(limit-used, 0) }

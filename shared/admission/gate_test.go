package admission

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/money"
	"sluice/shared/secret"
)

// scripted is a Store whose answers a test writes down beforehand.
type scripted struct {
	located  []*Locator
	admits   []Answer
	extends  []Extended
	err      error
	requests []Request
	extended []Intent
	settled  []Settlement
	healed   int
}

func (s *scripted) Locate(context.Context, string) (*Locator, error) {
	if len(s.located) == 0 {
		return nil, fault.New(fault.Unauthenticated, "unknown")
	}
	l := s.located[0]
	if len(s.located) > 1 {
		s.located = s.located[1:]
	}
	return l, nil
}

func (s *scripted) Heal(context.Context, string, *Locator) error { s.healed++; return s.err }

func (s *scripted) Admit(_ context.Context, r Request) (Answer, error) {
	s.requests = append(s.requests, r)
	if s.err != nil {
		return Answer{}, s.err
	}
	a := s.admits[0]
	if len(s.admits) > 1 {
		s.admits = s.admits[1:]
	}
	return a, nil
}

func (s *scripted) Extend(_ context.Context, in []Intent) ([]Extended, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.extended = append(s.extended, in...)
	answers := make([]Extended, len(in))
	for i := range answers {
		answers[i] = s.extends[0]
		if len(s.extends) > 1 {
			s.extends = s.extends[1:]
		}
	}
	return answers, nil
}

func (s *scripted) Settle(_ context.Context, x Settlement) error {
	s.settled = append(s.settled, x)
	return s.err
}

var testSecret = secret.New("test-key")

func testKey(edit func(*Key)) *Locator {
	l := &Locator{Partition: 3, Key: Key{Owner: Owner{ID: "key_1", Status: Active, Version: 1}, Digest: Digest(testSecret)}}
	if edit != nil {
		edit(&l.Key)
	}
	return l
}

func testAsk(model string) Ask {
	return Ask{
		Call: "call_1", Protocol: llm.Anthropic, Model: model, Output: 100, Limit: 50_000,
		Hold:     func(output int64) (money.Nanos, int64) { return money.Nanos(output * 10), output },
		Progress: func() int64 { return 0 },
		Row:      func(int64, money.Nanos) []byte { return []byte(`{}`) },
	}
}

func admit(t *testing.T, s *scripted, a Ask) (*Gate, *Grant, error) {
	t.Helper()
	g := New(Options{Store: s, Now: func() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }})
	l, err := g.Locate(t.Context(), testSecret)
	if err != nil {
		t.Fatal(err)
	}
	grant, err := g.Admit(t.Context(), l, a)
	return g, grant, err
}

func TestLocateRemembersForAWhile(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	s := &scripted{located: []*Locator{testKey(nil), testKey(func(k *Key) { k.Name = "second" })}}
	g := New(Options{Store: s, Now: func() time.Time { return now }})
	for _, c := range []struct {
		wait time.Duration
		name string
	}{{0, ""}, {29 * time.Second, ""}, {2 * time.Second, "second"}} {
		now = now.Add(c.wait)
		l, err := g.Locate(t.Context(), testSecret)
		if err != nil || l.Key.Name != c.name {
			t.Errorf("after %v: %q, %v", c.wait, l.Key.Name, err)
		}
	}
	if _, err := g.Locate(t.Context(), secret.Value{}); fault.CodeOf(err) != fault.Unauthenticated {
		t.Errorf("no secret: %v", err)
	}
}

func TestAdmitBringsStaleRecordsUpToDate(t *testing.T) {
	fresh := testKey(func(k *Key) { k.Version = 2 })
	s := &scripted{located: []*Locator{testKey(nil)}, admits: []Answer{{Outcome: Stale, Fresh: fresh}, {Outcome: Admitted}}}
	_, grant, err := admit(t, s, testAsk("m"))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.requests[1].Plan.Shares[0].Version; got != "2" || s.healed != 1 {
		t.Errorf("asked with version %s, healed %d times", got, s.healed)
	}
	if grant.Covered() != 100 || grant.Held() != 1000 {
		t.Errorf("covers %d, holds %d", grant.Covered(), grant.Held())
	}
}

func TestAdmitRefusals(t *testing.T) {
	disabled := testKey(func(k *Key) { k.Status = Disabled })
	limited := testKey(func(k *Key) {
		k.Limits = Limits{Concurrency: 2, Budgets: []Budget{{Per: Day, USD: 5 * money.Dollar}, {Per: Total, USD: 9 * money.Dollar}},
			Windows: []Window{{Minutes: 5, Requests: 10, Tokens: 20, USD: money.Dollar}}}
	})
	refused := func(r Refusal) []Answer {
		return []Answer{{Outcome: Refused, Refusal: r, Now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}}
	}
	until := time.Date(2026, 11, 25, 12, 3, 0, 0, time.UTC).UnixMilli()
	for _, c := range []struct {
		name    string
		key     *Locator
		answers []Answer
		code    fault.Code
		after   time.Duration
		says    string
	}{
		{"disabled", disabled, []Answer{{Outcome: Admitted}}, fault.Forbidden, 0, "the key is disabled"},
		{"model", testKey(func(k *Key) { k.Models.Deny = []string{"m"} }), []Answer{{Outcome: Admitted}}, fault.Forbidden, 0, `may not use the model "m"`},
		{"dialect", testKey(func(k *Key) { k.Dialects = []llm.Protocol{"other"} }), []Answer{{Outcome: Admitted}}, fault.Forbidden, 0, "may not speak"},
		{"expired", testKey(nil), []Answer{{Outcome: Expired}}, fault.Unauthenticated, 0, "expired"},
		{"closed", testKey(nil), []Answer{{Outcome: Closed}}, fault.Internal, 0, "settled before"},
		{"gone", testKey(nil), []Answer{{Outcome: Stale}}, fault.Busy, time.Second, "keep changing"},
		{"rotated", testKey(nil), []Answer{{Outcome: Stale, Fresh: testKey(func(k *Key) { k.Digest = "other" })}}, fault.Unauthenticated, 0, "rotated"},
		{"concurrency", limited, refused(Refusal{Reason: OverConcurrency, Used: 2}), fault.Concurrency, time.Second, "may have 2 calls at once and has 2"},
		{"requests", limited, refused(Refusal{Reason: OverRequests, Used: 10, Until: until}), fault.RateLimited, 3 * time.Minute, "in any 5 minutes is 10 requests; 10 were made"},
		{"tokens", limited, refused(Refusal{Reason: OverTokens, Used: 1, Held: 15}), fault.RateLimited, 2 * time.Second, "20 tokens; 1 were used, 15 are in flight and this call may take 100"},
		{"cost", limited, refused(Refusal{Reason: OverCost, Used: 1, Held: 2}), fault.RateLimited, 2 * time.Second, "$1.00; $0.000000001 was spent"},
		{"held", limited, refused(Refusal{Reason: BudgetIsHeld, Used: 1, Held: 5e9}), fault.BudgetHeld, 2 * time.Second, "calls in flight hold $5.00"},
		{"spent", limited, refused(Refusal{Reason: BudgetIsSpent, Used: 5e9}), fault.BudgetSpent, 12 * time.Hour, "daily budget of the key is $5.00 and $5.00 of it is spent; it resets at 2026-11-26T00:00:00Z"},
		{"nearly spent", limited, refused(Refusal{Reason: BudgetIsSpent, Item: 3, Used: 89e8}), fault.BudgetSpent, 0, "remaining $0.10 does not cover this call (up to $0.000001); it does not reset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &scripted{located: []*Locator{c.key}, admits: c.answers}
			_, _, err := admit(t, s, testAsk("m"))
			f := fault.From(err)
			if err == nil || f.Code != c.code || f.RetryAfter != c.after || !strings.Contains(f.Message, c.says) {
				t.Errorf("got %v, retry after %v; want %s, %v, %q", err, f.RetryAfter, c.code, c.after, c.says)
			}
		})
	}
}

// A budget that was set after the key was remembered is kept from the next call on.
func TestAdmitRefusesWhatEvadesABudgetJustSet(t *testing.T) {
	for name, edit := range map[string]func(*Ask){
		"unpriced": func(a *Ask) { a.Unpriced = true }, "fallbacks": func(a *Ask) { a.Fallbacks = true },
	} {
		fresh := testKey(func(k *Key) { k.Limits.Budgets = []Budget{{Per: Day, USD: money.Dollar}} })
		s := &scripted{located: []*Locator{testKey(nil)}, admits: []Answer{{Outcome: Stale, Fresh: fresh}, {Outcome: Admitted}}}
		ask := testAsk("m")
		edit(&ask)
		if _, _, err := admit(t, s, ask); err == nil || s.requests[1].Purpose != Probe {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A refusal by a remembered record is only given once the record is known to be
// current.
func TestAdmitVerifiesBeforeItForbids(t *testing.T) {
	s := &scripted{
		located: []*Locator{testKey(func(k *Key) { k.Status = Disabled })},
		admits:  []Answer{{Outcome: Stale, Fresh: testKey(nil)}, {Outcome: Admitted}},
	}
	if _, _, err := admit(t, s, testAsk("m")); err != nil {
		t.Fatal(err)
	}
	if s.requests[0].Purpose != Probe || s.requests[1].Purpose != Open {
		t.Errorf("asked to %s, then to %s", s.requests[0].Purpose, s.requests[1].Purpose)
	}
}

func TestAdmitVoidsAfterUnknownAnswer(t *testing.T) {
	s := &scripted{located: []*Locator{testKey(nil)}, err: fault.New(fault.StoreDown, "down")}
	if _, _, err := admit(t, s, testAsk("m")); fault.CodeOf(err) != fault.StoreDown {
		t.Fatal(err)
	}
	if len(s.settled) != 1 || s.settled[0].Call != "call_1" || s.settled[0].Row != nil {
		t.Errorf("settled %+v", s.settled)
	}
}

func TestAdmitSweepsOnceWhenCallsOfTheDeadAreInTheWay(t *testing.T) {
	full := Answer{Outcome: Refused, Refusal: Refusal{Reason: OverConcurrency, Due: 1}}
	for _, c := range []struct {
		frees  int
		err    error
		sweeps int
		code   fault.Code
	}{{1, nil, 1, ""}, {0, nil, 1, fault.Concurrency}, {0, errors.New("down"), 1, fault.Concurrency}} {
		s := &scripted{located: []*Locator{testKey(nil)}, admits: []Answer{full, {Outcome: Admitted}}}
		sweeps := 0
		g := New(Options{Store: s, Sweep: func(context.Context, int) (int, error) { sweeps++; return c.frees, c.err }})
		l, err := g.Locate(t.Context(), testSecret)
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.Admit(t.Context(), l, testAsk("m"))
		if sweeps != c.sweeps || err != nil && fault.CodeOf(err) != c.code || err == nil && c.code != "" {
			t.Errorf("frees %d: %d sweeps, %v", c.frees, sweeps, err)
		}
	}
}

func TestCoverExtendsInSteps(t *testing.T) {
	s := &scripted{located: []*Locator{testKey(nil)}, admits: []Answer{{Outcome: Admitted}}, extends: []Extended{{Outcome: Admitted}}}
	_, grant, err := admit(t, s, testAsk("m"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ output, covered int64 }{{50, 100}, {100, 100}, {101, 101 + step}, {49_999, 50_000}, {60_000, 50_000}} {
		if err := grant.Cover(t.Context(), c.output); err != nil {
			t.Fatal(err)
		}
		if grant.Covered() != c.covered {
			t.Errorf("an output of %d: covered %d, want %d", c.output, grant.Covered(), c.covered)
		}
	}
	if len(s.extended) != 2 {
		t.Errorf("%d extensions", len(s.extended))
	}
}

func TestCoverRefused(t *testing.T) {
	limited := testKey(func(k *Key) { k.Limits.Budgets = []Budget{{Per: Day, USD: 5 * money.Dollar}} })
	no := Extended{Outcome: Refused, Refusal: Refusal{Reason: BudgetIsSpent}}
	s := &scripted{located: []*Locator{limited}, admits: []Answer{{Outcome: Admitted}}, extends: []Extended{no, {Outcome: Admitted}, no}}
	_, grant, err := admit(t, s, testAsk("m"))
	if err != nil {
		t.Fatal(err)
	}
	if err := grant.Cover(t.Context(), 101); err != nil || grant.Covered() != 101 {
		t.Errorf("the exact amount was admitted: covered %d, %v", grant.Covered(), err)
	}
	if err := grant.Cover(t.Context(), 102); fault.CodeOf(err) != fault.BudgetSpent || grant.Covered() != 101 {
		t.Errorf("refused: covered %d, %v", grant.Covered(), err)
	}
	s.err = fault.New(fault.StoreDown, "down")
	if err := grant.Cover(t.Context(), 103); fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("store down: %v", err)
	}
	s.err, s.extends = nil, []Extended{{Outcome: Closed}}
	asked := len(s.extended)
	for output := range int64(3) { // the sweep settled it: it goes on, and asks no more
		if err := grant.Cover(t.Context(), 104+1000*output); err != nil {
			t.Errorf("closed: %v", err)
		}
	}
	if len(s.extended) != asked+1 {
		t.Errorf("a call that is settled was extended %d times", len(s.extended)-asked)
	}
}

func TestBeatKeepsHoldsAhead(t *testing.T) {
	s := &scripted{located: []*Locator{testKey(nil)}, admits: []Answer{{Outcome: Admitted}}, extends: []Extended{{Outcome: Admitted}}}
	ask := testAsk("m")
	ask.Progress = func() int64 { return 3000 }
	g, grant, err := admit(t, s, ask)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := int64(3000 + 20*OutputRate); grant.Covered() != want {
		t.Errorf("covered %d, want %d", grant.Covered(), want)
	}
	if g.Open() != 1 {
		t.Errorf("%d open", g.Open())
	}
	settlement := grant.Settlement(7, 8, []byte(`{"a":1}`))
	if settlement.Cost != 7 || settlement.Tokens != 8 || settlement.Partition != 3 || g.Open() != 0 {
		t.Errorf("settlement %+v, %d open", settlement, g.Open())
	}
	before := len(s.extended)
	if err := g.Beat(t.Context()); err != nil || len(s.extended) != before {
		t.Errorf("a settled call was renewed: %v", err)
	}
}

func TestAllowCountsOnly(t *testing.T) {
	s := &scripted{located: []*Locator{testKey(func(k *Key) { k.Limits.Concurrency = 1 })}, admits: []Answer{{Outcome: Admitted}}}
	g := New(Options{Store: s})
	l, err := g.Locate(t.Context(), testSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Allow(t.Context(), l, llm.Anthropic, "m"); err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	share := s.requests[0].Plan.Shares[0]
	if s.requests[0].Purpose != Count || share.Concurrency != 0 || len(share.Counters) != 0 || share.Windows[0].Requests != "1200" {
		t.Errorf("counted with %+v", share)
	}
	if s.requests[1].Purpose != Probe {
		t.Errorf("verified with %s", s.requests[1].Purpose)
	}
}

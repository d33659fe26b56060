package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/provider"
)

// shelf is a Store that answers as it is told.
type shelf struct {
	mu       sync.Mutex
	accounts []Account
	version  int64
	answer   func(Request) (Acquired, error) // nil: the first ask
	renewing func([]Held)
	err      error // of every method but Acquire

	reads    int
	requests []Request
	renewed  [][]Held
	released []Release
}

func (s *shelf) Accounts(context.Context) ([]Account, int64, error) {
	s.reads++
	return s.accounts, s.version, s.err
}

func (s *shelf) Version(context.Context) (int64, error) { return s.version, s.err }

func (s *shelf) Acquire(_ context.Context, r Request) (Acquired, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	if s.answer != nil {
		return s.answer(r)
	}
	return Acquired{Now: storeTime}, nil
}

func (s *shelf) Renew(_ context.Context, held []Held) error {
	s.renewed = append(s.renewed, held)
	if s.renewing != nil {
		s.renewing(held)
	}
	return s.err
}

func (s *shelf) Release(_ context.Context, r Release) error {
	s.released = append(s.released, r)
	return s.err
}

var (
	ourTime   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	storeTime = ourTime.Add(time.Minute) // the clocks disagree
)

// stocked is a shelf of n equal accounts and a router over it.
func stocked(n int, change func(*Options)) (*shelf, *Router) {
	s := &shelf{version: 1}
	for i := range n {
		s.accounts = append(s.accounts, Account{ID: fmt.Sprintf("acc_%d", i+1), Provider: "anthropic", Weight: 10, MaxConcurrency: 5})
	}
	o := Options{
		Store: s, Providers: map[string]provider.Provider{"anthropic": vendor{"anthropic", llm.Anthropic}},
		Family: func(model string) string { return "family of " + model },
		Now:    func() time.Time { return ourTime },
	}
	if change != nil {
		change(&o)
	}
	return s, New(o)
}

func want(call string) Want {
	return Want{Call: call, Model: "m", Protocol: llm.Anthropic, Key: "key_1", Session: "s"}
}

func TestAcquireAsksInOrder(t *testing.T) {
	s, r := stocked(20, func(o *Options) { o.Patience = -1 })
	list, err := r.Candidates(t.Context(), want("c"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := r.Acquire(t.Context(), want("c"))
	if err != nil {
		t.Fatal(err)
	}
	got := s.requests[0]
	if len(got.Asks) != MaxCandidates || len(list) != 20 || s.reads != 1 {
		t.Fatalf("%d candidates, %d asks, %d reads", len(list), len(got.Asks), s.reads)
	}
	for i, a := range got.Asks {
		if a.Account != list[i].Account.ID {
			t.Errorf("ask %d is %s, candidate %s", i, a.Account, list[i].Account.ID)
		}
	}
	first := Ask{Account: list[0].Account.ID, Vendor: "anthropic", Family: "family of m", Max: 5}
	if diff := cmp.Diff(first, got.Asks[0]); diff != "" || got.Call != "c" || got.Attempt != 1 || got.Version != 1 || !got.Metered || got.Patient {
		t.Errorf("%+v (-want +got)\n%s", got, diff)
	}
	if l.Account.ID != first.Account || l.Upstream != "m" || l.Family != "family of m" || l.Attempt != 1 || l.Provider.Name() != "anthropic" {
		t.Errorf("%+v", l)
	}
}

func TestAcquireReadsAgainWhenStale(t *testing.T) {
	s, r := stocked(1, nil)
	if _, err := r.Acquire(t.Context(), want("a")); err != nil {
		t.Fatal(err)
	}
	s.accounts, s.version = []Account{{ID: "new", Provider: "anthropic", Weight: 1}}, 2
	s.answer = func(r Request) (Acquired, error) {
		if r.Version != s.version {
			return Acquired{Outcome: Stale}, nil
		}
		return Acquired{Now: storeTime}, nil
	}
	l, err := r.Acquire(t.Context(), want("b"))
	if err != nil || l.Account.ID != "new" || s.reads != 2 || len(s.requests) != 3 {
		t.Fatalf("%+v, %v after %d reads, %d requests", l, err, s.reads, len(s.requests))
	}
	s.answer = func(Request) (Acquired, error) { s.version++; return Acquired{Outcome: Stale}, nil }
	_, err = r.Acquire(t.Context(), want("c"))
	if f := fault.From(err); f.Code != fault.Busy || f.RetryAfter < time.Second {
		t.Errorf("accounts that never settle: %v", err)
	}
}

func TestNoAccount(t *testing.T) {
	s, r := stocked(1, nil)
	s.accounts[0].Models.Allow = []string{"other*"}
	for range 3 {
		_, err := r.Acquire(t.Context(), want("c"))
		if f := fault.From(err); f.Code != fault.NoAccount || !strings.Contains(f.Message, `"m"`) {
			t.Fatalf("%v", err)
		}
		if _, err := r.Candidates(t.Context(), want("c")); fault.CodeOf(err) != fault.NoAccount {
			t.Fatalf("%v", err)
		}
	}
	if s.reads != 1 || len(s.requests) != 0 {
		t.Errorf("unchanged accounts were read %d times", s.reads)
	}
	s.version, s.accounts = 2, append(s.accounts, Account{ID: "late", Provider: "anthropic", Weight: 1})
	if l, err := r.Acquire(t.Context(), want("c")); err != nil || l.Account.ID != "late" {
		t.Errorf("an account that was just made: %+v, %v", l, err)
	}
	for w, part := range map[*Want]string{
		{Model: "m", Protocol: llm.Anthropic, Account: "gone"}:  "bound to",
		{Model: "m", Protocol: llm.Anthropic, Group: "reserve"}: "group reserve",
	} {
		if _, err := r.Candidates(t.Context(), *w); fault.CodeOf(err) != fault.NoAccount || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want one that names %q", err, part)
		}
	}
}

func TestPausedAccountsAreBusy(t *testing.T) {
	s, r := stocked(2, nil)
	s.accounts[0].Paused, s.accounts[1].Weight = true, 0
	_, err := r.Acquire(t.Context(), want("c"))
	if f := fault.From(err); f.Code != fault.Busy || f.RetryAfter != restingRetry {
		t.Errorf("%v", err)
	}
}

func TestBusy(t *testing.T) {
	for name, c := range map[string]struct {
		passed []Passed
		code   fault.Code
		after  time.Duration
	}{
		"full":         {[]Passed{{Why: Full}, {Why: Full}}, fault.Busy, time.Second},
		"one is full":  {[]Passed{{Why: Cooling, Until: storeTime.Add(time.Hour)}, {Why: Full}}, fault.Busy, time.Second},
		"recovering":   {[]Passed{{Why: Recovering}}, fault.Busy, time.Second},
		"all cool":     {[]Passed{{Why: Cooling, Until: storeTime.Add(time.Minute)}, {Why: Cooling, Until: storeTime.Add(9 * time.Second)}}, fault.UpstreamBusy, 9 * time.Second},
		"about to end": {[]Passed{{Why: Cooling, Until: storeTime.Add(time.Millisecond)}}, fault.UpstreamBusy, time.Second},
	} {
		s, r := stocked(2, nil)
		s.answer = func(Request) (Acquired, error) { return Acquired{Outcome: None, Now: storeTime, Passed: c.passed}, nil }
		_, err := r.Acquire(t.Context(), want("c"))
		if f := fault.From(err); f.Code != c.code || f.RetryAfter != c.after || r.Open() != 0 {
			t.Errorf("%s: %v after %v", name, err, f.RetryAfter)
		}
	}
}

func TestStoreDown(t *testing.T) {
	down := fault.New(fault.StoreDown, "down")
	s, r := stocked(1, nil)
	s.err = down
	if _, err := r.Acquire(t.Context(), want("c")); fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("reading: %v", err)
	}
	s.err = nil
	l, err := r.Acquire(t.Context(), want("c"))
	if err != nil {
		t.Fatal(err)
	}
	s.err, s.answer = down, func(Request) (Acquired, error) { return Acquired{}, down }
	if _, err := r.Acquire(t.Context(), want("d")); fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("leasing: %v", err)
	}
	unknown := want("e")
	unknown.Account = "none"
	if _, err := r.Acquire(t.Context(), unknown); fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("looking for news: %v", err)
	}
	if err := r.Renew(t.Context()); fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("renewing: %v", err)
	}
	l.Settlement(provider.Verdict{})
	s.err, s.answer = nil, func(Request) (Acquired, error) { s.err = down; return Acquired{Outcome: Stale}, nil }
	if _, err := r.Acquire(t.Context(), want("f")); fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("reading again: %v", err)
	}
}

// A session waits for its full home account, then goes on to the next.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := stocked(3, nil)
		home := func(r Request) (Acquired, error) {
			if r.Patient {
				return Acquired{Outcome: Waits, Now: storeTime}, nil
			}
			return Acquired{Index: 1, Now: storeTime, Passed: []Passed{{Account: r.Asks[0].Account, Why: Full}}}, nil
		}
		s.answer = home
		began := time.Now()
		l, err := r.Acquire(t.Context(), want("c"))
		if err != nil || time.Since(began) < defaultPatience || time.Since(began) > defaultPatience+slowestPoll {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		if l.Account.ID != s.requests[0].Asks[1].Account || len(l.Passed) != 1 || len(s.requests) > 12 {
			t.Errorf("%s, passed %v, %d requests", l.Account.ID, l.Passed, len(s.requests))
		}

		s.answer = func(r Request) (Acquired, error) {
			if time.Since(began) < 3*time.Second {
				return home(r)
			}
			return Acquired{Now: storeTime}, nil
		}
		if l, err = r.Acquire(t.Context(), want("d")); err != nil || l.Account.ID != s.requests[0].Asks[0].Account {
			t.Errorf("the home account had room in time, but %v, %v", l, err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.answer = home
		if _, err := r.Acquire(ctx, want("e")); fault.CodeOf(err) != fault.Gone || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the client left, but %v", err)
		}
	})
}

func TestNobodyWaitsInVain(t *testing.T) {
	for name, c := range map[string]struct {
		accounts int
		change   func(*Want)
	}{
		"no session":   {2, func(w *Want) { w.Session = "" }},
		"unmetered":    {2, func(w *Want) { w.Unmetered = true }},
		"only account": {1, func(*Want) {}},
	} {
		s, r := stocked(c.accounts, nil)
		w := want("c")
		c.change(&w)
		if _, err := r.Acquire(t.Context(), w); err != nil || s.requests[0].Patient {
			t.Errorf("%s: %v, patient %v", name, err, s.requests[0].Patient)
		}
	}
}

func TestReloadReports(t *testing.T) {
	var log bytes.Buffer
	s, r := stocked(1, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	s.accounts[0].Models.Allow = []string{"m", "bad["}
	s.accounts = append(s.accounts, Account{ID: "odd", Provider: "unheard-of", Weight: 1})
	list, err := r.Candidates(t.Context(), want("c"))
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, part := range []string{"acc_1", "bad[", "odd", "unheard-of"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("%q is not in the log:\n%s", part, &log)
		}
	}
}

func TestCandidate(t *testing.T) {
	_, r := stocked(0, nil)
	a := Account{ID: "a", Provider: "anthropic", Models: ModelRules{Map: map[string]string{"star": "claude-9"}}}
	if c, err := r.Candidate(a, "star"); err != nil || c.Upstream != "claude-9" || c.Provider.Name() != "anthropic" {
		t.Errorf("%+v, %v", c, err)
	}
	a.Provider = "unheard-of"
	if _, err := r.Candidate(a, "star"); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("%v", err)
	}
}

func BenchmarkCandidates(b *testing.B) {
	for _, n := range []int{3, 16, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, r := stocked(n, nil)
			w := want("c")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Candidates(b.Context(), w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

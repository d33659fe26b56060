package pool

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/provider"
)

var failed = fault.New(fault.UpstreamFailed, "the upstream failed")

func TestSettlement(t *testing.T) {
	_, r := stocked(1, nil)
	for name, c := range map[string]struct {
		verdict provider.Verdict
		want    Release // but for ids and the end
		cools   time.Duration
	}{
		"success":            {provider.Verdict{}, Release{Healthy: true}, 0},
		"the caller's fault": {provider.Verdict{Blame: provider.ByCaller, CoolUntil: ourTime.Add(time.Hour), Err: failed}, Release{Healthy: true}, 0},
		"no cooling":         {provider.Verdict{Blame: provider.ByAccount, Scope: provider.OneFamily, Err: failed}, Release{}, 0},
		"over already":       {provider.Verdict{Blame: provider.ByAccount, CoolUntil: ourTime, Err: failed}, Release{}, 0},
		"the account":        {provider.Verdict{Blame: provider.ByAccount, CoolUntil: ourTime.Add(time.Hour), Err: failed}, Release{Reason: "the upstream failed"}, time.Hour},
		"the vendor": {
			provider.Verdict{Blame: provider.ByVendor, Scope: provider.VendorFamily, CoolUntil: ourTime.Add(time.Second)},
			Release{Scope: provider.VendorFamily, Reason: "the vendor asked for a pause"}, time.Second,
		},
	} {
		l, err := r.Acquire(t.Context(), want("c"))
		if err != nil {
			t.Fatal(err)
		}
		got := l.Settlement(c.verdict)
		if again := l.Settlement(c.verdict); again != got {
			t.Errorf("%s: settled as %+v, then as %+v", name, got, again)
		}
		c.want.Call, c.want.Account, c.want.Vendor, c.want.Attempt, c.want.Family = "c", "acc_1", "anthropic", 1, "family of m"
		ends := got.CoolUntil
		got.CoolUntil = time.Time{}
		if diff := cmp.Diff(c.want, got); diff != "" || r.Open() != 0 {
			t.Errorf("%s: %d open (-want +got)\n%s", name, r.Open(), diff)
		}
		if c.cools == 0 != ends.IsZero() {
			t.Errorf("%s: cools until %v", name, ends)
		}
		if d := ends.Sub(storeTime); c.cools > 0 && (d < c.cools*9/10 || d > c.cools*11/10) {
			t.Errorf("%s: cools for %v by the store's clock, want about %v", name, d, c.cools)
		}
	}
}

func TestJitterSpreads(t *testing.T) {
	early, late := 0, 0
	for i := range 1000 {
		switch d := jitter(time.Minute, hash64(fmt.Sprint("call", i))); {
		case d < 54*time.Second || d > 66*time.Second:
			t.Fatalf("a minute became %v", d)
		case d < 57*time.Second:
			early++
		case d > 63*time.Second:
			late++
		}
	}
	if early < 200 || late < 200 {
		t.Errorf("%d of 1000 end early, %d late", early, late)
	}
}

func TestReasonsAreShort(t *testing.T) {
	got := reason(fault.New(fault.UpstreamFailed, "%s", strings.Repeat("é", 150)+"secret end"))
	if len(got) > 200 || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	if got := reason(errors.New("dial: secret")); strings.Contains(got, "secret") {
		t.Errorf("what is no fault shows: %q", got)
	}
}

func TestNext(t *testing.T) {
	s, r := stocked(3, func(o *Options) { o.Attempts = 3 })
	l, err := r.Acquire(t.Context(), want("c"))
	if err != nil {
		t.Fatal(err)
	}
	v := provider.Verdict{Blame: provider.ByAccount, CoolUntil: ourTime.Add(time.Minute), Err: failed}
	seen := map[string]bool{l.Account.ID: true}
	for attempt := 2; attempt <= 3; attempt++ {
		prev := l
		if l, err = r.Next(t.Context(), prev, v); err != nil {
			t.Fatal(err)
		}
		got := s.requests[len(s.requests)-1]
		if got.Patient || got.Attempt != attempt || l.Attempt != attempt || seen[l.Account.ID] || len(got.Asks) != 4-attempt || r.Open() != 1 {
			t.Errorf("attempt %d: %+v on %s, %d open", attempt, got, l.Account.ID, r.Open())
		}
		if diff := cmp.Diff(prev.release(v), *got.Previous); diff != "" {
			t.Errorf("the end of attempt %d (-want +got)\n%s", attempt-1, diff)
		}
		seen[l.Account.ID] = true
	}
	requests := len(s.requests)
	if _, err := r.Next(t.Context(), l, v); !errors.Is(err, error(failed)) || len(s.requests) != requests || r.Open() != 1 {
		t.Errorf("a fourth attempt: %v", err)
	}
	l.Settlement(v)
}

func TestNextGivesUp(t *testing.T) {
	down := fault.New(fault.StoreDown, "down")
	for name, c := range map[string]struct {
		accounts int
		blame    provider.Blame
		answer   func(Request) (Acquired, error)
		want     error
	}{
		"the caller's fault": {2, provider.ByCaller, nil, failed},
		"no other account":   {1, provider.ByAccount, nil, failed},
		"others are full":    {2, provider.ByAccount, func(Request) (Acquired, error) { return Acquired{Outcome: None, Passed: []Passed{{Why: Full}}}, nil }, failed},
		"the store is down":  {2, provider.ByAccount, func(Request) (Acquired, error) { return Acquired{}, down }, down},
	} {
		s, r := stocked(c.accounts, nil)
		l, err := r.Acquire(t.Context(), want("c"))
		if err != nil {
			t.Fatal(err)
		}
		s.answer = c.answer
		if _, err := r.Next(t.Context(), l, provider.Verdict{Blame: c.blame, Err: failed}); !errors.Is(err, c.want) || r.Open() != 1 {
			t.Errorf("%s: %v, %d open", name, err, r.Open())
		}
	}
	_, r := stocked(1, nil)
	l, err := r.Acquire(t.Context(), want("c"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(t.Context(), l, provider.Verdict{Blame: provider.ByVendor}); fault.CodeOf(err) != fault.UpstreamFailed {
		t.Errorf("a verdict without an error: %v", err)
	}
}

func TestRenew(t *testing.T) {
	s, r := stocked(1, nil)
	const calls = 2*MaxRenewals + 50
	for i := range calls {
		w := want(fmt.Sprint("call_", i))
		if i == 0 {
			w.Unmetered = true
		}
		if _, err := r.Acquire(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, batch := range s.renewed {
		if len(batch) > MaxRenewals {
			t.Errorf("%d in one batch", len(batch))
		}
		for _, h := range batch {
			seen[h.Call] = true
			if h.Account != "acc_1" || h.Attempt != 1 || !h.Since.Equal(storeTime) {
				t.Errorf("%+v", h)
			}
		}
	}
	if len(seen) != calls-1 || seen["call_0"] || len(s.released) != 0 || r.Open() != calls-1 {
		t.Errorf("%d renewed, %d released, %d open", len(seen), len(s.released), r.Open())
	}
}

// A lease that ends while it is renewed does not come back.
func TestRenewOfAnEndedLease(t *testing.T) {
	s, r := stocked(1, nil)
	ends, err := r.Acquire(t.Context(), want("ends"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Acquire(t.Context(), want("stays")); err != nil {
		t.Fatal(err)
	}
	s.renewing = func([]Held) { ends.Settlement(provider.Verdict{}) }
	if err := r.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Release{{Call: "ends", Account: "acc_1", Vendor: "anthropic", Attempt: 1}}, s.released); diff != "" {
		t.Errorf("released (-want +got)\n%s", diff)
	}
}

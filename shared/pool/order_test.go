package pool

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/provider"
)

// vendor is a provider that only says what it speaks.
type vendor struct {
	name   string
	speaks llm.Protocol
}

func (v vendor) Name() string           { return v.name }
func (v vendor) Speaks() []llm.Protocol { return []llm.Protocol{v.speaks} }

func (vendor) Request(context.Context, provider.Account, provider.Outbound) (*http.Request, error) {
	return nil, fault.New(fault.NotImplemented, "not in this test")
}

func (vendor) Frames(io.Reader, bool) llm.Frames { return nil }

func (vendor) Judge(int, http.Header, []byte, time.Time) provider.Verdict { return provider.Verdict{} }

// pooled is a snapshot of n equal accounts.
func pooled(n int) *snapshot {
	s := &snapshot{version: 1}
	for i := range n {
		a := Account{ID: fmt.Sprintf("acc_%d", i+1), Provider: "anthropic", Weight: 10}
		s.entries = append(s.entries, newEntry(a, vendor{"anthropic", llm.Anthropic}))
	}
	return s
}

func session(i int) *Want {
	return &Want{Call: fmt.Sprintf("call_%d", i), Model: "m", Protocol: llm.Anthropic, Key: "key_1", Session: fmt.Sprintf("session-%d", i)}
}

const sessions = 12_000

func home(t testing.TB, s *snapshot, w *Want) string {
	order, _ := s.rank(w, nil)
	if len(order) == 0 {
		t.Fatal("no account")
	}
	return order[0].entry.account.ID
}

func TestSessionsSpreadByWeight(t *testing.T) {
	s := pooled(3)
	for i, weight := range []int{10, 30, 60} {
		s.entries[i].account.Weight = weight
	}
	first := map[string]int{}
	for i := range sessions {
		first[home(t, s, session(i))]++
	}
	for i, want := range []float64{0.1, 0.3, 0.6} {
		id := s.entries[i].account.ID
		if got := float64(first[id]) / sessions; math.Abs(got-want) > 0.01 {
			t.Errorf("%s is first for %.3f of the sessions, want %.2f", id, got, want)
		}
	}
}

// A further account takes its share, and only that moves; one that goes leaves
// every other session where it is.
func TestAnAccountMovesItsShareOnly(t *testing.T) {
	for _, n := range []int{1, 3, 10} {
		before, after := pooled(n), pooled(n+1)
		added := after.entries[n].account.ID
		moved := 0
		for i := range sessions {
			w := session(i)
			was, is := home(t, before, w), home(t, after, w)
			if was == is {
				continue
			}
			if moved++; is != added {
				t.Fatalf("%s moved from %s to %s when %s was added", w.Session, was, is, added)
			}
		}
		share, fair := float64(moved)/sessions, 1/float64(n+1)
		if share > fair+0.03 || share < fair-0.03 {
			t.Errorf("%d to %d accounts: %.3f of the sessions moved, want about %.3f", n, n+1, share, fair)
		}
	}
}

// What a lost account served spreads over all others, not onto the next in line.
func TestALostAccountSpreads(t *testing.T) {
	s := pooled(4)
	second := map[string]int{}
	for i := range sessions {
		order, _ := s.rank(session(i), nil)
		if order[0].entry.account.ID == "acc_1" {
			second[order[1].entry.account.ID]++
		}
	}
	for id, n := range second {
		if share := float64(n) * 4 / sessions; math.Abs(share-1.0/3) > 0.03 {
			t.Errorf("%s is second for %.3f of them", id, share)
		}
	}
}

func TestSessionsAreScopedToTheirKey(t *testing.T) {
	s := pooled(8)
	same := 0
	for i := range 1000 {
		a, b := session(i), session(i)
		b.Key, b.Call = "key_2", "another"
		if home(t, s, a) == home(t, s, b) {
			same++
		}
		c := session(i)
		c.Call = "another"
		if home(t, s, a) != home(t, s, c) {
			t.Fatalf("%s: another call of the session went elsewhere", a.Session)
		}
	}
	if same > 200 { // an eighth by chance
		t.Errorf("%d of 1000 sessions of two keys share a home", same)
	}
	first := map[string]int{}
	for i := range 1000 {
		first[home(t, s, &Want{Call: fmt.Sprint("call", i), Model: "m", Protocol: llm.Anthropic, Key: "key_1"})]++
	}
	if len(first) != 8 {
		t.Errorf("calls without a session went to %v", first)
	}
}

func TestRank(t *testing.T) {
	build := func(change func(a *Account)) entry {
		a := Account{ID: "a", Provider: "anthropic", Weight: 1, Groups: []string{"blue"}}
		change(&a)
		return newEntry(a, vendor{a.Provider, llm.Protocol(a.Provider)})
	}
	s := &snapshot{entries: []entry{
		build(func(a *Account) { a.ID, a.Priority = "low", 5 }),
		build(func(a *Account) { a.ID, a.Priority, a.Models.Allow = "high", -1, []string{"claude-[", "claude-*"} }),
		build(func(a *Account) { a.ID, a.Paused = "paused", true }),
		build(func(a *Account) { a.ID, a.Weight, a.Groups = "drained", 0, nil }),
		build(func(a *Account) { a.ID, a.Provider = "other", "gemini" }),
		build(func(a *Account) {
			a.ID, a.Models = "mapped", ModelRules{Allow: []string{"none"}, Map: map[string]string{"star": "claude-9"}}
		}),
	}}
	for name, c := range map[string]struct {
		want    Want
		tried   []string
		ids     string
		resting int
	}{
		"by priority":           {Want{Model: "claude-1"}, nil, "high low", 2},
		"tried":                 {Want{Model: "claude-1"}, []string{"high"}, "low", 2},
		"not allowed":           {Want{Model: "gpt"}, nil, "low", 2},
		"mapped":                {Want{Model: "star"}, nil, "mapped low", 2},
		"group":                 {Want{Model: "claude-1", Group: "blue"}, nil, "high low", 1},
		"no such group":         {Want{Model: "claude-1", Group: "red"}, nil, "", 0},
		"bound":                 {Want{Model: "claude-1", Account: "low"}, nil, "low", 0},
		"bound to a drained":    {Want{Model: "claude-1", Account: "drained"}, nil, "drained", 0},
		"bound to a paused":     {Want{Model: "claude-1", Account: "paused"}, nil, "", 1},
		"bound to a disallowed": {Want{Model: "gpt", Account: "high"}, nil, "", 0},
		"another protocol":      {Want{Model: "claude-1", Protocol: "gemini"}, nil, "other", 0},
	} {
		if c.want.Protocol == "" {
			c.want.Protocol = llm.Anthropic
		}
		order, resting := s.rank(&c.want, c.tried)
		var ids []string
		for _, o := range order {
			ids = append(ids, o.entry.account.ID)
		}
		if got := strings.Join(ids, " "); got != c.ids || resting != c.resting {
			t.Errorf("%s: %q, %d resting; want %q, %d", name, got, resting, c.ids, c.resting)
		}
	}
}

func TestModelRules(t *testing.T) {
	r := ModelRules{Allow: []string{"claude-*", "gpt-5"}, Map: map[string]string{"star": "claude-9"}}
	for model, want := range map[string]string{"claude-1": "claude-1", "gpt-5": "gpt-5", "gpt-50": "", "star": "claude-9", "": ""} {
		got := ""
		if r.Serve(model) {
			got = r.upstream(model)
		}
		if got != want {
			t.Errorf("%q is served as %q, want %q", model, got, want)
		}
	}
	if bad := (&ModelRules{Allow: []string{"ok*", "bad["}}).malformed(); bad != "bad[" {
		t.Errorf("malformed: %q", bad)
	}
}

func TestUnitIsOpen(t *testing.T) {
	for _, h := range []uint64{0, 1, math.MaxUint64} {
		if u := unit(h); u <= 0 || u >= 1 {
			t.Errorf("unit(%d) = %v", h, u)
		}
	}
}

// The order of a session is the same in every process and version.
func TestOrderIsStable(t *testing.T) {
	var got []string
	order, _ := pooled(5).rank(session(7), nil)
	for _, o := range order {
		got = append(got, o.entry.account.ID)
	}
	if diff := cmp.Diff([]string{"acc_4", "acc_1", "acc_2", "acc_5", "acc_3"}, got); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkRank(b *testing.B) {
	for _, n := range []int{3, 16, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, w := pooled(n), session(1)
			b.ReportAllocs()
			for b.Loop() {
				s.rank(w, nil)
			}
		})
	}
}

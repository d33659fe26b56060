// Package latetest is what every late queue must do, as tests that its adapters run:
// what was put comes back whole until it was applied, across restarts, and whatever
// the store does meanwhile. A queue may give a settlement twice and in any order.
package latetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/money"
)

// Queue is a late queue. One that holds something of the process is an io.Closer
// too.
type Queue interface {
	Put(ctx context.Context, s admission.Settlement) error
	Drain(ctx context.Context, apply func(context.Context, admission.Settlement) error) (int, error)
}

// Opener opens the queue that is kept in one place, as often as it is closed.
type Opener func() (Queue, error)

// patience is how long a queue may take to give what it holds.
const patience = 10 * time.Second

// Run runs the tests; place is called for each of them and gives an empty place.
func Run(t *testing.T, place func(t *testing.T) Opener) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Opener){
		"an empty queue":                 empty,
		"whole and once":                 wholeAndOnce,
		"across restarts":                acrossRestarts,
		"a store that is down":           storeDown,
		"a store that is slow":           storeSlow,
		"one that is refused":            refused,
		"a process that ends":            cancelled,
		"put and drained at once":        atOnce,
		"what could never be applied":    incomplete,
		"a context that is over already": over,
	} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

// Settlement is the n-th settlement of a test.
func Settlement(n int) admission.Settlement {
	return admission.Settlement{
		Call: fmt.Sprintf("call_%d", n), Partition: n % 64, Cost: money.Nanos(n) * 1_000_003, Tokens: int64(n),
		Plan: admission.Plan{Shares: []admission.Share{{
			Owner: "key_1", Version: "2", Held: []string{"held"},
			Counters: []admission.Counter{{Field: "day", Label: "20260102", Held: "held", Max: "5000000000"}},
			Windows:  []admission.Span{{Name: "w5", Slot: 30_000, Requests: "10"}},
		}}},
		Row: json.RawMessage(fmt.Sprintf(`{"call":"call_%d","tags":{"a":"<\u00fc \u0001\uffff>"}}`, n)),
	}
}

// Sink is a store: it keeps what is applied.
type Sink struct {
	mu   sync.Mutex
	seen map[string]admission.Settlement
	runs map[string]int

	// Refuse says what to end with instead; nil takes everything.
	Refuse func(admission.Settlement) error
}

// Apply takes a settlement, unless Refuse errs.
func (s *Sink) Apply(_ context.Context, got admission.Settlement) error {
	if s.Refuse != nil {
		if err := s.Refuse(got); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen, s.runs = map[string]admission.Settlement{}, map[string]int{}
	}
	s.seen[got.Call] = got
	s.runs[got.Call]++
	return nil
}

// Len is how many settlements were applied, each counted once.
func (s *Sink) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// Want fails the test unless these settlements were applied, as they were put, and
// no others.
func (s *Sink) Want(t testing.TB, numbers ...int) {
	t.Helper()
	want := map[string]string{}
	for _, n := range numbers {
		want[Settlement(n).Call] = asJSON(t, Settlement(n))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[string]string{}
	for call, settlement := range s.seen {
		got[call] = asJSON(t, settlement)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
}

// Once fails the test if something was applied twice.
func (s *Sink) Once(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for call, n := range s.runs {
		if n != 1 {
			t.Errorf("%s was applied %d times", call, n)
		}
	}
}

// asJSON is a settlement without what its JSON leaves out.
func asJSON(t testing.TB, s admission.Settlement) string {
	t.Helper()
	var row any
	if err := json.Unmarshal(s.Row, &row); err != nil {
		t.Fatalf("row %q: %v", s.Row, err)
	}
	s.Row = nil
	b, err := json.Marshal([]any{s, row})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Put puts settlements.
func Put(t testing.TB, q Queue, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		if err := q.Put(t.Context(), Settlement(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// Drain drains until the sink has so many.
func Drain(t testing.TB, q Queue, s *Sink, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if _, err := q.Drain(t.Context(), s.Apply); err != nil {
			t.Fatal(err)
		}
		if s.Len() >= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d settlements after %s, want %d", s.Len(), patience, want)
		}
	}
}

// gone fails the test unless nothing is left.
func gone(t *testing.T, q Queue) {
	t.Helper()
	var rest Sink
	if n, err := q.Drain(t.Context(), rest.Apply); n != 0 || err != nil {
		t.Errorf("Drain = %d, %v; want nothing left", n, err)
	}
	rest.Want(t)
}

func open(t *testing.T, o Opener) Queue {
	t.Helper()
	q, err := o()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, q) })
	return q
}

func shut(t *testing.T, q Queue) {
	t.Helper()
	if c, ok := q.(io.Closer); ok {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func empty(t *testing.T, o Opener) { gone(t, open(t, o)) }

func wholeAndOnce(t *testing.T, o Opener) {
	q := open(t, o)
	Put(t, q, 1, 2, 3)
	var s Sink
	Drain(t, q, &s, 3)
	s.Want(t, 1, 2, 3)
	gone(t, q)
}

func acrossRestarts(t *testing.T, o Opener) {
	q := open(t, o)
	Put(t, q, 1)
	shut(t, q)
	q = open(t, o)
	Put(t, q, 2)
	var s Sink
	Drain(t, q, &s, 2)
	s.Want(t, 1, 2)
	shut(t, q)
	gone(t, open(t, o))
}

// Down is a sink that refuses with err once it has so many.
func Down(after int, err error) *Sink {
	s := &Sink{}
	s.Refuse = func(admission.Settlement) error {
		if s.Len() >= after {
			return err
		}
		return nil
	}
	return s
}

func stops(t *testing.T, o Opener, err error) {
	t.Helper()
	q := open(t, o)
	Put(t, q, 1, 2, 3, 4, 5)
	s := Down(2, err)
	applied := 0
	for deadline := time.Now().Add(patience); ; {
		n, got := q.Drain(t.Context(), s.Apply)
		applied += n
		if errors.Is(got, err) {
			break
		}
		if got != nil || time.Now().After(deadline) {
			t.Fatalf("Drain = %v, want %v", got, err)
		}
	}
	if applied != 2 || s.Len() != 2 {
		t.Errorf("%d applied, and %d said to be, want 2", s.Len(), applied)
	}
	s.Refuse = nil
	Drain(t, q, s, 5)
	s.Want(t, 1, 2, 3, 4, 5)
	gone(t, q)
}

func storeDown(t *testing.T, o Opener) {
	stops(t, o, fault.Wrap(fault.StoreDown, io.ErrUnexpectedEOF, "the ledger does not answer"))
}

func storeSlow(t *testing.T, o Opener) {
	stops(t, o, fmt.Errorf("a command: %w", context.DeadlineExceeded))
}

func refused(t *testing.T, o Opener) {
	q := open(t, o)
	Put(t, q, 1, 2, 3)
	s := &Sink{Refuse: func(got admission.Settlement) error {
		if got.Call == Settlement(2).Call {
			return errors.New("a script failed")
		}
		return nil
	}}
	Drain(t, q, s, 2)
	s.Want(t, 1, 3)
}

func cancelled(t *testing.T, o Opener) {
	q := open(t, o)
	Put(t, q, 1, 2, 3)
	ctx, cancel := context.WithCancel(t.Context())
	var s Sink
	n, err := q.Drain(ctx, func(ctx context.Context, got admission.Settlement) error {
		cancel()
		return s.Apply(ctx, got)
	})
	if n != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("Drain = %d, %v; want 1 and that it was cancelled", n, err)
	}
	Drain(t, q, &s, 3)
	s.Want(t, 1, 2, 3)
}

func over(t *testing.T, o Opener) {
	q := open(t, o)
	Put(t, q, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var s Sink
	if n, err := q.Drain(ctx, s.Apply); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Drain = %d, %v; want 0 and that it was cancelled", n, err)
	}
	Drain(t, q, &s, 1)
	s.Want(t, 1)
}

func atOnce(t *testing.T, o Opener) {
	const writers, each = 4, 15
	q := open(t, o)
	var s Sink
	var wg sync.WaitGroup
	var all []int
	for i := range writers {
		for n := range each {
			all = append(all, i*each+n)
		}
		wg.Go(func() {
			for n := range each {
				if err := q.Put(t.Context(), Settlement(i*each+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() { Drain(t, q, &s, 1) })
	wg.Wait()
	Drain(t, q, &s, len(all))
	s.Want(t, all...)
	gone(t, q)
}

func incomplete(t *testing.T, o Opener) {
	q := open(t, o)
	unreadable := Settlement(1)
	unreadable.Row = json.RawMessage(`{`)
	for name, s := range map[string]admission.Settlement{"no call": {Tokens: 1}, "a row that is no JSON": unreadable} {
		if err := q.Put(t.Context(), s); err == nil || fault.CodeOf(err) != fault.Internal {
			t.Errorf("Put with %s = %v", name, err)
		}
	}
	gone(t, q)
}

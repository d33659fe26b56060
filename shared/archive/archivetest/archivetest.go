// Package archivetest is what every config log must do, as tests that its adapters
// run: entries come back in the order they were written and numbered from 1, across
// restarts and concurrent writers, and what cannot be replayed is not taken.
package archivetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/archive"
	"sluice/shared/fault"
)

// Log is a config log.
type Log interface {
	Append(ctx context.Context, e archive.Entry) error
	Replay(ctx context.Context, fn func(archive.Entry) error) error
	Close() error
}

// Opener opens the log that is kept in one place, as often as it is closed.
type Opener func() (Log, error)

// Run runs the tests; place is called for each of them and gives an empty place.
func Run(t *testing.T, place func(t *testing.T) Opener) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Opener){
		"an empty log":        empty,
		"across restarts":     acrossRestarts,
		"numbers":             numbersAreTheLogs,
		"incomplete entries":  incompleteEntries,
		"a closed log":        closed,
		"replay stops":        replayStops,
		"replay is a picture": replayIsAPicture,
		"concurrent appends":  concurrentAppends,
	} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

// Entry is the n-th entry of a test, without its number.
func Entry(n int) archive.Entry {
	return archive.Entry{
		At: time.Date(2026, 1, 2, 3, 4, n, 0, time.UTC), Actor: "admin", Action: archive.Put, Kind: archive.Key,
		ID: fmt.Sprintf("key_%d", n), Version: int64(n), Sealed: []byte{1, byte(n)},
	}
}

// Numbered are the entries as a log gives them back when it holds nothing else.
func Numbered(entries ...archive.Entry) []archive.Entry {
	for i := range entries {
		entries[i].Seq = int64(i + 1)
	}
	return entries
}

// Add appends entries.
func Add(t testing.TB, l Log, entries ...archive.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// Replayed are the entries in a log.
func Replayed(t testing.TB, l Log) []archive.Entry {
	t.Helper()
	var got []archive.Entry
	err := l.Replay(t.Context(), func(e archive.Entry) error { got = append(got, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// open opens a log until the test ends.
func open(t *testing.T, o Opener) Log {
	t.Helper()
	l, err := o()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a test may have closed it
	return l
}

func want(t *testing.T, l Log, entries ...archive.Entry) {
	t.Helper()
	if diff := cmp.Diff(entries, Replayed(t, l)); diff != "" {
		t.Errorf("replay (-want +got):\n%s", diff)
	}
}

func empty(t *testing.T, o Opener) { want(t, open(t, o)) }

func acrossRestarts(t *testing.T, o Opener) {
	l := open(t, o)
	Add(t, l, Entry(1), Entry(2))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	gone := archive.Entry{At: Entry(3).At, Actor: "admin", Action: archive.Delete, Kind: archive.Key, ID: "key_1", Version: 1}
	Add(t, l, gone)
	want(t, l, Numbered(Entry(1), Entry(2), gone)...)
}

func numbersAreTheLogs(t *testing.T, o Opener) {
	l := open(t, o)
	e := Entry(1)
	e.Seq = 7
	Add(t, l, e, Entry(2))
	want(t, l, Numbered(Entry(1), Entry(2))...)
}

func incompleteEntries(t *testing.T, o Opener) {
	l := open(t, o)
	for name, e := range map[string]archive.Entry{
		"no record":    {Action: archive.Put, Kind: archive.Key, Sealed: []byte{1}},
		"unknown kind": {Action: archive.Put, Kind: "x", ID: "a", Sealed: []byte{1}},
		"no image":     {Action: archive.Put, Kind: archive.User, ID: "a"},
		"no action":    {Kind: archive.Team, ID: "a", Sealed: []byte{1}},
	} {
		if err := l.Append(t.Context(), e); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	want(t, l)
}

func closed(t *testing.T, o Opener) {
	l := open(t, o)
	Add(t, l, Entry(1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := l.Append(t.Context(), Entry(2))
		if f := fault.From(err); err == nil || f.Code != fault.StoreDown || f.Message != "the config log cannot be written; nothing was changed" {
			t.Errorf("Append to a closed log = %v", err)
		}
	}
	want(t, open(t, o), Numbered(Entry(1))...)
}

func replayStops(t *testing.T, o Opener) {
	l := open(t, o)
	Add(t, l, Entry(1), Entry(2))
	stop := errors.New("stop")
	if err := l.Replay(t.Context(), func(archive.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Replay = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := l.Replay(ctx, func(archive.Entry) error { seen++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("Replay = %v after %d entries", err, seen)
	}
}

func replayIsAPicture(t *testing.T, o Opener) {
	l := open(t, o)
	Add(t, l, Entry(1), Entry(2))
	seen := 0
	err := l.Replay(t.Context(), func(archive.Entry) error {
		seen++
		return l.Append(t.Context(), Entry(2+seen))
	})
	if err != nil || seen != 2 {
		t.Errorf("Replay = %v after %d entries, want the 2 there were", err, seen)
	}
	want(t, l, Numbered(Entry(1), Entry(2), Entry(3), Entry(4))...)
}

func concurrentAppends(t *testing.T, o Opener) {
	const writers, each = 8, 5
	l := open(t, o)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				if err := l.Append(t.Context(), Entry(i*each+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for i, e := range Replayed(t, l) {
		if e.Seq != int64(i+1) || seen[e.ID] {
			t.Fatalf("entry %d has number %d and is %s", i, e.Seq, e.ID)
		}
		seen[e.ID] = true
	}
	if len(seen) != writers*each {
		t.Errorf("%d entries, want %d", len(seen), writers*each)
	}
}

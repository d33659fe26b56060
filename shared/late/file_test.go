package late_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/late"
	"sluice/shared/late/latetest"
)

// journal is a log that can be read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func logger() (*slog.Logger, *journal) {
	j := &journal{}
	return slog.New(slog.NewJSONHandler(j, nil)), j
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t testing.TB, dir string, log *slog.Logger) *late.File {
	t.Helper()
	f, err := late.OpenFile(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, f) })
	return f
}

func closed(t testing.TB, f *late.File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// names are the files in a directory.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func wantFiles(t testing.TB, dir string, want ...string) {
	t.Helper()
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}

func read(t testing.TB, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t testing.TB, text string, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	first  = "late-000000000001.jsonl"
	second = "late-000000000002.jsonl"
)

// lines are what a queue writes for settlements.
func lines(t testing.TB, numbers ...int) string {
	t.Helper()
	dir := t.TempDir()
	f := open(t, dir, quiet())
	latetest.Put(t, f, numbers...)
	closed(t, f)
	return read(t, dir, first)
}

func TestConformance(t *testing.T) {
	latetest.Run(t, func(t *testing.T) latetest.Opener {
		dir := filepath.Join(t.TempDir(), "made", "here")
		return func() (latetest.Queue, error) { return late.OpenFile(dir, quiet()) }
	})
}

func TestItsFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "late")
	f := open(t, dir, quiet())
	if n, err := f.Drain(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("Drain of nothing = %d, %v", n, err)
	}
	wantFiles(t, dir, first)
	latetest.Put(t, f, 1, 2)
	if f.Len() != 2 {
		t.Errorf("Len = %d, want 2", f.Len())
	}
	for line := range strings.Lines(read(t, dir, first)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("%q is no JSON", line)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, first)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v; want mode 0600", info, err)
	}
	var s latetest.Sink
	if n, err := f.Drain(t.Context(), s.Apply); n != 2 || err != nil {
		t.Errorf("Drain = %d, %v", n, err)
	}
	wantFiles(t, dir)
	latetest.Put(t, f, 3)
	wantFiles(t, dir, first)
	closed(t, f)
	wantFiles(t, dir, first)
	f = open(t, dir, quiet())
	wantFiles(t, dir, first, second)
	if f.Len() != 1 {
		t.Errorf("Len = %d after a restart, want 1", f.Len())
	}
	closed(t, f)
	wantFiles(t, dir, first)
}

func TestOldestFirstAndOnce(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, quiet())
	var order []string
	after, limit := 0, 0
	apply := func(_ context.Context, s admission.Settlement) error {
		if after++; after > limit {
			return fault.New(fault.StoreDown, "down")
		}
		order = append(order, s.Call)
		return nil
	}
	var want []string
	for round := range 6 {
		latetest.Put(t, f, 2*round, 2*round+1)
		want = append(want, fmt.Sprintf("call_%d", 2*round), fmt.Sprintf("call_%d", 2*round+1))
		after, limit = 0, 1
		if n, err := f.Drain(t.Context(), apply); n != 1 || fault.CodeOf(err) != fault.StoreDown {
			t.Errorf("Drain = %d, %v", n, err)
		}
		if got := names(t, dir); len(got) > 2 {
			t.Errorf("%d files while the store is down: %q", len(got), got)
		}
		if round == 3 { // what was applied is not applied again after a restart
			closed(t, f)
			f = open(t, dir, quiet())
		}
	}
	if f.Len() != 6 {
		t.Errorf("Len = %d, want 6", f.Len())
	}
	after, limit = 0, 100
	if n, err := f.Drain(t.Context(), apply); n != 6 || err != nil {
		t.Errorf("Drain = %d, %v", n, err)
	}
	if !slices.Equal(order, want) {
		t.Errorf("applied %q, want %q", order, want)
	}
}

// A store that is down for long leaves no trace in the files.
func TestNothingAppliedNothingMarked(t *testing.T) {
	dir := t.TempDir()
	text := lines(t, 1, 2)
	marked := text + late.Mark(strings.IndexByte(text, '\n')+1)
	write(t, marked, dir, first)
	f := open(t, dir, quiet())
	down := latetest.Down(0, fault.New(fault.StoreDown, "down"))
	for range 3 {
		if n, err := f.Drain(t.Context(), down.Apply); n != 0 || fault.CodeOf(err) != fault.StoreDown {
			t.Errorf("Drain = %d, %v", n, err)
		}
	}
	if got := read(t, dir, first); got != marked {
		t.Errorf("the file became %q, was %q", got, marked)
	}
}

func TestOldestFirstAcrossProcesses(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, quiet()), open(t, dir, quiet())
	latetest.Put(t, a, 1)
	latetest.Put(t, b, 2)
	down := latetest.Down(0, fault.New(fault.StoreDown, "down"))
	if _, err := b.Drain(t.Context(), down.Apply); fault.CodeOf(err) != fault.StoreDown {
		t.Error(err)
	}
	a.Abandon()
	var order []string
	n, err := b.Drain(t.Context(), func(_ context.Context, s admission.Settlement) error {
		order = append(order, s.Call)
		return nil
	})
	if n != 2 || err != nil || !slices.Equal(order, []string{"call_1", "call_2"}) {
		t.Errorf("Drain = %d, %v: %q", n, err, order)
	}
}

// A file is found by whoever looks for leftovers before its maker has locked it.
func TestManyProcessesComeAndGo(t *testing.T) {
	const processes, lives = 6, 25
	dir := t.TempDir()
	var s latetest.Sink
	var wg sync.WaitGroup
	for p := range processes {
		wg.Go(func() {
			for n := range lives {
				f, err := late.OpenFile(dir, quiet())
				if err != nil {
					t.Error(err)
					return
				}
				if err := f.Put(t.Context(), latetest.Settlement(p*lives+n)); err != nil {
					t.Error(err)
				}
				if n%3 == 0 {
					if _, err := f.Drain(t.Context(), s.Apply); err != nil {
						t.Error(err)
					}
				}
				closed(t, f)
			}
		})
	}
	wg.Wait()
	latetest.Drain(t, open(t, dir, quiet()), &s, processes*lives)
	s.Once(t)
}

func TestLongDrainIsMarked(t *testing.T) {
	dir := t.TempDir()
	const many = 450
	text := lines(t, 1)
	write(t, strings.Repeat(text, many), dir, first)
	f := open(t, dir, quiet())
	n := 0
	_, err := f.Drain(t.Context(), func(context.Context, admission.Settlement) error {
		if n++; n == many-1 {
			copied := t.TempDir() // the disk as a kill leaves it at this point
			write(t, read(t, dir, first), copied, first)
			if g := open(t, copied, quiet()); g.Len() > 110 {
				t.Errorf("%d of %d wait after a kill near the end", g.Len(), many)
			}
		}
		return nil
	})
	if err != nil || n != many {
		t.Errorf("%d applied, %v", n, err)
	}
}

func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, quiet()), open(t, dir, quiet())
	wantFiles(t, dir, first, second)
	latetest.Put(t, a, 1)
	latetest.Put(t, b, 2)
	var s latetest.Sink
	latetest.Drain(t, b, &s, 1)
	s.Want(t, 2) // the other lives, and drains its own
	a.Abandon()
	latetest.Drain(t, b, &s, 2)
	s.Want(t, 1, 2)
	s.Once(t)
	wantFiles(t, dir)
}

func TestClosed(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, quiet())
	latetest.Put(t, f, 1)
	closed(t, f)
	closed(t, f)
	if err := f.Put(t.Context(), latetest.Settlement(2)); fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("Put = %v", err)
	}
	var s latetest.Sink
	if n, err := f.Drain(t.Context(), s.Apply); n != 0 || err == nil {
		t.Errorf("Drain = %d, %v", n, err)
	}
	latetest.Drain(t, open(t, dir, quiet()), &s, 1)
	s.Want(t, 1)
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, "", file)
	unreadable := t.TempDir()
	if err := os.Mkdir(filepath.Join(unreadable, first), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, unreadable} {
		if _, err := late.OpenFile(dir, quiet()); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("OpenFile(%s) = %v, want an error that names it", dir, err)
		}
	}
}

// What cannot be read does not keep the rest waiting.
func TestUnreadableNeighbour(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, quiet())
	latetest.Put(t, f, 1)
	if err := os.Mkdir(filepath.Join(dir, second), 0o700); err != nil {
		t.Fatal(err)
	}
	var s latetest.Sink
	n, err := f.Drain(t.Context(), s.Apply)
	if n != 1 || err == nil || fault.CodeOf(err) != fault.Internal || !strings.Contains(err.Error(), second) {
		t.Errorf("Drain = %d, %v; want 1 and what cannot be read", n, err)
	}
	s.Want(t, 1)
}

func BenchmarkPut(b *testing.B) {
	s := latetest.Settlement(1)
	run := func(b *testing.B, put func(*late.File)) {
		f := open(b, b.TempDir(), quiet())
		b.ReportAllocs()
		put(f)
		b.StopTimer()
		if f.Len() != b.N {
			b.Errorf("Len = %d, want %d", f.Len(), b.N)
		}
	}
	b.Run("one caller", func(b *testing.B) {
		run(b, func(f *late.File) {
			for range b.N {
				if err := f.Put(b.Context(), s); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("64 callers a processor", func(b *testing.B) {
		run(b, func(f *late.File) {
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := f.Put(b.Context(), s); err != nil {
						b.Error(err)
					}
				}
			})
		})
	})
}

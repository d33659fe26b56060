package late_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/late"
	"sluice/shared/late/latetest"
)

// life is a queue that is put into, drained, killed and opened again at random, on a
// disk that fails at times, and what has to become of it.
type life struct {
	rand  *rand.Rand
	dir   string
	disk  *disk
	f     *late.File
	next  int
	kept  []string        // acknowledged, in order
	tried map[string]bool // not acknowledged: may be applied, need not

	mu      sync.Mutex
	applied []string // in order of the first time each was
	seen    map[string]int
	budget  int // settlements that the store takes until it is down
}

func (l *life) apply(_ context.Context, s admission.Settlement) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.budget == 0 {
		return fault.New(fault.StoreDown, "down")
	}
	l.budget--
	if l.seen[s.Call]++; l.seen[s.Call] == 1 {
		l.applied = append(l.applied, s.Call)
	}
	return nil
}

func (l *life) put(t *testing.T) {
	s := latetest.Settlement(l.next)
	l.next++
	if err := l.f.Put(t.Context(), s); err != nil {
		l.tried[s.Call] = true
		return
	}
	l.kept = append(l.kept, s.Call)
}

func (l *life) drain(t *testing.T, budget int) {
	l.mu.Lock()
	l.budget = budget
	l.mu.Unlock()
	if _, err := l.f.Drain(t.Context(), l.apply); err != nil && fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("Drain = %v", err)
	}
}

func (l *life) step(t *testing.T) {
	switch l.rand.IntN(12) {
	case 0: // the process dies, and another begins
		l.f.Abandon()
		l.repair()
		l.f = l.disk.open(t, l.dir, quiet())
	case 1: // it ends in order
		l.repair()
		closed(t, l.f)
		l.f = l.disk.open(t, l.dir, quiet())
	case 2: // the disk is full, or broken
		l.disk.set(func(d *disk) {
			switch l.rand.IntN(3) {
			case 0:
				d.room = l.rand.IntN(900)
			case 1:
				d.sync = syscall.EIO
			default:
				d.room, d.truncate = l.rand.IntN(900), syscall.EIO
			}
		})
	case 3, 4:
		l.repair()
	case 5, 6:
		l.drain(t, l.rand.IntN(4))
	case 7: // both at once
		budget := l.rand.IntN(4)
		var wg sync.WaitGroup
		wg.Go(func() { l.drain(t, budget) })
		l.put(t)
		l.put(t)
		wg.Wait()
	default:
		l.put(t)
	}
}

func (l *life) repair() {
	l.disk.set(func(d *disk) { d.room, d.sync, d.truncate = -1, nil, nil })
}

// check sees that everything was applied: nothing that was acknowledged is missing,
// nothing else is there, and the order is that of Put.
func (l *life) check(t *testing.T) {
	kept := slices.DeleteFunc(slices.Clone(l.applied), func(call string) bool { return l.tried[call] })
	if !slices.Equal(kept, l.kept) {
		t.Errorf("applied %v\nput     %v", kept, l.kept)
	}
	if l.f.Len() != 0 {
		t.Errorf("%d wait at the end", l.f.Len())
	}
}

func TestNothingIsLost(t *testing.T) {
	const lives, steps = 24, 80
	for seed := range uint64(lives) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			l := &life{
				rand: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), disk: &disk{room: -1, fast: true},
				tried: map[string]bool{}, seen: map[string]int{},
			}
			l.f = l.disk.open(t, l.dir, quiet())
			for range steps {
				l.step(t)
			}
			l.repair()
			l.drain(t, -1)
			l.check(t)
			closed(t, l.f)
			wantFiles(t, l.dir)
		})
	}
}

// childDir names the queue of a process that this test starts of itself.
const childDir = "LATE_TEST_CHILD_DIR"

// TestMain is the process that TestKill kills, when it is asked to be.
func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	f, err := late.OpenFile(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for writer := range 4 {
		wg.Go(func() {
			for n := writer; ; n += 4 {
				if err := f.Put(context.Background(), latetest.Settlement(n)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Println("put", latetest.Settlement(n).Call)
			}
		})
	}
	for {
		taken := 0
		_, err := f.Drain(context.Background(), func(_ context.Context, s admission.Settlement) error {
			if taken++; taken == 30 {
				return fault.New(fault.StoreDown, "down")
			}
			fmt.Println("applied", s.Call)
			return nil
		})
		if err != nil && fault.CodeOf(err) != fault.StoreDown {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// Processes are killed while they put and drain at full speed: what one said it had
// put is applied by it or by the next.
func TestKill(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for round := range 4 {
		put, applied := killed(t, self, dir, 150+90*round)
		f := open(t, dir, quiet())
		if _, err := f.Drain(t.Context(), func(_ context.Context, s admission.Settlement) error {
			applied[s.Call] = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for call := range put {
			if !applied[call] {
				t.Errorf("round %d: %s was put and is lost", round, call)
			}
		}
		closed(t, f)
		wantFiles(t, dir)
	}
}

// killed runs a process until it has said so many lines, and returns what it put
// and what it applied.
func killed(t *testing.T, self, dir string, lines int) (put, applied map[string]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	put, applied = map[string]bool{}, map[string]bool{}
	said := 0
	for in := bufio.NewScanner(out); in.Scan(); {
		what, call, _ := strings.Cut(in.Text(), " ")
		switch what {
		case "put":
			put[call] = true
		case "applied":
			applied[call] = true
		}
		if said++; said == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); !ok || complaint.Len() > 0 {
		t.Fatalf("the process ended with %v: %s", err, &complaint)
	}
	return put, applied
}

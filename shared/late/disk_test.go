package late_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sluice/shared/fault"
	"sluice/shared/late"
	"sluice/shared/late/latetest"
)

func makeDir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func removeDir(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// disk fails as a test wants.
type disk struct {
	mu                    sync.Mutex
	room                  int // bytes that can still be written; below 0 = no limit
	write, sync, truncate error
	syncs                 int
	fast                  bool // syncs are only said to be done
	onSync                func()
}

func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *disk) open(t *testing.T, dir string, log *slog.Logger) *late.File {
	t.Helper()
	f, err := late.OpenOn(dir, log, func(f *os.File) late.Handle { return &faulty{File: f, disk: d} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, f) })
	return f
}

// faulty is a file of a disk.
type faulty struct {
	*os.File
	disk *disk
}

func (f *faulty) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.write != nil {
		return 0, f.disk.write
	}
	if f.disk.room < 0 {
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:min(len(p), f.disk.room)])
	f.disk.room -= n
	if err == nil && n < len(p) {
		err = &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return n, err
}

func (f *faulty) Sync() error {
	f.disk.mu.Lock()
	failure, then, fast := f.disk.sync, f.disk.onSync, f.disk.fast
	f.disk.syncs++
	f.disk.mu.Unlock()
	if then != nil {
		then()
	}
	if fast || failure != nil {
		return failure
	}
	return f.File.Sync()
}

func (f *faulty) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.truncate != nil {
		return f.disk.truncate
	}
	return f.File.Truncate(size)
}

// full fills a queue's disk, and sees that the queue says so and works again when
// there is room.
func full(t *testing.T, f *late.File, dir string, fill, makeRoom func()) {
	t.Helper()
	latetest.Put(t, f, 1)
	fill()
	before := f.Len()
	for range 3 {
		err := f.Put(t.Context(), latetest.Settlement(2))
		if fault.CodeOf(err) != fault.StoreDown || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Put to a full disk = %v", err)
		}
		for _, want := range []string{"no space left on device", dir, "the settlement was not kept"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v lacks %q", err, want)
			}
		}
		if f.Len() != before {
			t.Errorf("Len = %d, want %d", f.Len(), before)
		}
	}
	makeRoom()
	latetest.Put(t, f, 3)
}

func TestFullDisk(t *testing.T) {
	for name, tt := range map[string]struct {
		room           int
		sync, truncate error
		want           []int
		told           string
	}{
		"a line is cut":           {room: 17, want: []int{1, 3}},
		"a line cannot be cut":    {room: 17, truncate: syscall.EIO, want: []int{1, 3}, told: "cut short"},
		"known at the sync":       {room: -1, sync: syscall.ENOSPC, want: []int{1, 3}},
		"a whole line stays once": {room: -1, sync: syscall.ENOSPC, truncate: syscall.EIO, want: []int{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := &disk{room: -1}
			f := d.open(t, dir, quiet())
			full(t, f, dir, func() {
				d.set(func(d *disk) { d.room, d.sync, d.truncate = tt.room, tt.sync, tt.truncate })
			}, func() {
				d.set(func(d *disk) { d.room, d.sync, d.truncate = -1, nil, nil })
			})
			closed(t, f)
			log, told := logger()
			f = open(t, dir, log)
			var s latetest.Sink
			latetest.Drain(t, f, &s, len(tt.want))
			s.Want(t, tt.want...)
			s.Once(t)
			if (told.String() == "") != (tt.told == "") || !strings.Contains(told.String(), tt.told) {
				t.Errorf("the log says %q, want %q", told, tt.told)
			}
			closed(t, f)
			wantFiles(t, dir)
		})
	}
}

// Where a torn line cannot be removed, nothing is added after it.
func TestTornLineThatCannotBeCut(t *testing.T) {
	dir := t.TempDir()
	text := lines(t, 1, 2) + "{"
	write(t, text, dir, first)
	f := (&disk{room: -1, truncate: syscall.EIO}).open(t, dir, quiet())
	s := latetest.Down(1, fault.New(fault.StoreDown, "down"))
	if n, err := f.Drain(t.Context(), s.Apply); n != 1 || fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("Drain = %d, %v", n, err)
	}
	if got := read(t, dir, first); got != text {
		t.Errorf("the file became %q, was %q", got, text)
	}
	s.Refuse = nil
	latetest.Drain(t, f, s, 2)
	s.Want(t, 1, 2)
	closed(t, f)
	wantFiles(t, dir)
}

// A drain goes on and makes room when there is none for its marks.
func TestDrainOfAFullDisk(t *testing.T) {
	dir := t.TempDir()
	d := &disk{room: -1}
	log, told := logger()
	f := d.open(t, dir, log)
	latetest.Put(t, f, 1, 2, 3)
	d.set(func(d *disk) { d.room = 3 })
	down := fault.New(fault.StoreDown, "down")
	s := latetest.Down(1, down)
	if n, err := f.Drain(t.Context(), s.Apply); n != 1 || !errors.Is(err, down) {
		t.Errorf("Drain = %d, %v", n, err)
	}
	if !strings.Contains(told.String(), "applied again after a restart") {
		t.Errorf("the log says %s", told)
	}
	s.Refuse = nil
	latetest.Drain(t, f, s, 3)
	s.Want(t, 1, 2, 3)
	s.Once(t)
	wantFiles(t, dir)
}

// Callers that come while another's sync runs share the next one.
func TestOneSyncForMany(t *testing.T) {
	const callers = 20
	d := &disk{room: -1}
	f := d.open(t, t.TempDir(), quiet())
	var wg sync.WaitGroup
	d.set(func(d *disk) {
		d.onSync = func() {
			d.set(func(d *disk) { d.onSync = nil })
			for n := range callers {
				wg.Go(func() {
					if err := f.Put(t.Context(), latetest.Settlement(1+n)); err != nil {
						t.Error(err)
					}
				})
			}
			f.WaitFor(callers)
		}
	})
	latetest.Put(t, f, 0)
	wg.Wait()
	if d.syncs != 2 || f.Len() != callers+1 {
		t.Errorf("%d syncs for %d settlements, want 2 for %d", d.syncs, f.Len(), callers+1)
	}
}

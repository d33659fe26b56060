package late

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"sluice/shared/admission"
	"sluice/shared/fault"
)

// File is a queue in a directory: a file that only grows for each generation, with
// a settlement a line. Put writes to the newest; Drain begins a new one, applies the
// older from their beginning, and removes those it has finished.
//
// Several processes may share a directory. Each locks its files, and adopts those
// of processes that died. It is safe for concurrent use.
type File struct {
	dir  string
	log  *slog.Logger
	wrap func(*os.File) handle

	waiting  atomic.Int64
	draining sync.Mutex // held by the Drain that runs

	gather sync.Mutex // guards next
	next   *batch     // what the next write takes; nil when nobody waits for one

	disk   sync.Mutex // guards what follows, and the file of active
	active *segment   // what Put writes to; nil until there is something to write
	sealed []*segment // nothing is put into them any more; oldest first
	closed bool
}

// batch is the lines of callers that wait for the same sync.
type batch struct {
	text  []byte
	lines int64
	done  chan struct{} // closed when err is set
	err   error
}

// OpenFile opens the queue of a directory, which is made when missing, and adopts
// what dead processes left in it. The logger is told of what was damaged on disk or
// can never be applied, with its content. It errs when the directory cannot be used.
func OpenFile(dir string, log *slog.Logger) (*File, error) {
	return open(dir, log, func(f *os.File) handle { return f })
}

func open(dir string, log *slog.Logger, wrap func(*os.File) handle) (*File, error) {
	f := &File{dir: dir, log: log, wrap: wrap}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("late queue: %w", err)
	}
	if err := f.adopt(); err != nil {
		return nil, fmt.Errorf("late queue: %w", errors.Join(err, f.Close()))
	}
	// A directory that takes no file is found out now and not with the first call
	// that has nowhere else to go.
	var err error
	if f.active, err = create(dir, wrap); err != nil {
		return nil, fmt.Errorf("late queue: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

// adopt takes the files that no process has. Those that cannot be read are left
// for the next time; the errors name them.
func (f *File) adopt() error {
	f.disk.Lock()
	defer f.disk.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	list, errs := numbers(f.dir)
	for _, n := range list {
		if f.has(n) {
			continue
		}
		s, err := take(f.dir, n, 0, f.wrap)
		if err == nil && s != nil {
			err = f.recover(s)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = errors.Join(errs, err)
		}
	}
	slices.SortFunc(f.sealed, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return errs
}

func (f *File) recover(s *segment) error {
	waiting, torn, err := s.recover()
	if err != nil {
		return errors.Join(err, s.file.Close())
	}
	if len(torn) > 0 {
		f.log.Warn("the last line of a late queue was cut short; it had not been acknowledged",
			"file", s.path, "offset", s.size, "content", string(torn))
	}
	f.waiting.Add(int64(waiting))
	f.sealed = append(f.sealed, s)
	return nil
}

// has says whether a generation is one of this File's.
func (f *File) has(number int64) bool {
	is := func(s *segment) bool { return s != nil && s.number == number }
	return is(f.active) || slices.ContainsFunc(f.sealed, is)
}

// Len is the number of settlements that wait, damaged ones too until a Drain comes
// to them.
func (f *File) Len() int { return int(f.waiting.Load()) }

// Put keeps a settlement and returns when it is on disk. Callers that come while
// another's is being written share one sync. The context is not looked at: what
// comes here has nowhere else to go. It errs with fault.StoreDown when it cannot be
// written, and the next Put may again; with fault.Internal as Encode does.
func (f *File) Put(_ context.Context, s admission.Settlement) error {
	text, err := settlementLine(s)
	if err != nil {
		return err
	}
	f.gather.Lock()
	b := f.next
	first := b == nil
	if first {
		b = &batch{done: make(chan struct{})}
		f.next = b
	}
	b.text = append(b.text, text...)
	b.lines++
	f.gather.Unlock()
	if first {
		f.commit(b)
	}
	<-b.done
	return b.err
}

// commit writes a batch once the one before is written; until then it grows.
func (f *File) commit(b *batch) {
	f.disk.Lock()
	defer f.disk.Unlock()
	f.gather.Lock()
	f.next = nil
	f.gather.Unlock()
	if err := f.write(b.text); err != nil {
		b.err = fault.Wrap(fault.StoreDown, fmt.Errorf("%w (look at the space, the rights and the health of the disk of %s)", err, f.dir),
			"the late queue cannot be written; the settlement was not kept")
	} else {
		f.waiting.Add(b.lines)
	}
	close(b.done)
}

func (f *File) write(text []byte) error {
	if f.closed {
		return os.ErrClosed
	}
	if f.active == nil {
		s, err := create(f.dir, f.wrap)
		if err != nil {
			return err
		}
		f.active = s
	}
	err := f.active.add(text)
	if f.active.broken != nil {
		err = errors.Join(err, f.seal())
	}
	return err
}

// seal ends the active generation: the next Put begins another. An empty one is
// removed.
func (f *File) seal() error {
	s := f.active
	if s == nil {
		return nil
	}
	f.active = nil
	if s.size == 0 {
		return s.remove()
	}
	f.sealed = append(f.sealed, s)
	return nil
}

// Close gives the files back once a Put or Drain that runs has ended. What waits is
// adopted by the next process that opens the directory.
func (f *File) Close() error {
	f.draining.Lock()
	defer f.draining.Unlock()
	f.disk.Lock()
	defer f.disk.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	err := f.seal()
	for _, s := range f.sealed {
		err = errors.Join(err, s.file.Close())
	}
	f.sealed = nil
	return err
}

package sse

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"sluice/shared/llm"
)

// Options say how a Writer behaves. The zero value sends no keep-alives and gives
// a blocked client 30 seconds.
type Options struct {
	Ping      []byte        // keep-alive frame; nil = none
	PingEvery time.Duration // of silence; 0 = no keep-alives
	Stall     time.Duration // that one write may block until the client counts as gone; 0 = 30 s
	OnCommit  func()        // runs once before the first byte, to set headers; must not use the Writer
	OnGone    func(error)   // runs once when a write fails or stalls; must not use the Writer
}

// DefaultStall is how long a write may block when Options say nothing.
const DefaultStall = 30 * time.Second

// retry is when the timer comes back if it found the Writer in use.
const retry = 10 * time.Millisecond

// Writer is the client's side of a stream. One goroutine writes frames; the
// keep-alives come from a timer. It starts no goroutine of its own.
type Writer struct {
	w   http.ResponseWriter
	ctl *http.ResponseController
	o   Options

	mu        sync.Mutex // held for each write: what goes out is whole frames
	committed bool
	abandoned bool
	closed    bool
	started   bool
	unflushed bool
	within    bool      // the last frame was not terminated: nothing but its end may follow
	last      time.Time // of the last write, or of Start
	err       error     // of the first write that failed
	gone      sync.Once // tells OnGone

	watch   sync.Mutex // guards what the timer needs while mu is held by a blocked write
	writing time.Time  // since when a write is in progress; zero = none
	timer   *time.Timer
	stopped bool
}

// NewWriter is a Writer on w. Nothing is written before the first frame, or the
// first keep-alive after Start.
func NewWriter(w http.ResponseWriter, o Options) *Writer {
	if o.Stall <= 0 {
		o.Stall = DefaultStall
	}
	return &Writer{w: w, ctl: http.NewResponseController(w), o: o}
}

// Start begins to count silence, and to watch for writes that block. The first
// keep-alive that is due commits the answer.
func (w *Writer) Start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started || w.closed {
		return
	}
	w.started, w.last = true, time.Now()
	w.watch.Lock()
	defer w.watch.Unlock()
	w.timer = time.AfterFunc(w.period(), w.tick)
}

// period is how often the timer must look at least.
func (w *Writer) period() time.Duration {
	if w.pings() {
		return min(w.o.PingEvery, w.o.Stall)
	}
	return w.o.Stall
}

func (w *Writer) pings() bool { return len(w.o.Ping) > 0 && w.o.PingEvery > 0 }

// Commit writes the status and headers now, if that was not done. It does nothing
// after Abandon or Close.
func (w *Writer) Commit() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.committed || w.abandoned || w.closed {
		return
	}
	w.begin()
	w.commit()
	w.finish(w.flush())
}

// Committed says whether the status and headers were written.
func (w *Writer) Committed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.committed
}

// Abandon gives the answer up if nothing of it was written: then it returns true
// and the Writer writes nothing any more, so that the caller can answer otherwise.
func (w *Writer) Abandon() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.committed {
		return false
	}
	w.abandoned = true
	return true
}

// WriteFrame writes a frame as it came, and flushes unless more are at hand. It
// returns the first error that any write had: the client is gone.
func (w *Writer) WriteFrame(f llm.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.within = !Terminated(f.Raw)
	return w.write(f.Raw, !f.More)
}

// Write writes p, which is whole frames, and flushes. A last frame of the upstream
// that lacks its blank line gets it first, lest the client takes p for a part of it.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.terminate()
	if err == nil {
		err = w.write(p, true)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// terminate adds the blank line that the last frame lacks, if it does.
func (w *Writer) terminate() error {
	if !w.within {
		return nil
	}
	w.within = false
	return w.write([]byte("\n\n"), false)
}

var (
	errEnded   = errors.New("sse: the stream was abandoned or closed")
	errStalled = errors.New("sse: the client does not read")
)

func (w *Writer) write(p []byte, flush bool) error {
	switch {
	case w.err != nil:
		return w.err
	case w.abandoned || w.closed:
		return errEnded
	}
	w.begin()
	w.commit()
	_, err := w.w.Write(p)
	w.unflushed = true
	if err == nil && flush {
		err = w.flush()
	}
	w.finish(err)
	return err
}

// begin lets the watchdog see that a write is in progress.
func (w *Writer) begin() {
	w.last = time.Now()
	w.watch.Lock()
	w.writing = w.last
	w.watch.Unlock()
}

func (w *Writer) finish(err error) {
	w.watch.Lock()
	w.writing = time.Time{}
	w.watch.Unlock()
	if err != nil {
		w.err = err
		w.tell(err)
	}
}

func (w *Writer) tell(err error) {
	if w.o.OnGone != nil {
		w.gone.Do(func() { w.o.OnGone(err) })
	}
}

func (w *Writer) commit() {
	if w.committed {
		return
	}
	w.committed = true
	if w.o.OnCommit != nil {
		w.o.OnCommit()
	}
	h := w.w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx buffers otherwise
	w.w.WriteHeader(http.StatusOK)
}

// flush hands what was written to the network. A host whose writer delivers each
// write by itself (Lambda) has no flush.
func (w *Writer) flush() error {
	w.unflushed = false
	if err := w.ctl.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// tick is the timer: it ends a write that has blocked for too long, or writes a
// keep-alive when one is due.
func (w *Writer) tick() {
	if wait, blocked := w.watchdog(); blocked {
		w.again(wait)
		return
	}
	if !w.mu.TryLock() {
		w.again(retry) // waiting for a write that has just begun, it could not watch it
		return
	}
	defer w.mu.Unlock()
	if w.abandoned || w.closed || w.err != nil {
		return
	}
	wait := w.period()
	if w.pings() && !w.within {
		silent := time.Since(w.last)
		if silent >= w.o.PingEvery {
			if w.write(w.o.Ping, true) != nil {
				return
			}
			silent = 0
		}
		wait = min(wait, w.o.PingEvery-silent)
	}
	w.again(wait)
}

// again sets the timer, unless it was stopped.
func (w *Writer) again(wait time.Duration) {
	w.watch.Lock()
	defer w.watch.Unlock()
	if !w.stopped {
		w.timer.Reset(wait)
	}
}

// watchdog ends a write that has blocked for Stall; blocked says that one is in
// progress, and wait when to look again.
func (w *Writer) watchdog() (wait time.Duration, blocked bool) {
	w.watch.Lock()
	defer w.watch.Unlock()
	if w.writing.IsZero() {
		return 0, false
	}
	wait = w.o.Stall - time.Since(w.writing)
	if wait > 0 {
		return wait, true
	}
	// The blocked write fails at once, and tells. Where it cannot be made to
	// (Lambda has no deadlines), that nobody reads is told all the same.
	if err := w.ctl.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		w.tell(errors.Join(errStalled, err))
	}
	return w.o.Stall, true
}

// Close ends the stream: it waits for a keep-alive in progress, gives the last
// frame the blank line without which a client would drop it, flushes and stops the
// timer. After it nothing is written. It returns the first error that a write had.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.err
	}
	if w.err == nil && !w.abandoned {
		w.end()
	}
	w.closed = true
	w.watch.Lock()
	defer w.watch.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
	return w.err
}

// end writes what is left to write; an error is kept by the write that had it.
func (w *Writer) end() {
	if w.terminate() != nil || !w.unflushed {
		return
	}
	w.begin()
	w.finish(w.flush())
}

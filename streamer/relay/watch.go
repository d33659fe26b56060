package relay

import (
	"context"
	"sync"
	"time"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/llm"
)

// watch ends the upstream side of an exchange when it has taken too long or when
// nobody is left to read it. The upstream outlives the client for a while, so that
// an answer that is nearly done is still accounted for to the token.
type watch struct {
	ctx    context.Context // of the upstream
	cancel context.CancelCauseFunc
	every  time.Duration // silence that is tolerated now
	idle   *time.Timer
	whole  *time.Timer
	undo   func() bool // of the AfterFunc on the client's context

	patience time.Duration // for an answer whose client left

	mu    sync.Mutex
	drain *time.Timer
	left  bool
}

// lambdaMargin is what is kept of a host's deadline for ending the answer and
// settling it.
const lambdaMargin = 10 * time.Second

func newWatch(x *exchange) *watch {
	limits := x.rl.Limits
	w := &watch{}
	w.ctx, w.cancel = context.WithCancelCause(context.WithoutCancel(x.ctx))
	w.every = limits.Idle
	if !x.call.Stream {
		w.every = limits.Headers
	}
	longest := limits.Stream
	if deadline, ok := x.r.Context().Deadline(); ok { // the host's; x.ctx may have a shorter one of its own
		longest = min(longest, time.Until(deadline)-lambdaMargin)
	}
	w.idle = time.AfterFunc(w.every, func() {
		w.cancel(fault.New(fault.UpstreamTimeout, "the upstream was silent for too long"))
	})
	w.whole = time.AfterFunc(longest, func() {
		w.cancel(fault.New(fault.TooLong, "the answer took longer than %s", longest.Round(time.Second)))
	})
	w.patience = limits.Drain
	if x.key.Key.OnDisconnect == admission.Abort || x.call.Op == llm.CountTokens { // a count has no usage to wait for
		w.patience = 0
	}
	w.undo = context.AfterFunc(x.ctx, func() {
		if cause := context.Cause(x.ctx); fault.CodeOf(cause) == fault.Draining {
			w.cancel(cause) // the process is being stopped: settle now
			return
		}
		w.gone()
	})
	return w
}

// gone begins the bounded drain: the client has left.
func (w *watch) gone() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left {
		return
	}
	w.left = true
	w.drain = time.AfterFunc(w.patience, func() {
		w.cancel(fault.New(fault.Gone, "the client left"))
	})
}

// seen notes a sign of life of the upstream.
func (w *watch) seen() { w.idle.Reset(w.every) }

// answering sets the silence that is tolerated from now on.
func (w *watch) answering(every time.Duration) {
	w.every = every
	w.idle.Reset(every)
}

// close stops every timer and releases the upstream.
func (w *watch) close() {
	w.undo()
	w.idle.Stop()
	w.whole.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = true
	if w.drain != nil {
		w.drain.Stop()
	}
	w.cancel(context.Canceled)
}

package relay

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"sluice/shared/llm"
	"sluice/shared/sse"
)

// answer is what the client gets. A stream is committed by its first frame or the
// first keep-alive; an answer in one piece by itself.
type answer struct {
	x       *exchange
	stream  *sse.Writer // nil when the client asked for no stream
	headers atomic.Pointer[http.Header]
	written bool      // an answer in one piece was begun
	first   time.Time // when something of the upstream's answer was passed on
}

func newAnswer(x *exchange) *answer {
	a := &answer{x: x}
	if !x.call.Stream {
		return a
	}
	limits := x.rl.Limits
	a.stream = sse.NewWriter(x.w, sse.Options{
		Ping: x.front.Ping(), PingEvery: limits.Ping, Stall: limits.Stall,
		OnCommit: func() {
			if h := a.headers.Load(); h != nil {
				passHeaders(x.w.Header(), *h)
			}
		},
		OnGone: func(error) { x.watch.gone() },
	})
	a.stream.Start()
	return a
}

// write passes a frame on. That the client is gone is no error here: the upstream
// is read on, for the figures at its end, until the watch ends it.
func (a *answer) write(f llm.Frame, streamed bool) error {
	if a.first.IsZero() {
		a.first = a.x.rl.Now()
	}
	if a.stream != nil && streamed {
		if err := a.stream.WriteFrame(f); err != nil {
			a.x.watch.gone()
		}
		return nil
	}
	if !a.abandon() {
		return errShape
	}
	a.written = true
	h := a.x.w.Header()
	if headers := a.headers.Load(); headers != nil {
		passHeaders(h, *headers)
	}
	h.Set("Content-Length", strconv.Itoa(len(f.Raw)))
	a.x.w.WriteHeader(http.StatusOK)
	if _, err := a.x.w.Write(f.Raw); err != nil {
		a.x.watch.gone()
	}
	return nil
}

// abandon says whether the client got nothing yet, and sees to it that it gets no
// keep-alive either.
func (a *answer) abandon() bool {
	if a.stream != nil {
		return a.stream.Abandon()
	}
	return !a.written
}

// fail ends a committed answer with an error frame.
func (a *answer) fail(frame []byte) {
	if a.stream == nil {
		panic(http.ErrAbortHandler) // a half-written body in one piece has no other way to say so
	}
	if _, err := a.stream.Write(frame); err != nil {
		a.x.log.DebugContext(a.x.ctx, "error frame not delivered", "error", err)
	}
}

func (a *answer) close() {
	if a.stream == nil {
		return
	}
	if err := a.stream.Close(); err != nil {
		a.x.log.DebugContext(a.x.ctx, "client left before the end", "error", err)
	}
}

package sse

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/llm"
)

var ping = []byte("event: ping\ndata: {}\n\n")

// locked is a ResponseWriter that a test reads while a timer writes.
type locked struct {
	mu sync.Mutex
	httptest.ResponseRecorder
}

func newLocked() *locked { return &locked{ResponseRecorder: *httptest.NewRecorder()} }

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ResponseRecorder.Write(p)
}

func (l *locked) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Body.String()
}

func TestWriterPingsInSilenceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := newLocked()
		w := NewWriter(rec, Options{Ping: ping, PingEvery: 10 * time.Second, OnCommit: func() { rec.Header().Set("Request-Id", "r") }})
		w.Start()
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if w.Committed() {
			t.Fatal("committed before a ping was due")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !w.Committed() || rec.text() != string(ping) || rec.Header().Get("Request-Id") != "r" {
			t.Fatalf("after 11 s: %q, %v", rec.text(), rec.Header())
		}
		time.Sleep(8 * time.Second)
		if err := w.WriteFrame(llm.Frame{Raw: []byte("data: 1\n\n")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if got := strings.Count(rec.text(), "ping"); got != 1 {
			t.Errorf("%d pings, 9 s after a frame", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := strings.Count(rec.text(), "ping"); got != 2 {
			t.Errorf("%d pings, 11 s after a frame", got)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := strings.Count(rec.text(), "ping"); got != 2 {
			t.Errorf("%d pings, after the end", got)
		}
	})
}

func TestWriterAbandons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		w := NewWriter(rec, Options{Ping: ping, PingEvery: time.Second})
		w.Start()
		if !w.Abandon() {
			t.Fatal("nothing was written, but it cannot be abandoned")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if rec.Body.Len() != 0 {
			t.Errorf("wrote %q", rec.Body)
		}
		if _, err := w.Write(ping); err == nil {
			t.Error("a write after Abandon succeeded")
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWriterCannotAbandonWhatWasSent(t *testing.T) {
	rec := httptest.NewRecorder()
	w := NewWriter(rec, Options{})
	if _, err := w.Write(ping); err != nil {
		t.Fatal(err)
	}
	if w.Abandon() {
		t.Error("abandoned")
	}
	if got := rec.Header().Get("Content-Type"); got != "text/event-stream; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
}

func TestWriterCommitsOnce(t *testing.T) {
	rec, commits := httptest.NewRecorder(), 0
	w := NewWriter(rec, Options{OnCommit: func() { commits++; rec.Header().Set("Content-Length", "7") }})
	w.Commit()
	w.Commit()
	if !w.Committed() || w.Abandon() || commits != 1 || !rec.Flushed || rec.Header().Get("Content-Length") != "" {
		t.Errorf("committed %d times, headers %v", commits, rec.Header())
	}
	late := NewWriter(httptest.NewRecorder(), Options{})
	late.Abandon()
	late.Commit()
	if late.Committed() {
		t.Error("committed after Abandon")
	}
}

func TestWriterFlushesWhenNothingIsAtHand(t *testing.T) {
	rec := httptest.NewRecorder()
	w := NewWriter(rec, Options{})
	for _, c := range []struct{ more, flushed bool }{{true, false}, {false, true}, {true, false}} {
		rec.Flushed = false
		if err := w.WriteFrame(llm.Frame{Raw: ping, More: c.more}); err != nil || rec.Flushed != c.flushed {
			t.Errorf("more %v: flushed %v, %v", c.more, rec.Flushed, err)
		}
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil || !rec.Flushed {
		t.Errorf("after the end: flushed %v, %v", rec.Flushed, err)
	}
	w.Start() // too late
	if _, err := w.Write(ping); err == nil {
		t.Error("a write after Close succeeded")
	}
}

// An error frame after a frame that was cut short is an event of its own, and no
// keep-alive comes between.
func TestWriterEndsACutFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := newLocked()
		w := NewWriter(rec, Options{Ping: ping, PingEvery: time.Second})
		w.Start()
		if err := w.WriteFrame(llm.Frame{Raw: []byte("data: {\n")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := w.Write([]byte("event: error\n\n")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := rec.text(); got != "data: {\n\n\nevent: error\n\n" {
			t.Errorf("wrote %q", got)
		}
	})
}

func TestWriterTerminatesTheLastFrame(t *testing.T) {
	rec := httptest.NewRecorder()
	w := NewWriter(rec, Options{})
	if err := w.WriteFrame(llm.Frame{Raw: []byte("event: message_stop\ndata: {}\n")}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil || rec.Body.String() != "event: message_stop\ndata: {}\n\n\n" {
		t.Errorf("wrote %q, %v", rec.Body, err)
	}
}

// stuck is a ResponseWriter that blocks and has no deadlines, as under Lambda.
type stuck struct {
	httptest.ResponseRecorder
	free chan struct{}
}

func (s *stuck) Write([]byte) (int, error) { <-s.free; return 0, io.ErrClosedPipe }

func TestWriterTellsOfAStallWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, told := &stuck{*httptest.NewRecorder(), make(chan struct{})}, make(chan error, 2)
		w := NewWriter(rec, Options{Ping: ping, PingEvery: time.Second, Stall: 10 * time.Second, OnGone: func(err error) { told <- err }})
		begun := time.Now()
		w.Start()
		go func() {
			<-told
			if after := time.Since(begun); after != 10*time.Second {
				t.Errorf("told after %s", after)
			}
			close(rec.free)
		}()
		if err := w.WriteFrame(llm.Frame{Raw: ping}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
		if err := w.Close(); err == nil || len(told) != 0 {
			t.Errorf("closed with %v, told again: %v", err, len(told))
		}
	})
}

// Frames and keep-alives that race come out whole.
func TestWriterKeepsFramesWhole(t *testing.T) {
	rec := newLocked()
	w := NewWriter(rec, Options{Ping: ping, PingEvery: time.Microsecond})
	w.Start()
	for range 1000 {
		if err := w.WriteFrame(llm.Frame{Raw: []byte("data: 1\n\n")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	frames, err := collect(strings.NewReader(rec.text()), DefaultLimit)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range frames {
		if f.Data == "1" {
			n++
		} else if f.Raw != string(ping) {
			t.Fatalf("wrote %q", f.Raw)
		}
	}
	if n != 1000 {
		t.Errorf("%d frames of 1000", n)
	}
}

// failing is a ResponseWriter whose client is gone.
type failing struct{ httptest.ResponseRecorder }

func (*failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriterKeepsItsFirstError(t *testing.T) {
	gone := 0
	w := NewWriter(&failing{*httptest.NewRecorder()}, Options{OnGone: func(error) { gone++ }})
	for range 2 {
		if err := w.WriteFrame(llm.Frame{Raw: ping}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
	}
	if err := w.Close(); !errors.Is(err, io.ErrClosedPipe) || gone != 1 {
		t.Errorf("closed with %v, told %d times", err, gone)
	}
}

// A client that reads nothing counts as gone when a write has blocked for Stall.
func TestWriterEndsAStalledWrite(t *testing.T) {
	ended := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		sw := NewWriter(w, Options{Stall: 100 * time.Millisecond})
		sw.Start()
		var err error
		for chunk := make([]byte, 1<<20); err == nil; {
			_, err = sw.Write(chunk)
		}
		ended <- errors.Join(err, sw.Close())
	}))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the write is still blocked")
	}
}

// bare is a ResponseWriter that costs nothing.
type bare struct{ h http.Header }

func (b *bare) Header() http.Header         { return b.h }
func (b *bare) Write(p []byte) (int, error) { return len(p), nil }
func (b *bare) WriteHeader(int)             {}
func (b *bare) Flush()                      {}

func BenchmarkWriter(b *testing.B) {
	frame := []byte("event: content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\n")
	b.Run("bare", func(b *testing.B) {
		w := &bare{http.Header{}}
		b.ReportAllocs()
		for b.Loop() {
			_, _ = w.Write(frame)
			w.Flush()
		}
	})
	b.Run("writer", func(b *testing.B) {
		w := NewWriter(&bare{http.Header{}}, Options{Ping: ping, PingEvery: time.Minute})
		w.Start()
		b.ReportAllocs()
		for b.Loop() {
			if err := w.WriteFrame(llm.Frame{Raw: frame}); err != nil {
				b.Fatal(err)
			}
		}
		_ = w.Close()
	})
}

// BenchmarkRelay relays a stream of 1,000 frames over loopback as a bare proxy
// does, and through Frames and a Writer.
func BenchmarkRelay(b *testing.B) {
	stream := strings.Repeat("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"Hello\"}}\n\n", 1000)
	for name, h := range map[string]http.HandlerFunc{
		"bare": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{strings.NewReader(stream)}, make([]byte, firstBuffer))
		},
		"writer": func(w http.ResponseWriter, _ *http.Request) {
			sw := NewWriter(w, Options{Ping: ping, PingEvery: time.Minute})
			sw.Start()
			for f, err := range Frames(strings.NewReader(stream), DefaultLimit) {
				if err != nil || sw.WriteFrame(f) != nil {
					return
				}
			}
			_ = sw.Close()
		},
	} {
		b.Run(name, func(b *testing.B) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				res, err := http.Get(srv.URL)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, res.Body); err != nil || n != int64(len(stream)) {
					b.Fatal(n, err)
				}
				_ = res.Body.Close()
			}
		})
	}
}

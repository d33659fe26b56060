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

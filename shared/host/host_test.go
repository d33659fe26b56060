package host

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/shared/fault"
)

// held is a handler whose requests run until they are let go or cancelled.
type held struct {
	begun, free chan struct{}
	cause       chan error // of those that were cancelled
}

func newHeld() *held {
	return &held{begun: make(chan struct{}, 10), free: make(chan struct{}), cause: make(chan error, 10)}
}

func (h *held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.begun <- struct{}{}
	select {
	case <-h.free:
		_, _ = io.WriteString(w, "done")
	case <-r.Context().Done():
		h.cause <- context.Cause(r.Context())
	}
}

// call sends a request and gives what came back.
func call(t *testing.T, url string, speaks ...func(*http.Protocols)) <-chan string {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(len(speaks) == 0)
	for _, add := range speaks {
		add(&protocols)
	}
	got := make(chan string, 1)
	go func() {
		c := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
		defer c.CloseIdleConnections()
		res, err := c.Get(url)
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		got <- string(b)
	}()
	return got
}

func http2(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }

func withProbes(ready *Readiness, h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.Handle("GET /healthz", Probes(ready))
	mux.Handle("GET /readyz", Probes(ready))
	return mux
}

func TestRunDrains(t *testing.T) {
	h, ready := newHeld(), new(Readiness)
	base, cancel, stop := serve(t, Options{Drain: time.Minute, Ready: ready}, withProbes(ready, h))
	if got := <-call(t, base+"/readyz"); got != "ready\n" {
		t.Errorf("before: %q", got)
	}
	inFlight, overHTTP2 := call(t, base), call(t, base, http2)
	<-h.begun
	<-h.begun
	cancel()
	for deadline := time.Now().Add(5 * time.Second); !ready.Draining(); {
		if time.Now().After(deadline) {
			t.Fatal("does not drain")
		}
		runtime.Gosched()
	}
	if got := <-call(t, base+"/readyz"); got != "draining\n" {
		t.Errorf("while it drains: %q", got)
	}
	if got := <-call(t, base+"/healthz"); got != "ok\n" {
		t.Errorf("while it drains: %q", got)
	}
	close(h.free)
	for _, answer := range []<-chan string{inFlight, overHTTP2} {
		if got := <-answer; got != "done" {
			t.Errorf("in flight: %q", got)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(base, "http://")); err == nil {
		t.Error("still listening")
	}
}

func TestRunCancelsWhatTakesTooLong(t *testing.T) {
	for name, abort := range map[string]bool{"drain is over": false, "aborted": true} {
		t.Run(name, func(t *testing.T) {
			h := newHeld()
			ctx, end := context.WithCancel(context.Background())
			defer end()
			o := Options{Drain: 50 * time.Millisecond, Logger: discard()}
			if abort {
				o.Drain, o.Abort = time.Hour, ctx
			}
			base, cancel, stop := serve(t, o, h)
			_ = call(t, base)
			<-h.begun
			cancel()
			end()
			if err := stop(); err == nil {
				t.Error("a request was cancelled, and nobody says so")
			}
			if err := <-h.cause; fault.CodeOf(err) != fault.Draining {
				t.Errorf("cancelled because of %v", err)
			}
		})
	}
}

func TestRunCutsWhatDoesNotReturn(t *testing.T) {
	begun, free := make(chan struct{}), make(chan struct{})
	base, _, stop := serve(t, Options{Grace: 50 * time.Millisecond, Logger: discard()}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-free
	}))
	got := call(t, base)
	<-begun
	err := stop()
	if err == nil || !strings.Contains(err.Error(), "1 of them did not return") {
		t.Errorf("stopped with %v", err)
	}
	<-got
	close(free)
}

// A connection that never sent a request does not keep the server.
func TestRunDoesNotWaitForNewConnections(t *testing.T) {
	base, _, stop := serve(t, Options{Grace: 100 * time.Millisecond}, http.NotFoundHandler())
	c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRunSpeaksHTTP2(t *testing.T) {
	base, _, stop := serve(t, Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	defer stop()
	if got := <-call(t, base, http2); got != "HTTP/2.0" {
		t.Errorf("speaks %q", got)
	}
}

func TestRunSaysWhyItCannotListen(t *testing.T) {
	if err := Run(context.Background(), Options{Addr: "127.0.0.1:none"}, http.NotFoundHandler()); err == nil {
		t.Error("no error")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := Run(context.Background(), Options{Listener: l}, http.NotFoundHandler()); err == nil {
		t.Error("no error of a closed listener")
	}
}

func TestContain(t *testing.T) {
	var log bytes.Buffer
	h := Contain(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(RequestID, "req_1")
		w.Header().Set("Content-Length", "7")
		w.WriteHeader(http.StatusEarlyHints)
		panic("boom")
	}), slog.New(slog.NewTextHandler(&log, nil)))
	rec := httptest.NewRecorder()
	h.ServeHTTP(&hinted{ResponseRecorder: rec}, httptest.NewRequest(http.MethodGet, "/x?key=test-key", nil))
	if rec.Code != 500 || rec.Header().Get("Content-Length") != "" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	for _, want := range []string{"request_id=req_1", "panic=boom", "host_test.go", "path=/x"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %s: %s", want, &log)
		}
	}
	if strings.Contains(log.String(), "test-key") {
		t.Errorf("the log has the query: %s", &log)
	}
}

// hinted takes 1xx as a server does; the recorder takes it for the status.
type hinted struct{ *httptest.ResponseRecorder }

func (h *hinted) WriteHeader(status int) {
	if status >= 200 {
		h.ResponseRecorder.WriteHeader(status)
	}
}

func TestContainAbortsWhatHasBegun(t *testing.T) {
	for name, c := range map[string]struct {
		h      http.HandlerFunc
		logged bool
	}{
		"flushed": {func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush(); panic("boom") }, true},
		"written": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x"); panic("boom") }, true},
		"wanted":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			defer func() {
				if v, ok := recover().(error); !ok || !errors.Is(v, http.ErrAbortHandler) {
					t.Errorf("panicked with %v", v)
				}
				if logged := log.Len() > 0; logged != c.logged {
					t.Errorf("logged %q", &log)
				}
			}()
			Contain(c.h, slog.New(slog.NewTextHandler(&log, nil))).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		})
	}
}

// What is in the way of every flush of a stream must cost nothing.
func TestContainFlushesWithoutAllocating(t *testing.T) {
	var flusher http.ResponseWriter
	Contain(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { flusher = w }), discard()).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	ctl := http.NewResponseController(flusher)
	if n := testing.AllocsPerRun(100, func() { _ = ctl.Flush() }); n != 0 {
		t.Errorf("%v allocations for a flush", n)
	}
}

func TestSignals(t *testing.T) {
	drain, abort, stop := Signals(context.Background())
	defer stop()
	for _, ctx := range []context.Context{drain, abort} {
		if ctx.Err() != nil {
			t.Fatal("ended before a signal")
		}
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("the signal ended nothing")
		}
	}
}

func TestSignalsAreGivenBack(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	drain, abort, stop := Signals(parent)
	cancel()
	if drain.Err() == nil || abort.Err() != nil {
		t.Error("the end of parent ends drain only")
	}
	stop()
	stop()
	if abort.Err() == nil {
		t.Error("stop does not end abort")
	}
}

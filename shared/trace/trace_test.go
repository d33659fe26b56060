package trace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/trace"
)

// works begins a stage, runs what is in it and ends it with err.
func works(r *http.Request, stage string, err error, within ...func()) {
	end := trace.From(r.Context()).Stage(stage)
	for _, f := range within {
		f()
	}
	end(err)
}

// tree is the names of a segment's stages, nested.
func tree(s segment) string {
	if len(s.Subsegments) == 0 {
		return s.Name
	}
	var names []string
	for _, sub := range s.Subsegments {
		names = append(names, tree(sub))
	}
	return s.Name + "(" + strings.Join(names, " ") + ")"
}

// wantWhole fails unless the stages lie within their parents, in order, and ended.
func wantWhole(t *testing.T, s segment) {
	t.Helper()
	at := s.Start
	if s.Start == 0 || s.End < s.Start || s.InProgress || s.ID == "" || s.Cause != nil {
		t.Errorf("%s: from %f to %f, in progress %v, id %q, cause %v", s.Name, s.Start, s.End, s.InProgress, s.ID, s.Cause)
	}
	for _, sub := range s.Subsegments {
		if sub.Start < at || sub.End > s.End {
			t.Errorf("%s from %f to %f is not within %s from %f to %f", sub.Name, sub.Start, sub.End, s.Name, at, s.End)
		}
		if sub.TraceID != "" || sub.ParentID != "" || sub.Type != "" {
			t.Errorf("%s is embedded and has what only stands alone: %+v", sub.Name, sub)
		}
		at = sub.End
		wantWhole(t, sub)
	}
}

func TestRequestIsOneSegment(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		works(r, "locate", nil)
		works(r, "admit", nil, func() {
			works(r, "acquire", nil)
			works(r, "send", fault.New(fault.UpstreamFailed, "text of a vendor"))
		})
		works(r, "acquire", nil)
		q := trace.From(r.Context())
		q.Note("key", "key_1")
		q.Note("account", "")
		q.Note("model", strings.Repeat("ü", 300))
		q.Answered(http.StatusTeapot, nil)
		w.WriteHeader(http.StatusTeapot)
	})
	b.get(t, "/v1/messages?key=test-secret", sampled)
	s := b.next(t)
	if got, want := tree(s), name+"(locate admit(acquire send) acquire)"; got != want {
		t.Errorf("stages %s, want %s", got, want)
	}
	wantWhole(t, s)
	if s.TraceID != root || s.ParentID != "" || s.Type != "" {
		t.Errorf("trace %q, parent %q, type %q", s.TraceID, s.ParentID, s.Type)
	}
	want := map[string]any{"key": "key_1", "model": strings.Repeat("ü", 125), "status": 418.0}
	if diff := cmp.Diff(want, s.Annotations); diff != "" {
		t.Errorf("annotations (-want +got)\n%s", diff)
	}
	if send := s.Subsegments[1].Subsegments[1]; !send.Fault || send.Error || send.Annotations["fault"] != "upstream_failed" {
		t.Errorf("a stage that failed: %+v", send)
	}
	if s.Fault || s.Error || s.Subsegments[0].Fault {
		t.Errorf("what succeeded is marked: %s", s.raw)
	}
	if h := s.HTTP; h.Request.Method != http.MethodGet || h.Request.URL != b.server.URL+"/v1/messages" || h.Request.UserAgent != "test/1" || h.Response.Status != 418 {
		t.Errorf("%+v", h)
	}
	for _, hidden := range []string{"test-secret", "text of a vendor"} {
		if strings.Contains(s.raw, hidden) {
			t.Errorf("the segment tells %q: %s", hidden, s.raw)
		}
	}
}

func TestTraceHeader(t *testing.T) {
	b := open(t, func(http.ResponseWriter, *http.Request) {})
	for header, want := range map[string]segment{
		"Self=1-67891233-12456789abcdef0123456789;Root=" + root + ";Parent=" + parent + ";Sampled=1": {TraceID: root, ParentID: parent},
		"Sampled=1; Root=" + root:                            {TraceID: root},
		"Root=1-nonsense;Parent=" + parent + ";Sampled=1":    {},
		"Root=" + root + ";Parent=evil;Sampled=1":            {TraceID: root},
		"Root=" + root + ";Root=;Parent=evil;Sampled=1":      {},
		"Root=1-6789123G-abcdef012345678912345678;Sampled=1": {},
	} {
		b.get(t, "/", "Root="+root+";Sampled=0") // must not come before the other
		b.get(t, "/", header)
		s := b.next(t)
		if s.ParentID != want.ParentID || want.TraceID != "" && s.TraceID != want.TraceID {
			t.Errorf("%s: trace %q, parent %q", header, s.TraceID, s.ParentID)
		}
		if want.TraceID == "" && (s.TraceID == root || len(s.TraceID) != len(root)) {
			t.Errorf("%s: trace %q, want a new one", header, s.TraceID)
		}
	}
	b.get(t, "/", "Root="+root) // the balancer's own: the first in a second is traced
	if s := b.next(t); s.TraceID != root {
		t.Errorf("trace %q, want the balancer's", s.TraceID)
	}
}

func TestWithinLambda(t *testing.T) {
	d := newDaemon(t)
	traced := 0
	h := newTracer(t, d.conn.LocalAddr().String(), new(bytes.Buffer)).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if trace.From(r.Context()) != nil {
			traced++
		}
		works(r, "locate", nil)
		works(r, "admit", nil)
		trace.From(r.Context()).Answered(http.StatusOK, nil)
	}))
	serve := func(function string) {
		//nolint:staticcheck // a string, as aws-lambda-go has it
		ctx := context.WithValue(t.Context(), "x-amzn-trace-id", function)
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/messages", nil)
		r.Header.Set("X-Amzn-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=1")
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	serve("Root=" + root + ";Parent=" + parent + ";Sampled=0;Lineage=1:a87bd80c:1")
	serve("")
	serve("Root=" + root + ";Parent=" + parent + ";Sampled=1;Lineage=1:a87bd80c:1")
	s := d.next(t)
	if s.Type != "subsegment" || s.TraceID != root || s.ParentID != parent || tree(s) != name+"(locate admit)" {
		t.Errorf("%s", s.raw)
	}
	wantWhole(t, s)
	if traced != 1 {
		t.Errorf("%d requests are traced, want the one that the service samples", traced)
	}
}

func TestEveryFaultIsMarked(t *testing.T) {
	var code fault.Code
	b := open(t, func(_ http.ResponseWriter, r *http.Request) {
		trace.From(r.Context()).Answered(http.StatusOK, fmt.Errorf("wrapped: %w", fault.New(code, "a message")))
	})
	caller := map[fault.Code]bool{}
	for _, code = range fault.Codes() {
		b.get(t, "/", sampled)
		s := b.next(t)
		if s.Annotations["fault"] != string(code) || s.Error == s.Fault || s.Throttle && !s.Error {
			t.Errorf("%s: %s", code, s.raw)
		}
		caller[code] = s.Error
	}
	for code, want := range map[fault.Code]bool{fault.Gone: true, fault.RateLimited: true, fault.UpstreamCut: false, fault.Internal: false} {
		if caller[code] != want {
			t.Errorf("%s is an error of the caller: %v, want %v", code, caller[code], want)
		}
	}
}

func TestPanicIsAFault(t *testing.T) {
	b := open(t, func(_ http.ResponseWriter, r *http.Request) {
		trace.From(r.Context()).Stage("stream") // is never ended
		panic(http.ErrAbortHandler)
	})
	b.get(t, "/abort", sampled)
	s := b.next(t)
	if !s.Fault || s.InProgress || tree(s) != name+"(stream)" {
		t.Errorf("%s", s.raw)
	}
}

// TestStreamIsFlushed reads an answer while its handler runs, which needs all of
// what an http.ResponseController can do.
func TestStreamIsFlushed(t *testing.T) {
	read := make(chan struct{})
	b := open(t, func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		err := errors.Join(c.SetWriteDeadline(time.Now().Add(patience)), c.SetReadDeadline(time.Now().Add(patience)))
		if _, failed := io.WriteString(w, "first"); failed != nil || err != nil {
			t.Error(failed, err)
		}
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
		select {
		case <-read:
		case <-time.After(patience):
			t.Error("the answer was not flushed")
		}
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amzn-Trace-Id", sampled)
	res, err := b.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 5)); err != nil {
		t.Error(err)
	}
	close(read)
	b.next(t)
}

// TestClientLeaves has stages that end after the request's context did.
func TestClientLeaves(t *testing.T) {
	b := open(t, func(_ http.ResponseWriter, r *http.Request) {
		works(r, "stream", fault.New(fault.Gone, "the client left"), func() { <-r.Context().Done() })
		works(r, "settle", nil)
		trace.From(r.Context()).Answered(499, fault.New(fault.Gone, "the client left"))
	})
	ctx, leave := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amzn-Trace-Id", sampled)
	if res, err := b.server.Client().Do(r); err == nil {
		res.Body.Close()
		t.Error("the client stayed")
	}
	b.server.Close() // waits for the handler
	s := b.next(t)
	if tree(s) != name+"(stream settle)" || s.InProgress || !s.Error || !s.Subsegments[0].Error {
		t.Errorf("%s", s.raw)
	}
	wantWhole(t, s)
	if len(b.got) > 0 {
		t.Errorf("sent again: %s", (<-b.got).raw)
	}
}

// TestOnceEach ends many requests at once: each is sent once.
func TestOnceEach(t *testing.T) {
	const workers, each = 8, 50
	onTheWay := make(chan struct{}, workers) // a UDP socket that is not read in time loses what comes
	d := newDaemon(t)
	h := newTracer(t, d.conn.LocalAddr().String(), new(bytes.Buffer)).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		works(r, "locate", nil)
	}))
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for range each {
				onTheWay <- struct{}{}
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
				r.Header.Set("X-Amzn-Trace-Id", "Sampled=1")
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
	seen := map[string]bool{}
	for range workers * each {
		s := d.next(t)
		<-onTheWay
		if seen[s.ID] || seen[s.TraceID] || tree(s) != name+"(locate)" {
			t.Fatalf("twice: %s", s.raw)
		}
		seen[s.ID], seen[s.TraceID] = true, true
	}
	running.Wait()
}

func TestSegmentFitsADatagram(t *testing.T) {
	b := open(t, func(_ http.ResponseWriter, r *http.Request) {
		for range 500 {
			works(r, strings.Repeat("s", 50), fault.New(fault.Internal, "%s", strings.Repeat("x", 1000)))
		}
	})
	b.get(t, "/"+strings.Repeat("%3C", 5000), sampled+";"+strings.Repeat("x=y;", 1000))
	if s := b.next(t); len(s.Subsegments) != 100 || len(s.HTTP.Request.URL) > 600 {
		t.Errorf("%d stages, %d bytes", len(s.Subsegments), len(s.raw))
	}
}

func TestSampling(t *testing.T) {
	d := newDaemon(t)
	const requests = 4000
	traced := 0
	h := newTracer(t, d.conn.LocalAddr().String(), new(bytes.Buffer)).Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if trace.From(r.Context()) != nil {
			traced++
		}
	}))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	if traced != 1 {
		t.Error("the first request in a second is not traced")
	}
	for range requests {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	if traced < requests/40 || traced > requests/10 { // a twentieth, give or take 7 standard deviations and more
		t.Errorf("%d of %d requests are traced", traced, requests)
	}
}

func TestNoDaemon(t *testing.T) {
	d := newDaemon(t)
	address := d.conn.LocalAddr().String()
	if err := d.conn.Close(); err != nil {
		t.Fatal(err)
	}
	log, now := new(bytes.Buffer), time.Unix(1_700_000_000, 0)
	tracer := made(t, trace.Options{
		Name: name, Daemon: address, Now: func() time.Time { return now }, Logger: slog.New(slog.NewJSONHandler(log, nil)),
	})
	h := tracer.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	serve := func(until func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !until(); {
			if time.Now().After(deadline) {
				t.Fatalf("the log: %s", log)
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Header.Set("X-Amzn-Trace-Id", sampled)
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	lines := func() int { return strings.Count(log.String(), "\n") }
	serve(func() bool { return lines() == 1 }) // refusals of UDP come with a later write
	more := 200
	serve(func() bool { more--; return more < 0 })
	if lines() != 1 {
		t.Errorf("within a minute: %s", log)
	}
	now = now.Add(time.Minute)
	serve(func() bool { return lines() == 2 })
	var second struct{ Lost int }
	if err := json.Unmarshal([]byte(strings.Split(log.String(), "\n")[1]), &second); err != nil || second.Lost < 2 {
		t.Errorf("%v: %s", err, log)
	}
}

func TestSDKTurnedOff(t *testing.T) {
	b := open(t, func(_ http.ResponseWriter, r *http.Request) {
		works(r, "locate", nil, func() { works(r, "admit", errors.New("a defect")) })
		trace.From(r.Context()).Note("key", "key_1")
		trace.From(r.Context()).Answered(http.StatusOK, nil)
	})
	t.Setenv("AWS_XRAY_SDK_DISABLED", "true")
	b.get(t, "/off", sampled)
	t.Setenv("AWS_XRAY_SDK_DISABLED", "false")
	b.get(t, "/on", sampled)
	if s := b.next(t); !strings.HasSuffix(s.HTTP.Request.URL, "/on") {
		t.Errorf("%s", s.raw)
	}
}

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o    trace.Options
		want string // field of the fault; "" = none
	}{
		"no name":      {trace.Options{}, "name"},
		"default":      {trace.Options{Name: "x"}, ""},
		"two forms":    {trace.Options{Name: "x", Daemon: "tcp:127.0.0.1:2000 udp:127.0.0.1:2001"}, ""},
		"no port":      {trace.Options{Name: "x", Daemon: "127.0.0.1"}, "daemon"},
		"port 0":       {trace.Options{Name: "x", Daemon: "127.0.0.1:0"}, "daemon"},
		"only for tcp": {trace.Options{Name: "x", Daemon: "tcp:127.0.0.1:2000"}, "daemon"},
	} {
		tracer, err := trace.New(c.o)
		if err == nil {
			err = tracer.Close()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || fault.From(err).Field != c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package simulator_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/llm"
	"sluice/shared/simulator"
)

// listen serves a simulator on loopback.
func listen(t testing.TB, o simulator.Options) (*simulator.Simulator, *httptest.Server) {
	t.Helper()
	s := simulator.New(o)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server
}

// exchange sends a request and reads the answer as far as it goes.
func exchange(t *testing.T, server *httptest.Server, r *http.Request) (*http.Response, []byte, error) {
	t.Helper()
	answer, err := server.Client().Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = answer.Body.Close() }() // read to where it ends
	b, err := io.ReadAll(answer.Body)
	return answer, b, err
}

func TestBrokenAnswers(t *testing.T) {
	cases := []struct {
		name, script string
		stream       bool
		err          error  // of reading the body
		frames       int    // events, or bytes of an answer in one piece
		tail         string // the body ends in
		charged      bool
		output       int64
	}{
		{"cut at once", "cut=0", true, io.ErrUnexpectedEOF, 0, "", true, 0},
		{"cut", "cut=5", true, io.ErrUnexpectedEOF, 5, "\n\n", true, 10},
		{"cut in one piece", "cut=1 chunk=64", false, io.ErrUnexpectedEOF, 64, "", true, 88},
		{"end", "end=5", true, nil, 5, "\n\n", true, 10},
		{"end in one piece", "end=2 chunk=30", false, nil, 60, "", true, 88},
		{"end before message_stop", "end=8 output=15", true, nil, 8, "}}\n\n", true, 15},
		{"end beyond the end", "end=500", true, nil, 24, "message_stop\"}\n\n", true, 88},
		{"error at once", "error=overloaded_error", true, nil, 1, "}\n\n", false, 0},
		{"error", "error=rate_limit_error at=3", true, nil, 4, "}\n\n", true, 1},
		{"error of its own", "error=api_error at=3 message=account+acc_17", true, nil, 4, "}\n\n", true, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, server := listen(t, simulator.Options{Now: clock})
			_, b, err := exchange(t, server, ask(t, server.URL+"/v1/messages", body(c.stream, ""), c.script))
			if !errors.Is(err, c.err) {
				t.Fatalf("reading ended with %v, want %v", err, c.err)
			}
			frames := len(b)
			if c.stream {
				frames = bytes.Count(b, []byte("event: "))
			}
			if frames != c.frames || !strings.HasSuffix(string(b), c.tail) {
				t.Errorf("%d frames, want %d, ending in %q:\n%s", frames, c.frames, c.tail, b)
			}
			bill := s.Bill()
			if len(bill) != 0 != c.charged {
				t.Fatalf("bill %+v", bill)
			}
			if c.charged && (bill[0].Answer != sha256.Sum256(b) || llm.Count(bill[0].Usage.Output) != c.output || bill[0].Finished != (c.frames == 24)) {
				t.Errorf("charged %d, finished %v, digest %v", llm.Count(bill[0].Usage.Output), bill[0].Finished, bill[0].Answer == sha256.Sum256(b))
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	cases := []struct {
		script string
		stream bool
		status int
		kind   string // content type
		want   string // part of the body
	}{
		{"status=400 message=prompt+is+too+long%3A+5+%3E+4", true, 400, "application/json", `"message":"prompt is too long: 5 \u003e 4"`},
		{"status=401", true, 401, "application/json", `authentication_error`},
		{"status=402", false, 402, "application/json", `"type":"billing_error","message":"Your credit balance`},
		{"status=403", false, 403, "application/json", `permission_error`},
		{"status=413", false, 413, "application/json", `request_too_large`},
		{"status=429 retry_after=3", false, 429, "application/json", `rate_limit_error`},
		{"status=500", false, 500, "application/json", `api_error`},
		{"status=504", false, 504, "application/json", `timeout_error`},
		{"status=529", true, 529, "application/json", `overloaded_error`},
		{"status=503 error=overloaded_error", true, 503, "application/json", `overloaded_error`},
		{"error=overloaded_error", false, 529, "application/json", `overloaded_error`},
		{"error=strange_error", false, 500, "application/json", `strange_error`},
		{"html=503", true, 503, "text/html; charset=UTF-8", `<h1>Service Unavailable</h1>`},
		{"garbage=1", true, 200, "text/event-stream; charset=utf-8", `upstream connect error`},
		{"empty=1", false, 200, "application/json", ``},
	}
	for _, c := range cases {
		for _, path := range []string{"/v1/messages", "/v1/messages/count_tokens"} {
			s, server := listen(t, simulator.Options{Now: clock})
			answer, b, err := exchange(t, server, ask(t, server.URL+path, body(c.stream, ""), c.script))
			if err != nil {
				t.Fatalf("%s: %v", c.script, err)
			}
			if answer.StatusCode != c.status || answer.Header.Get("Content-Type") != c.kind || !strings.Contains(string(b), c.want) {
				t.Errorf("%s %s: answered %s %s %s", path, c.script, answer.Status, answer.Header.Get("Content-Type"), b)
			}
			limited := c.status == http.StatusTooManyRequests
			if (answer.Header.Get("Anthropic-Ratelimit-Requests-Remaining") == "0") != limited || (answer.Header.Get("Retry-After") == "3") != limited {
				t.Errorf("%s: header %v", c.script, answer.Header)
			}
			if len(s.Bill()) != 0 {
				t.Errorf("%s was charged", c.script)
			}
		}
	}
}

func TestReset(t *testing.T) {
	s, server := listen(t, simulator.Options{Now: clock})
	if _, _, err := exchange(t, server, ask(t, server.URL+"/v1/messages", body(true, ""), "reset=1")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the call ended with %v, want a reset", err)
	}
	if len(s.Bill()) != 0 {
		t.Error("a reset call was charged")
	}
	defer func() {
		if recover() != http.ErrAbortHandler { //nolint:errorlint // the value itself is what net/http looks for
			t.Error("a connection that cannot be taken over was not aborted")
		}
	}()
	serve(s, ask(t, "/v1/messages", body(true, ""), "reset=1"))
}

// TestFramings asks for the same answer in every framing.
func TestFramings(t *testing.T) {
	s, server := listen(t, simulator.Options{Now: clock})
	get := func(script, encoding string, stream bool) (*http.Response, []byte) {
		r := ask(t, server.URL+"/v1/messages", body(stream, ""), "unicode=1 "+script)
		r.Header.Set("Accept-Encoding", encoding)
		answer, b, err := exchange(t, server, r)
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return answer, b
	}
	for _, stream := range []bool{true, false} {
		_, plain := get("", "identity", stream)
		want := unnumbered(plain)
		if _, split := get("split=1", "identity", stream); unnumbered(split) != want {
			t.Errorf("split answer differs:\n%s", split)
		}
		if _, crlf := get("crlf=1", "identity", stream); unnumbered(bytes.ReplaceAll(crlf, []byte("\r\n"), []byte("\n"))) != want ||
			stream && bytes.Count(crlf, []byte("\r\n")) != bytes.Count(crlf, []byte("\n")) {
			t.Errorf("answer in CRLF differs:\n%s", crlf)
		}
		answer, zipped := get("gzip=1 split=1", "br, gzip", stream)
		unzip, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(unzip)
		if err != nil || unnumbered(b) != want || answer.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("compressed answer differs (%v):\n%s", err, b)
		}
		bill := s.Bill()
		if bill[len(bill)-1].Answer != sha256.Sum256(b) {
			t.Error("the digest is not of the answer before compression")
		}
		if answer, _ := get("gzip=1", "identity", stream); answer.Header.Get("Content-Encoding") != "" {
			t.Error("compressed for a client that did not ask")
		}
	}
	_, crlf := get("crlf=1 error=api_error at=2", "identity", true)
	if !bytes.HasSuffix(crlf, []byte("}\r\n\r\n")) || bytes.Count(crlf, []byte("\r\n")) != bytes.Count(crlf, []byte("\n")) {
		t.Errorf("error event is not in CRLF: %q", crlf)
	}
}

// unnumbered is an answer without the identifier of its message.
func unnumbered(b []byte) string {
	before, after, ok := strings.Cut(string(b), `"id":"msg_`)
	if !ok {
		return string(b)
	}
	_, after, _ = strings.Cut(after, `"`)
	return before + after
}

// TestClientLeaves: what was produced until then is charged.
func TestClientLeaves(t *testing.T) {
	for _, c := range []struct {
		script string
		stream bool
	}{{"stall=5", true}, {"stall=2 chunk=64", false}, {"output=1000000 delay=1ms", true}, {"output=1000000", true}} {
		s, server := listen(t, simulator.Options{Now: clock})
		ctx, leave := context.WithCancel(t.Context())
		b := strings.Replace(body(c.stream, ""), "1024", "1000000", 1)
		answer, err := server.Client().Do(ask(t, server.URL+"/v1/messages", b, c.script).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(answer.Body, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		leave()
		_ = answer.Body.Close() // its error is that the client left
		charge := awaitCharge(t, s)
		if out := llm.Count(charge.Usage.Output); charge.Finished || out < 1 || out >= 1_000_000 {
			t.Errorf("%s: charged %d, finished %v", c.script, out, charge.Finished)
		}
	}
}

// awaitCharge waits for the first charge of a call whose client cannot see its end.
func awaitCharge(t *testing.T, s *simulator.Simulator) simulator.Charge {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if bill := s.Bill(); len(bill) > 0 {
			return bill[0]
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("nothing was charged")
		}
	}
}

// brokenWriter fails once it has taken so many bytes.
type brokenWriter struct {
	*httptest.ResponseRecorder
	left int
}

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return w.ResponseRecorder.Write(b)
}

func TestWriteErrorAmendsCharge(t *testing.T) {
	s := simulator.New(simulator.Options{Now: clock})
	w := &brokenWriter{httptest.NewRecorder(), 1000}
	s.ServeHTTP(w, ask(t, "/v1/messages", body(true, ""), ""))
	bill := s.Bill()
	if len(bill) != 1 || bill[0].Finished || llm.Count(bill[0].Usage.Output) != 1 || bill[0].Answer != sha256.Sum256(w.Body.Bytes()) {
		t.Errorf("bill %+v", bill)
	}
}

func TestPace(t *testing.T) {
	cases := []struct {
		script string
		speed  float64
		stream bool
		leave  time.Duration // 0 = stays
		want   time.Duration
		output int64 // -1 = not charged
	}{
		{"output=100", 50, true, 0, 2 * time.Second, 100},
		{"output=100", 50, false, 0, 2 * time.Second, 100},
		{"output=100 first=3s", 0, true, 0, 3 * time.Second, 100},
		{"output=15 delay=1s", 0, true, 0, 8 * time.Second, 15},
		{"output=15 delay=1s chunk=200", 0, false, 0, 2 * time.Second, 15},
		{"output=100 first=3s", 50, true, time.Second, time.Second, -1},
		{"output=100", 50, true, time.Second + time.Millisecond, time.Second + time.Millisecond, 50},
		{"output=100", 50, false, time.Second + time.Millisecond, time.Second + time.Millisecond, 50},
		{"stall=4", 0, true, time.Minute, time.Minute, 5},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			s := simulator.New(simulator.Options{Speed: c.speed})
			ctx := t.Context()
			if c.leave > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.leave)
				defer cancel()
			}
			begun := time.Now()
			serve(s, ask(t, "/v1/messages", body(c.stream, ""), c.script).WithContext(ctx))
			if took := time.Since(begun); took != c.want {
				t.Errorf("%s took %v, want %v", c.script, took, c.want)
			}
			output := int64(-1)
			if bill := s.Bill(); len(bill) > 0 {
				output = llm.Count(bill[0].Usage.Output)
			}
			if output != c.output {
				t.Errorf("%s: charged %d, want %d", c.script, output, c.output)
			}
		})
	}
}

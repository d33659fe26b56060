package relay_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/host"
	"sluice/shared/money"
	"sluice/shared/trace"
	"sluice/streamer/relay"
)

// recorder is a Trace that notes what it is told.
type recorder struct {
	mu     sync.Mutex
	stages strings.Builder // name(inner …) with !code of what failed
	notes  map[string]string
	status int
	code   string
}

func (c *recorder) Stage(name string) func(error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stages.WriteString(name + "(")
	return func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stages.WriteString(")")
		if err != nil {
			c.stages.WriteString("!" + string(fault.CodeOf(err)))
		}
		c.stages.WriteString(" ")
	}
}

func (c *recorder) Note(key, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes[key] = value
}

func (c *recorder) Answered(status int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
	if err != nil {
		c.code = string(fault.CodeOf(err))
	}
}

func (c *recorder) tree() string {
	return strings.TrimSpace(strings.NewReplacer(" )", ")", "()", "").Replace(c.stages.String()))
}

func TestTrace(t *testing.T) {
	all := frames()
	overloaded := event("error", vendorError("overloaded_error", "Overloaded"))
	counted := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"input_tokens":1}`)
	}
	for name, c := range map[string]struct {
		setup   setup
		script  []http.HandlerFunc
		body    string
		change  func(*http.Request)
		stages  string
		status  int
		code    string
		outcome string
		account int // that the trace names; -1 = none
	}{
		"complete": {
			script: []http.HandlerFunc{streams(all)}, status: 200, outcome: "complete",
			stages: "locate accept admit acquire send stream settle",
		},
		"failover": {
			setup: setup{bases: []string{"", ""}}, script: []http.HandlerFunc{refuses(529, vendorError("overloaded_error", "Overloaded")), streams(all)},
			status: 200, outcome: "complete", account: 1,
			stages: "locate accept admit acquire send!upstream_busy acquire send stream settle",
		},
		"error first": {
			script: []http.HandlerFunc{streams([]string{overloaded})}, status: 529, code: "upstream_busy", outcome: "failed",
			stages: "locate accept admit acquire send stream!upstream_busy acquire!upstream_busy settle",
		},
		"cut": {
			script: []http.HandlerFunc{streams(all[:3], cuts)}, status: 200, code: "upstream_cut", outcome: "cut",
			stages: "locate accept admit acquire send stream!upstream_cut settle",
		},
		"no key": {
			script: []http.HandlerFunc{streams(all)}, change: func(r *http.Request) { r.Header.Del("X-Api-Key") },
			status: 401, code: "unauthenticated", outcome: "refused", account: -1, stages: "locate!unauthenticated",
		},
		"no JSON": {
			script: []http.HandlerFunc{streams(all)}, body: "{", status: 400, code: "invalid", outcome: "refused", account: -1,
			stages: "locate accept!invalid",
		},
		"count": {
			script: []http.HandlerFunc{counted}, change: func(r *http.Request) { r.URL.Path += "/count_tokens" },
			status: 200, outcome: "complete", stages: "locate accept acquire send",
		},
		"exact count": {
			setup: setup{budget: money.Dollar / 1000}, body: strings.Replace(string(streamed()), "Hello", strings.Repeat("Hello ", 500), 1),
			script: []http.HandlerFunc{counted, streams(all)}, status: 200, outcome: "complete",
			stages: "locate accept admit(acquire send) acquire send stream settle",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := &recorder{notes: map[string]string{}}
			c.setup.trace = func(context.Context) relay.Trace { return got }
			b := open(t, c.setup, c.script...)
			body := []byte(c.body)
			if c.body == "" {
				body = streamed()
			}
			status, header, _ := b.call(t, body, c.change)
			b.front.Close() // waits for the handlers
			if status != c.status || got.status != c.status || got.code != c.code {
				t.Errorf("status %d, the trace says %d %s, want %d %s", status, got.status, got.code, c.status, c.code)
			}
			if got.tree() != c.stages {
				t.Errorf("stages\n%s, want\n%s", got.tree(), c.stages)
			}
			want := map[string]string{"outcome": c.outcome, "request_id": header.Get(host.RequestID)}
			if c.code != "unauthenticated" {
				want["key"] = b.key.ID
			}
			if c.account >= 0 {
				want["model"], want["account"] = "claude-haiku-4-5", b.accounts[c.account].ID
			}
			if diff := cmp.Diff(want, got.notes); diff != "" {
				t.Errorf("notes (-want +got)\n%s", diff)
			}
		})
	}
}

// TestTraceGoesToTheDaemon has all of it: relay, X-Ray SDK and a daemon.
func TestTraceGoesToTheDaemon(t *testing.T) {
	daemon, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	b := open(t, traced(t, daemon.LocalAddr().String()), streams(frames()))
	status, _, answer := b.call(t, streamed(), func(r *http.Request) {
		r.Header.Set("X-Amzn-Trace-Id", "Root=1-67891233-abcdef012345678912345678;Sampled=1")
	})
	if status != http.StatusOK || string(answer) != strings.Join(frames(), "") {
		t.Errorf("%d %q", status, answer)
	}
	if err := daemon.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 64<<10)
	n, err := daemon.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"locate"`, `"settle"`, `"outcome":"complete"`, b.key.ID, b.accounts[0].ID, "1-67891233-abcdef012345678912345678"} {
		if !bytes.Contains(buffer[:n], []byte(want)) {
			t.Errorf("%s is missing: %s", want, buffer[:n])
		}
	}
	for _, hidden := range []string{"Hello", clientKey, "test-account", `"in_progress"`} {
		if bytes.Contains(buffer[:n], []byte(hidden)) {
			t.Errorf("%s is told: %s", hidden, buffer[:n])
		}
	}
}

// traced is a setup that traces to a daemon.
func traced(t testing.TB, daemon string) setup {
	t.Helper()
	tracer, err := trace.New(trace.Options{Name: "sluice-test", Daemon: daemon})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tracer.Close() })
	return setup{trace: func(ctx context.Context) relay.Trace { return trace.From(ctx) }, wrap: tracer.Handler}
}

func TestGauges(t *testing.T) {
	b := open(t, setup{limits: relay.Limits{Drain: short}}, streams(frames()[:3], hangs))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	res, err := b.http.Do(b.request(ctx, t, streamed(), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if got := b.gauge(t, "InFlightStreams"); got != 1 {
		t.Errorf("%d in flight while an answer runs", got)
	}
	if got := b.gauge(t, "Goroutines"); got < 2 {
		t.Errorf("%d goroutines", got)
	}
	w := httptest.NewRecorder()
	b.relay.Metrics(w, nil)
	for _, want := range []string{"\nsluice_requests_open 1\n", "\nsluice_calls_open 1\n", "\nsluice_leases_open 1\n", "# TYPE sluice_body_bytes gauge\n"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q is missing:\n%s", want, w.Body)
		}
	}
	leave()
	b.front.Close() // waits for the handler
	for _, name := range []string{"InFlightStreams", "BodyBytes"} {
		if got := b.gauge(t, name); got != 0 {
			t.Errorf("%s is %d at the end", name, got)
		}
	}
}

// gauge reads a gauge by its name in CloudWatch.
func (b *bench) gauge(t testing.TB, name string) int64 {
	t.Helper()
	for _, g := range b.relay.Gauges() {
		if g.CloudWatch == name {
			return g.Read()
		}
	}
	t.Fatalf("there is no gauge %s", name)
	return 0
}

// BenchmarkCall is a whole call over loopback: without a tracer, with one that does
// not trace it, and traced.
func BenchmarkCall(b *testing.B) {
	daemon, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer daemon.Close()
	for _, c := range []struct {
		name, header string
		tracer       bool
	}{{"no tracer", "", false}, {"not traced", "Sampled=0", true}, {"traced", "Sampled=1", true}} {
		b.Run(c.name, func(b *testing.B) {
			var s setup
			if c.tracer {
				s = traced(b, daemon.LocalAddr().String())
			}
			bench := open(b, s, streams([]string{strings.Join(frames(), "")}))
			b.ReportAllocs()
			for b.Loop() {
				bench.call(b, streamed(), func(r *http.Request) { r.Header.Set("X-Amzn-Trace-Id", c.header) })
			}
		})
	}
}

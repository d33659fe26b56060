package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/host"
	"sluice/shared/host/hosttest"
	"sluice/shared/simulator"
)

// sdkFunction makes the test binary a Lambda function with a relay whose account
// is at the address in it: the real runtime client ends the process it runs in.
const sdkFunction = "RELAY_TEST_FUNCTION"

// TestServeAsFunction is the function; it does nothing unless it was started as one.
func TestServeAsFunction(t *testing.T) {
	upstream := os.Getenv(sdkFunction)
	if upstream == "" {
		return
	}
	t.Error(host.Run(t.Context(), host.Options{Lambda: true}, sdkWire(t, upstream).handler))
}

// sdkGate is an upstream that holds streams back once their first event is out,
// until it is opened.
type sdkGate struct {
	http.Handler

	mu   sync.Mutex
	shut chan struct{} // nil = open
}

func (g *sdkGate) close() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut := make(chan struct{})
	g.shut = shut
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		close(shut)
		g.shut = nil
	})
}

func (g *sdkGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		w = &sdkGatedWriter{ResponseWriter: w, shut: shut}
	}
	g.Handler.ServeHTTP(w, r)
}

// sdkGatedWriter lets the first event through and waits before what follows.
type sdkGatedWriter struct {
	http.ResponseWriter
	shut  <-chan struct{}
	begun bool
}

func (w *sdkGatedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *sdkGatedWriter) Write(p []byte) (int, error) {
	if w.begun {
		<-w.shut
		return w.ResponseWriter.Write(p)
	}
	w.begun = true
	first := bytes.Index(p, []byte("\n\n")) + len("\n\n")
	n, err := w.ResponseWriter.Write(p[:first])
	if err != nil || n == len(p) {
		return n, err
	}
	if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
		return n, err
	}
	<-w.shut
	rest, err := w.ResponseWriter.Write(p[first:])
	return n + rest, err
}

// The hosts.
const (
	sdkServer = "server"
	sdkURL    = "function URL"
	sdkREST   = "REST API"
)

// sdkHost is a relay on a host, and the upstream of its account.
type sdkHost struct {
	client *http.Client
	base   string
	lambda *hosttest.Lambda // nil for a server
	vendor *simulator.Simulator
	gate   *sdkGate
}

// sdkHosts runs the handler on each host; every one has an upstream of its own
// that says the same.
func sdkHosts(t *testing.T) map[string]*sdkHost {
	t.Helper()
	hosts := make(map[string]*sdkHost)
	for _, name := range []string{sdkServer, sdkURL, sdkREST} {
		h := &sdkHost{vendor: simulator.New(simulator.Options{Seed: 1})}
		h.gate = &sdkGate{Handler: h.vendor}
		upstream := httptest.NewServer(h.gate)
		t.Cleanup(upstream.Close)
		if name == sdkServer {
			h.client, h.base = http.DefaultClient, sdkServe(t, upstream.URL)
		} else {
			h.lambda = sdkInvoke(t, upstream.URL)
			h.client, h.base = &http.Client{Transport: h.lambda}, "https://function.test"
		}
		if name == sdkREST {
			h.client.Transport = h.lambda.REST()
		}
		hosts[name] = h
	}
	return hosts
}

// sdkServe runs the handler in a server of this process.
func sdkServe(t *testing.T, upstream string) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	handler := sdkWire(t, upstream).handler
	go func() {
		ended <- host.Run(ctx, host.Options{Addr: "127.0.0.1:0", Listening: func(a net.Addr) { listening <- a }}, handler)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-listening:
		return "http://" + a.String()
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return ""
}

// sdkInvoke runs the handler as a function in a process of its own.
func sdkInvoke(t *testing.T, upstream string) *hosttest.Lambda {
	t.Helper()
	l := hosttest.NewLambda()
	t.Cleanup(l.Close)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	function := exec.Command(self, "-test.run=^TestServeAsFunction$")
	function.Env = append(os.Environ(), sdkFunction+"="+upstream, "AWS_LAMBDA_RUNTIME_API="+l.Addr(), "AWS_LAMBDA_FUNCTION_NAME=test", "TMPDIR="+t.TempDir())
	if err := function.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = function.Process.Kill() // it has ended already, or ends now
		_ = function.Wait()
	})
	return l
}

// do asks a host. The id that the relay gave the request is taken out of what it
// answered: it is the one thing that must differ.
func (h *sdkHost) do(t *testing.T, method, path, key, body string) string {
	t.Helper()
	res := h.send(t, method, path, key, body)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	head := []string{fmt.Sprint(res.StatusCode)}
	for _, name := range []string{"Content-Type", "Cache-Control", "Retry-After", "X-Should-Retry"} {
		head = append(head, name+": "+res.Header.Get(name))
	}
	return ownID.ReplaceAllString(strings.Join(head, "\n")+"\n\n"+string(text), "<request>")
}

// ownID is an id that the relay gave a request.
var ownID = regexp.MustCompile(`"request_id":"req_[0-9A-Za-z-]+"`)

func (h *sdkHost) send(t *testing.T, method, path, key, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	res, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func sdkBody(prompt string, stream bool) string {
	return fmt.Sprintf(`{"model":%q,"max_tokens":900,"stream":%t,"messages":[{"role":"user","content":%q}]}`, sdkModel, stream, prompt)
}

// TestHostsAnswerAlike asks the same of a server and of a function, behind either
// of what can invoke it: every byte of the answers is the same, and so is what the
// vendor bills.
func TestHostsAnswerAlike(t *testing.T) {
	cases := []struct { // in order: the upstream's ids count the calls
		name, method, path, key, body, has string
	}{
		{"stream", "POST", "/v1/messages", sdkKey, sdkBody("hello [[sim output=400 unicode=1]]", true), "event: message_stop"},
		{"whole", "POST", "/v1/messages", sdkKey, sdkBody("hello", false), `"type":"message"`},
		{"large", "POST", "/v1/messages", sdkKey, sdkBody(strings.Repeat("grüße ", 50_000)+"[[sim big=300000]]", true), "event: message_stop"},
		{"count", "POST", "/v1/messages/count_tokens", sdkKey, sdkBody("hello", false), `"input_tokens"`},
		{"models", "GET", "/v1/models?limit=1000", sdkKey, "", sdkModel},
		{"model", "GET", "/v1/models/" + sdkModel, sdkKey, "", sdkModel},
		{"predecessor's path", "POST", "/claude/v1/messages", sdkKey, sdkBody("again", true), "event: message_stop"},
		{"error in the stream", "POST", "/v1/messages", sdkKey, sdkBody("hello [[sim output=300 error=api_error at=6]]", true), "event: error"},
		{"cut", "POST", "/v1/messages", sdkKey, sdkBody("hello [[sim output=300 cut=6]]", true), "event: error"},
		{"bad key", "POST", "/v1/messages", "test-key-unknown", sdkBody("hello", true), "authentication_error"},
		{"malformed", "POST", "/v1/messages", sdkKey, `{"model":`, "invalid_request_error"},
		{"refused", "POST", "/v1/messages", sdkKey, sdkBody("hello [[sim status=400]]", true), "invalid_request_error"},
		{"not spoken", "POST", "/v1/chat/completions", sdkKey, "{}", "not_supported_error"},
		{"no route", "GET", "/nowhere", sdkKey, "", "not_found_error"},
		{"no route, no key", "GET", "/nowhere", "", "", "authentication_error"},
		{"overloaded", "POST", "/v1/messages", sdkKey, sdkBody("hello [[sim status=529]]", true), "overloaded_error"},
	}
	hosts := sdkHosts(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := hosts[sdkServer].do(t, c.method, c.path, c.key, c.body)
			if !strings.Contains(want, c.has) {
				t.Errorf("no %s in %.600s", c.has, want)
			}
			for _, name := range []string{sdkURL, sdkREST} {
				if got := hosts[name].do(t, c.method, c.path, c.key, c.body); got != want {
					t.Errorf("behind a %s the answer differs (-server +function)\n%.2000s", name, cmp.Diff(want, got))
				}
			}
		})
	}
	server := hosts[sdkServer].vendor.Bill()
	for _, name := range []string{sdkURL, sdkREST} {
		function := hosts[name].vendor.Bill()
		if len(server) != len(function) || len(server) != 6 {
			t.Fatalf("%d and %d charges, want 6 each", len(server), len(function))
		}
		for i := range server {
			if diff := cmp.Diff(server[i].Usage, function[i].Usage); server[i].Body != function[i].Body || server[i].Finished && diff != "" {
				t.Errorf("charge %d behind a %s differs (-server +function)\n%s", i, name, diff)
			}
		}
	}
}

// TestHostsStream reads the first event of an answer while its upstream waits to
// be let on: no host keeps events back.
func TestHostsStream(t *testing.T) {
	for name, h := range sdkHosts(t) {
		t.Run(name, func(t *testing.T) {
			open := h.gate.close()
			t.Cleanup(open)
			res := h.send(t, http.MethodPost, "/v1/messages", sdkKey, sdkBody("hello", true))
			defer res.Body.Close()
			first := make([]byte, 0, 1<<10)
			for b := make([]byte, 1); !bytes.HasSuffix(first, []byte("\n\n")); {
				if _, err := io.ReadFull(res.Body, b); err != nil {
					t.Fatal(err)
				}
				first = append(first, b...)
			}
			if !bytes.HasPrefix(first, []byte("event: message_start\n")) {
				t.Errorf("the first event is %q", first)
			}
			open()
			rest, err := io.ReadAll(res.Body)
			if err != nil || !bytes.Contains(rest, []byte("event: message_stop")) {
				t.Errorf("the rest is %q, %v", rest, err)
			}
		})
	}
}

// TestAnswersEndBeforeTheFunctionDoes lets an upstream fall silent while the time
// of the invocation runs out: before Lambda ends the function, and with it an
// answer that nobody could tell from a broken connection, the relay ends the
// answer with an error in the client's dialect.
func TestAnswersEndBeforeTheFunctionDoes(t *testing.T) {
	const timeout = 12 * time.Second // the relay keeps 10 s of it for itself
	for name, h := range sdkHosts(t) {
		if h.lambda == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.do(t, http.MethodPost, "/v1/messages", sdkKey, sdkBody("hello", true)) // it has started
			open := h.gate.close()
			t.Cleanup(open)
			h.lambda.SetTimeout(timeout)
			started := time.Now()
			res := h.send(t, http.MethodPost, "/v1/messages", sdkKey, sdkBody("hello", true))
			defer res.Body.Close()
			answer, err := io.ReadAll(res.Body)
			if err != nil || time.Since(started) >= timeout {
				t.Errorf("%v, after %s of %s", err, time.Since(started), timeout)
			}
			begin, end, ok := bytes.Cut(answer, []byte("event: error\n"))
			if !ok || !bytes.HasPrefix(begin, []byte("event: message_start\n")) || !bytes.Contains(end, []byte(`"type":"timeout_error"`)) {
				t.Errorf("the answer is %q", answer)
			}
		})
	}
}

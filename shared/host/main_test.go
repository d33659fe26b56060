package host

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sluice/shared/host/hosttest"
)

// asFunction makes the test binary a Lambda function, so that the real runtime
// client runs the handler.
const asFunction = "HOST_TEST_FUNCTION"

func TestMain(m *testing.M) {
	if os.Getenv(asFunction) != "" {
		err := Run(context.Background(), Options{Lambda: true}, sample(tcpGate{os.Getenv(asFunction)}))
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// gate lets a handler of the test go on.
type gate interface{ wait() error }

// tcpGate waits for a byte from an address: the handler may be another process.
type tcpGate struct{ addr string }

func (g tcpGate) wait() error {
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	return err
}

// sample is a handler that does what handlers do.
func sample(g gate) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo/{name}", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(RenewingBody(w, r, 64<<10, 10*time.Second))
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Path", r.PathValue("name")+"?"+r.URL.Query().Encode())
		w.Header().Set("X-Several", strings.Join(r.Header.Values("X-Several"), ","))
		w.Header().Add("X-Two", "a")
		w.Header().Add("X-Two", "b; c=\"d\"")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "%s %s %s %d %s", r.Header.Get("X-Api-Key"), r.Header.Get("Cookie"), r.Header.Get("Content-Type"), r.ContentLength, b)
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		ctl := http.NewResponseController(w)
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = ctl.Flush() // the Lambda writer has none
		if err := g.wait(); err != nil {
			panic(err)
		}
		_, _ = io.WriteString(w, "data: 2\n\n")
	})
	mux.HandleFunc("GET /v1beta/models/{call}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "models %s %s", r.PathValue("call"), r.URL.EscapedPath())
	})
	mux.HandleFunc("GET /model/{id}/invoke", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "model %s %s", r.PathValue("id"), r.URL.EscapedPath())
	})
	mux.HandleFunc("GET /none", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /unauthorized", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Trailer", "X-None")
		w.WriteHeader(http.StatusUnauthorized)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "root "+r.RequestURI) })
	mux.HandleFunc("GET /empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("boom") })
	mux.HandleFunc("GET /late-panic", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "some")
		_ = http.NewResponseController(w).Flush()
		panic("boom")
	})
	return mux
}

// hosts runs the sample on every host; each is an http.Client and its base URL.
func hosts(t *testing.T, each func(t *testing.T, c *http.Client, base string, open func())) {
	t.Run("server", func(t *testing.T) {
		addr, open := opener(t)
		base, _, stop := serve(t, Options{}, sample(tcpGate{addr}))
		defer stop()
		each(t, http.DefaultClient, base, open)
	})
	for name, way := range map[string]func(*hosttest.Lambda) http.RoundTripper{
		"function URL": func(l *hosttest.Lambda) http.RoundTripper { return l },
		"REST API":     (*hosttest.Lambda).REST,
	} {
		t.Run(name, func(t *testing.T) {
			addr, open := opener(t)
			each(t, &http.Client{Transport: way(function(t, addr))}, "https://function.test", open)
		})
	}
}

// function runs the sample as a function, in a process of its own.
func function(t *testing.T, gate string) *hosttest.Lambda {
	t.Helper()
	l := hosttest.NewLambda()
	t.Cleanup(l.Close)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	function := exec.Command(self)
	function.Env = append(os.Environ(), asFunction+"="+gate, "AWS_LAMBDA_RUNTIME_API="+l.Addr(), "AWS_LAMBDA_FUNCTION_NAME=test")
	if err := function.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = function.Process.Kill() // it has ended already, or ends now
		_ = function.Wait()
	})
	return l
}

// opener is the other side of a tcpGate: open lets one waiter go on.
func opener(t *testing.T) (addr string, open func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = c.Write([]byte{1})
	}
}

// serve runs h until stop, which returns what Run did.
func serve(t *testing.T, o Options, h http.Handler) (base string, cancel context.CancelFunc, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	addr := make(chan net.Addr, 1)
	o.Addr, o.Listening = "127.0.0.1:0", func(a net.Addr) { addr <- a }
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o, h) }()
	t.Cleanup(cancel)
	select {
	case a := <-addr:
		return "http://" + a.String(), cancel, func() error { cancel(); return <-ended }
	case err := <-ended:
		t.Fatal(err)
	}
	return "", nil, nil
}

package trace_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"sluice/shared/host"
	"sluice/shared/trace"
)

// asFunction makes the test binary a Lambda function that sends its traces to the
// address that it holds.
const asFunction = "TRACE_TEST_FUNCTION"

func TestMain(m *testing.M) {
	if daemon := os.Getenv(asFunction); daemon != "" {
		fmt.Fprintln(os.Stderr, function(daemon))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func function(daemon string) error {
	tracer, err := trace.New(trace.Options{Name: name, Daemon: daemon})
	if err != nil {
		return err
	}
	return host.Run(context.Background(), host.Options{Lambda: true}, tracer.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		works(r, "stream", nil, func() { _, _ = io.WriteString(w, "hello") })
	})))
}

// TestFunction runs the handler under the real runtime client, in a process of its
// own, and gives it one invocation that is traced.
func TestFunction(t *testing.T) {
	d := newDaemon(t)
	left := make(chan string, 1)
	left <- `{"version":"2.0","rawPath":"/v1/models","rawQueryString":"key=test-secret",` +
		`"requestContext":{"domainName":"function.test","http":{"method":"GET","sourceIp":"127.0.0.1"}}}`
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case event := <-left:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "1")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(time.Minute).UnixMilli()))
			w.Header().Set("Lambda-Runtime-Trace-Id", "Root="+root+";Parent="+parent+";Sampled=1")
			_, _ = io.WriteString(w, event)
		case <-r.Context().Done():
		}
	})
	answers := make(chan []byte, 1)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/1/response", func(w http.ResponseWriter, r *http.Request) {
		answer, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answers <- answer
		w.WriteHeader(http.StatusAccepted)
	})
	api := httptest.NewServer(mux)
	defer api.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := exec.CommandContext(t.Context(), self)
	f.Env = append(os.Environ(), asFunction+"="+d.conn.LocalAddr().String(),
		"AWS_LAMBDA_RUNTIME_API="+api.Listener.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME=test")
	f.Stderr = os.Stderr
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = f.Process.Kill()
		_ = f.Wait()
	}()
	s := d.next(t)
	if s.Type != "subsegment" || s.TraceID != root || s.ParentID != parent || tree(s) != name+"(stream)" ||
		s.HTTP.Request.URL != "http://function.test/v1/models" {
		t.Errorf("%s", s.raw)
	}
	select {
	case answer := <-answers:
		if !bytes.HasSuffix(answer, []byte("hello")) {
			t.Errorf("the function answered %q", answer)
		}
	case <-time.After(patience):
		t.Error("the function did not answer")
	}
}

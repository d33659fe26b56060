package host

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
)

func TestEveryHostServesTheSame(t *testing.T) {
	big := strings.Repeat("grüße ", 100_000)
	cases := map[string]struct {
		method, path, body string
		header             http.Header
		status             int
		want               string
		wantHeader         http.Header
	}{
		"post": {
			"POST", "/echo/a%2Fb?x=1&y=%20", `{"a":1}`, http.Header{"X-Api-Key": {"test-key"}, "Cookie": {"c=1; d=2"}, "Content-Type": {"application/json"}},
			201, `test-key c=1; d=2 application/json 7 {"a":1}`, http.Header{"X-Path": {"a/b?x=1&y=%20"}, "Set-Cookie": {"a=1", "b=2"}, "Content-Type": {"application/json"}},
		},
		"large":       {"POST", "/echo/n", big, nil, 201, "   800000 " + big, nil},
		"nothing":     {"GET", "/empty", "", nil, 200, "", nil},
		"sniffed":     {"GET", "/hello", "", nil, 200, "hello", http.Header{"Content-Type": {"text/plain; charset=utf-8"}}},
		"head":        {"HEAD", "/hello", "", nil, 200, "", nil},
		"no route":    {"GET", "/nowhere", "", nil, 404, "404 page not found\n", nil},
		"a panic":     {"GET", "/panic", "", nil, 500, `{"error":{"code":"internal","message":"an internal error occurred"}}` + "\n", http.Header{"Content-Type": {"application/json"}}},
		"after panic": {"GET", "/hello", "", nil, 200, "hello", nil},
	}
	hosts(t, func(t *testing.T, client *http.Client, base string, _ func()) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				req, err := http.NewRequest(c.method, base+c.path, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				if c.header != nil {
					req.Header = c.header.Clone()
				}
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				got, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != c.status || string(got) != c.want {
					t.Errorf("got %d %.200q, want %d %.200q", res.StatusCode, got, c.status, c.want)
				}
				for k, want := range c.wantHeader {
					if diff := cmp.Diff(want, res.Header[k]); diff != "" {
						t.Errorf("%s (-want +got)\n%s", k, diff)
					}
				}
			})
		}
	})
}

func TestEveryHostStreams(t *testing.T) {
	hosts(t, func(t *testing.T, client *http.Client, base string, open func()) {
		res, err := client.Get(base + "/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		first := make([]byte, len("data: 1\n\n"))
		if _, err := io.ReadFull(res.Body, first); err != nil { // the second does not exist yet
			t.Fatal(err)
		}
		open()
		rest, err := io.ReadAll(res.Body)
		if err != nil || string(first)+string(rest) != "data: 1\n\ndata: 2\n\n" {
			t.Errorf("%q, %q, %v", first, rest, err)
		}
	})
}

func TestNoHostEndsABrokenAnswerCleanly(t *testing.T) {
	hosts(t, func(t *testing.T, client *http.Client, base string, _ func()) {
		res, err := client.Get(base + "/late-panic")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got, err := io.ReadAll(res.Body); err == nil || string(got) != "some" {
			t.Errorf("read %q, %v", got, err)
		}
		res, err = client.Get(base + "/hello") // the host lives
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("afterwards: %s", res.Status)
		}
	})
}

func invocation(method, path string) events.LambdaFunctionURLRequest {
	e := events.LambdaFunctionURLRequest{RawPath: path}
	e.RequestContext.DomainName = "function.test"
	e.RequestContext.HTTP.Method, e.RequestContext.HTTP.SourceIP = method, "192.0.2.1"
	return e
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestInvocationEndsAfterItsHandler(t *testing.T) {
	written, settled := make(chan error, 1), false
	invoke := invoker(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RemoteAddr != "192.0.2.1:0" {
			t.Errorf("remote address %q", r.RemoteAddr)
		}
		w.WriteHeader(http.StatusAccepted)
		w.WriteHeader(http.StatusTeapot) // too late
		<-r.Context().Done()
		_, err := w.Write([]byte("x"))
		written <- err
		settled = true
	}), discard())
	res, err := invoke(context.Background(), invocation("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Close(); err != nil {
		t.Fatal(err)
	}
	if !settled || res.StatusCode != http.StatusAccepted {
		t.Errorf("status %d, handler had returned: %v", res.StatusCode, settled)
	}
	if err := <-written; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a write without a reader: %v", err)
	}
}

func TestInvocationsThatEndEarly(t *testing.T) {
	for name, c := range map[string]struct {
		h      http.HandlerFunc
		status int
		fails  bool
	}{
		"aborts before it begins": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, true},
		"panics":                  {func(http.ResponseWriter, *http.Request) { panic(7) }, 502, true},
		"has no body": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			_, _ = w.Write([]byte("x"))
		}, 204, false},
		"hints first": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusAccepted)
		}, 202, false},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := invoker(c.h, discard())(context.Background(), invocation("GET", "/"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if res.StatusCode != c.status || (err != nil) != c.fails || len(body) != 0 {
				t.Errorf("%d, %q, %v", res.StatusCode, body, err)
			}
		})
	}
}

func TestMalformedInvocations(t *testing.T) {
	bad := invocation("GET", "/")
	bad.Body, bad.IsBase64Encoded = "%", true
	for name, e := range map[string]events.LambdaFunctionURLRequest{"body": bad, "path": invocation("GET", "/%zz"), "method": invocation("G T", "/"), "authority": invocation("GET", "@evil.test/"), "other": {}} {
		res, err := invoker(http.NotFoundHandler(), discard())(context.Background(), e)
		if err != nil || res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"rawPath":"/v1/messages","rawQueryString":"beta=true","requestContext":{"domainName":"function.test","http":{"method":"POST"}},"body":"e30=","isBase64Encoded":true}`))
	f.Add([]byte(`{"rawPath":"//other.test/","headers":{"host":"function.test"},"cookies":["a=1"],"requestContext":{"http":{"method":"GET"}}}`))
	f.Fuzz(func(t *testing.T, event []byte) {
		var e events.LambdaFunctionURLRequest
		if json.Unmarshal(event, &e) != nil {
			return
		}
		r, err := request(context.Background(), e)
		if (r == nil) == (err == nil) {
			t.Fatalf("%v, %v", r, err)
		}
		if r != nil && strings.HasPrefix(e.RawPath, "/") && (r.URL.Host != "" || r.URL.Scheme != "") {
			t.Fatalf("the path %q names a host: %v", e.RawPath, r.URL)
		}
	})
}

func TestRenewingBodyCutsOffWhoSendsNothing(t *testing.T) {
	read := make(chan error, 1)
	base, _, stop := serve(t, Options{Logger: discard()}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := RenewingBody(w, r, 4, time.Second)
		_, err := io.Copy(io.Discard, body)
		read <- errors.Join(err, body.Close())
		w.WriteHeader(http.StatusRequestTimeout)
	}))
	defer stop()

	silent, _ := io.Pipe() // never written
	req, err := http.NewRequest(http.MethodPost, base, silent)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		defer res.Body.Close()
	}
	if err := <-read; err == nil {
		t.Error("a body that never came was read to its end")
	}

	reader, writer := io.Pipe()
	go func() {
		tick := time.NewTicker(350 * time.Millisecond)
		defer tick.Stop()
		for range 4 { // longer than the timeout, in sum
			<-tick.C
			_, _ = writer.Write([]byte("abcd"))
		}
		_ = writer.Close()
	}()
	if req, err = http.NewRequest(http.MethodPost, base, reader); err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := <-read; err != nil {
		t.Errorf("a slow but steady body: %v", err)
	}
}

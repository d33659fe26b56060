package host

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
			"POST", "/echo/a%2Fb?y=%20&x=1&y=a%2Bb&z=50%25&%C3%BC&x=0", `{"a":1}`,
			http.Header{"X-Api-Key": {"test-key"}, "Cookie": {"c=1; d=2"}, "Content-Type": {"application/json"}, "X-Several": {"1", "2,3"}},
			201, `test-key c=1; d=2 application/json 7 {"a":1}`, http.Header{
				"X-Path": {"a/b?x=1&x=0&y=+&y=a%2Bb&z=50%25&%C3%BC="}, "X-Several": {"1,2,3"}, "X-Two": {"a", `b; c="d"`},
				"Set-Cookie": {"a=1", "b=2"}, "Content-Type": {"application/json"},
			},
		},
		"large":       {"POST", "/echo/n", big, nil, 201, "   800000 " + big, nil},
		"bytes":       {"POST", "/echo/n", "\xff\x00", nil, 201, "   2 \xff\x00", nil},
		"root":        {"GET", "", "", nil, 200, "root /", nil},
		"raw colon":   {"GET", "/v1beta/models/x:generateContent", "", nil, 200, "models x:generateContent /v1beta/models/x:generateContent", nil},
		"colons":      {"GET", "/model/arn%3Aaws%3Abedrock%2Fx/invoke", "", nil, 200, "model arn:aws:bedrock/x /model/arn%3Aaws%3Abedrock%2Fx/invoke", nil},
		"spaces":      {"GET", "/v1beta/models/a%20b%3Fc%23d%25", "", nil, 200, "models a b?c#d% /v1beta/models/a%20b%3Fc%23d%25", nil},
		"no content":  {"GET", "/none", "", nil, 204, "", nil},
		"refusal":     {"GET", "/unauthorized", "", nil, 401, "", http.Header{"Trailer": nil, "X-Amzn-Remapped-Connection": nil}},
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
					got := res.Header[k]
					if len(got) == 1 && k != "Set-Cookie" { // a Function URL has one value for each name, which means the same
						want = []string{strings.Join(want, ", ")}
					}
					if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
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

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

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
	res, err := invoke(context.Background(), decoded(t, urlEvent("GET", "/")))
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
			res, err := invoker(c.h, discard())(context.Background(), decoded(t, urlEvent("GET", "/")))
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

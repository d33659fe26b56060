package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func TestRehearsal(t *testing.T) {
	r := rehearse(t.Context(), t, shared.url, nil)
	golden(t, "rehearsal.txt", r.out)
	if r.code != exitYes {
		t.Errorf("exit code %d", r.code)
	}
}

// flaw makes a deployment misbehave.
type flaw func(next http.Handler) http.Handler

// canned answers requests of a method to paths that begin so in place of the product.
func canned(method, path string, status int, body string) flaw {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != method || !strings.HasPrefix(r.URL.Path, path) {
				next.ServeHTTP(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body) // else the client may not see the answer
			if strings.HasPrefix(body, "event:") {
				w.Header().Set("Content-Type", "text/event-stream")
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body) // a client that left fails by itself
		})
	}
}

// oversized applies a flaw to large bodies only.
func oversized(f flaw) flaw {
	return func(next http.Handler) http.Handler {
		flawed := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > 1<<20 {
				flawed.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// collecting holds every answer back until it is whole, as gateways do that do not stream.
func collecting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		whole := httptest.NewRecorder()
		next.ServeHTTP(whole, r)
		maps.Copy(w.Header(), whole.Header())
		w.WriteHeader(whole.Code)
		_, _ = whole.Body.WriteTo(w) // a client that left fails by itself
	})
}

// lumps passes an answer on in few large pieces.
func lumps(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != messagesPath {
			next.ServeHTTP(w, r)
			return
		}
		l := &lumpWriter{ResponseWriter: w}
		next.ServeHTTP(l, r)
		_, _ = l.held.WriteTo(w) // a client that left fails by itself
	})
}

// lumpWriter flushes once for every 1,500 bytes.
type lumpWriter struct {
	http.ResponseWriter
	held bytes.Buffer
}

func (w *lumpWriter) Write(p []byte) (int, error) {
	w.held.Write(p)
	if w.held.Len() < 1500 {
		return len(p), nil
	}
	if _, err := w.held.WriteTo(w.ResponseWriter); err != nil {
		return 0, err
	}
	return len(p), http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *lumpWriter) FlushError() error { return nil }

// openToAll lets every administrator in.
func openToAll(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, adminPath) {
			r.Header.Set("Authorization", "Bearer "+adminToken)
		}
		next.ServeHTTP(w, r)
	})
}

// onlyWith applies a flaw to requests with a header that holds a text.
func onlyWith(header, text string, f flaw) flaw {
	return func(next http.Handler) http.Handler {
		flawed := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.Header.Get(header), text) {
				flawed.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

const (
	event      = "event: %s\ndata: {\"type\":%q}\n\n"
	allSkipped = "there was no signing in"
)

func streamEvents(names ...string) string {
	var all strings.Builder
	for _, n := range names {
		fmt.Fprintf(&all, event, n, n)
	}
	return all.String()
}

// flawed is a deployment in which one thing is wrong.
type flawed struct {
	flaw flaw
	want outcomes // where it differs from a deployment that works
	also outcomes // what follows from it
	left string   // what is said to be left behind; "" = nothing
}

func flaws() map[string]flawed {
	const get, post, del = http.MethodGet, http.MethodPost, http.MethodDelete
	refusal := func(kind string) string {
		return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":"so it is"}}`, kind)
	}
	records := func(outcome string, in, out int, cost string, unpriced bool) string {
		return fmt.Sprintf(`{"data":[{"outcome":%q,"usage":{"input":%d,"output":%d},"cost_usd":%q,"unpriced":%t}]}`, outcome, in, out, cost, unpriced)
	}
	// A key that is not there cannot be called with, nor be removed.
	noKey := outcomes{"streaming": skip("there is no key"), "usage": skip("no answer was"), "body limit": skip("there is no key"), "key removed": skip("no key was made")}
	noSignIn := outcomes{
		"key": skip(allSkipped), "streaming": skip(allSkipped), "usage": skip("no answer was"), "accounts": skip(allSkipped),
		"body limit": skip("there is no key"), "key removed": skip("no key was made"),
	}
	noStream := outcomes{"usage": skip("no answer was streamed")}
	return map[string]flawed{
		"draining":              {flaw: canned(get, "/readyz", 503, "draining\n"), want: outcomes{"reach": fails("GET /readyz: 503 draining")}},
		"wrong token accepted":  {flaw: openToAll, want: outcomes{"sign-in": fails("made up is accepted")}, also: noSignIn},
		"wrong token fails":     {flaw: onlyWith("Authorization", "sluice-admin-", canned(get, adminPath, 500, `{}`)), want: outcomes{"sign-in": fails("not refused with 401: 500")}, also: noSignIn},
		"store out of reach":    {flaw: onlyWith("Authorization", adminToken, canned(get, adminPath+"/overview", 503, `{"error":{"code":"store_down","message":"no store for `+adminToken+`"}}`)), want: outcomes{"sign-in": fails("503 store_down: no store for [redacted]")}, also: noSignIn},
		"no key is made":        {flaw: canned(post, adminPath+"/keys", 500, `{"error":{"code":"internal","message":"broken"}}`), want: outcomes{"key": fails("500 internal: broken")}, also: noKey},
		"a key without secret":  {flaw: canned(post, adminPath+"/keys", 201, `{"id":"key_1"}`), want: outcomes{"key": fails("no id and no key")}, also: noKey},
		"new key refused":       {flaw: canned(get, "/v1/me", 401, refusal("authentication_error")), want: outcomes{"key": fails("401 authentication_error: so it is")}},
		"answers collected":     {flaw: collecting, want: outcomes{"streaming": fails("it is held back")}},
		"answers in lumps":      {flaw: lumps, want: outcomes{"streaming": fails("it is held back")}},
		"answer too fast":       {flaw: canned(post, messagesPath, 200, streamEvents("message_start", "message_stop")), want: outcomes{"streaming": skip("too fast to tell"), "usage": fails("no record of the call"), "body limit": fails("are accepted")}},
		"answer cut off":        {flaw: canned(post, messagesPath, 200, streamEvents("message_start", "ping")), want: outcomes{"streaming": fails("without message_stop"), "body limit": fails("are accepted")}, also: noStream},
		"answer fails":          {flaw: canned(post, messagesPath, 200, streamEvents("message_start")+"event: error\ndata: "+refusal("overloaded_error")+"\n\n"), want: outcomes{"streaming": fails("overloaded_error: so it is"), "body limit": fails("are accepted")}, also: noStream},
		"calls refused":         {flaw: canned(post, messagesPath, 529, refusal("overloaded_error")), want: outcomes{"streaming": fails("529 overloaded_error"), "body limit": fails("529 overloaded_error")}, also: noStream},
		"no record":             {flaw: canned(get, adminPath+"/usage/records", 200, `{"data":[]}`), want: outcomes{"usage": fails("no record of the call")}},
		"record without tokens": {flaw: canned(get, adminPath+"/usage/records", 200, records("complete", 9, 0, "0.01", false)), want: outcomes{"usage": fails(`"complete" with 9 tokens in and 0 out`)}},
		"record of a cut":       {flaw: canned(get, adminPath+"/usage/records", 200, records("cut", 9, 9, "0.01", false)), want: outcomes{"usage": fails(`"cut" with 9`)}},
		"record without price":  {flaw: canned(get, adminPath+"/usage/records", 200, records("complete", 9, 9, "0.00", true)), want: outcomes{"usage": fails("no price")}},
		"money still held":      {flaw: canned(get, adminPath+"/keys/", 200, `{"id":"key_1","balance":{"held_usd":"0.02","open":1}}`), want: outcomes{"usage": fails("still holds")}},
		"gateway's own 413":     {flaw: oversized(canned(post, messagesPath, 413, `{"message":"Request Too Long"}`)), want: outcomes{"body limit": fails("not refused with a 413 request_too_large of Anthropic's shape")}},
		"any body accepted":     {flaw: oversized(canned(post, messagesPath, 200, `{}`)), want: outcomes{"body limit": fails("33 MB are accepted")}},
		"account out of reach":  {flaw: canned(post, adminPath+"/accounts/", 200, `{"ok":false,"latency_ms":9,"message":"no route to host"}`), want: outcomes{"accounts": fails("simulator (compatible): no route to host")}},
		"key not deleted":       {flaw: canned(del, adminPath+"/keys/", 204, ""), want: outcomes{"key removed": fails("still accepted")}, left: "left behind: the key verify-aws, which was deleted"},
		"deletion fails":        {flaw: canned(del, adminPath+"/keys/", 500, "broken"), want: outcomes{"key removed": fails("could not be deleted: 500 broken")}, left: "left behind: the key verify-aws: delete it with DELETE /admin/v1/keys/key_"},
	}
}

func TestFlaws(t *testing.T) {
	sound := rehearse(t.Context(), t, shared.url, nil).findings
	for name, c := range flaws() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rehearse(t.Context(), t, front(t, shared, c.flaw, false, false).URL, nil)
			want := maps.Clone(sound)
			for name, f := range want {
				f.saw = ""
				want[name] = f
			}
			maps.Copy(want, c.also)
			maps.Copy(want, c.want)
			compare(t, r, want)
			if r.code != exitNo {
				t.Errorf("exit code %d", r.code)
			}
			if c.left != "" && !strings.Contains(r.out, c.left) || c.left == "" && !strings.Contains(r.out, "left behind: nothing but") {
				t.Errorf("of what is left behind, %q is not said:\n%s", c.left, r.out)
			}
		})
	}
}

// compare compares outcomes, and looks for what the wanted ones saw.
func compare(t *testing.T, r result, want outcomes) {
	t.Helper()
	if len(r.findings) != len(want) {
		t.Errorf("%d findings, want %d", len(r.findings), len(want))
	}
	for name, w := range want {
		if got := r.findings[name]; got.outcome != w.outcome || !strings.Contains(got.saw, w.saw) {
			t.Errorf("%s: %s, %s\nwant %s, with %q", name, got.outcome, got.saw, w.outcome, w.saw)
		}
	}
	if t.Failed() {
		t.Log(r.out)
	}
}

// TestNoAccount has no account to call: that is nobody's fault, and no yes.
func TestNoAccount(t *testing.T) {
	empty := onlyWith("Authorization", adminToken, canned(http.MethodGet, adminPath+"/overview", 200, `{"counts":{},"accounts":[]}`))
	r := rehearse(t.Context(), t, front(t, shared, empty, false, false).URL, nil)
	for name, want := range map[string]string{"streaming": "no account; add one", "usage": "no answer", "accounts": "no account; add one"} {
		if got := r.findings[name]; got.outcome != unchecked || !strings.Contains(got.saw, want) {
			t.Errorf("%s: %s, %s", name, got.outcome, got.saw)
		}
	}
	if r.code != exitYes {
		t.Errorf("exit code %d:\n%s", r.code, r.out)
	}
}

// TestInterrupted interrupts the program while an answer streams: the key is
// removed all the same.
func TestInterrupted(t *testing.T) {
	p, err := start(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	made := ""
	flaw := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == messagesPath {
				made = p.keys(t)
				interrupt()
			}
			next.ServeHTTP(w, r)
		})
	}
	r := rehearse(ctx, t, front(t, p, flaw, false, false).URL, nil)
	if !strings.Contains(made, keyName) {
		t.Errorf("no key was there when the answer began: %s", made)
	}
	if left := p.keys(t); strings.Contains(left, keyName) {
		t.Errorf("the key was left behind: %s\n%s", left, r.out)
	}
	if f := r.findings["streaming"]; f != skip("interrupted") {
		t.Errorf("streaming: %v", f)
	}
	if r.code != exitUnusable {
		t.Errorf("exit code %d:\n%s", r.code, r.out)
	}
}

func TestTLS(t *testing.T) {
	t.Run("trusted, HTTP/2", func(t *testing.T) {
		srv := front(t, shared, nil, true, true)
		r := rehearse(t.Context(), t, srv.URL, trust(srv))
		if r.findings["certificate"].outcome != yes || r.findings["http/2"].outcome != yes || r.code != exitYes {
			t.Errorf("exit code %d:\n%s", r.code, r.out)
		}
	})
	t.Run("HTTP/1.1 only", func(t *testing.T) {
		srv := front(t, shared, nil, true, false)
		r := rehearse(t.Context(), t, srv.URL, trust(srv))
		if r.findings["certificate"].outcome != yes || r.findings["http/2"].outcome != no || r.code != exitNo {
			t.Errorf("exit code %d:\n%s", r.code, r.out)
		}
	})
	t.Run("not trusted", func(t *testing.T) {
		r := rehearse(t.Context(), t, front(t, shared, nil, true, true).URL, nil)
		if r.findings["certificate"].outcome != no || r.findings["reach"].outcome != no || r.code != exitNo {
			t.Errorf("exit code %d:\n%s", r.code, r.out)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		srv := front(t, shared, nil, true, true)
		srv.Close()
		r := rehearse(t.Context(), t, srv.URL, trust(srv))
		if r.findings["certificate"].outcome != unchecked || r.findings["reach"].outcome != no || r.code != exitNo {
			t.Errorf("exit code %d:\n%s", r.code, r.out)
		}
	})
}

func FuzzParseRefusal(f *testing.F) {
	for _, seed := range []string{`{"error":{"code":"store_down","message":"x"}}`, `{"type":"error","error":{"type":"a","message":"b"}}`, "<html>", "", "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := parseRefusal(413, body)
		if r.status != 413 || r.shaped && r.text == "" || !strings.HasPrefix(r.Error(), "413 ") {
			t.Errorf("%q: %+v", body, r)
		}
	})
}

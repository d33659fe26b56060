package relay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// upstream is a vendor that answers each request as the script says; its last
// handler answers all that follow.
type upstream struct {
	*httptest.Server
	mu     sync.Mutex
	script []http.HandlerFunc
	heads  []http.Header
	bodies [][]byte
}

func newUpstream(t testing.TB, script []http.HandlerFunc) *upstream {
	u := &upstream{script: script}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the relay gave the request up
		}
		u.mu.Lock()
		n := min(len(u.heads), len(u.script)-1)
		u.heads, u.bodies = append(u.heads, r.Header.Clone()), append(u.bodies, body)
		u.mu.Unlock()
		u.script[n](w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

// got are the requests so far.
func (u *upstream) got() (heads []http.Header, bodies [][]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]http.Header(nil), u.heads...), append([][]byte(nil), u.bodies...)
}

// frames is a whole answer.
func frames() []string {
	return []string{
		event("message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[],"usage":{"input_tokens":10,"output_tokens":1}}}`),
		event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`),
		event("ping", `{"type":"ping"}`),
		delta("Hel"), delta("lo"),
		event("content_block_stop", `{"type":"content_block_stop","index":0}`),
		event("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}`),
		event("message_stop", `{"type":"message_stop"}`),
	}
}

func event(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }

func delta(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // strings always marshal
	}
	return event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":`+string(b)+`}}`)
}

// streams answers with pieces of a stream, each flushed, and then runs the rest.
func streams(pieces []string, then ...http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		for _, p := range pieces {
			_, _ = io.WriteString(w, p) // a relay that left is seen by what follows
			_ = http.NewResponseController(w).Flush()
		}
		for _, f := range then {
			f(w, r)
		}
	}
}

// cuts ends the connection.
func cuts(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// hangs says nothing until the relay leaves.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// refuses answers with a status and body.
func refuses(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// vendorError is an error body as the vendor writes it.
func vendorError(kind, message string) string {
	return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%q}}`, kind, message)
}

// streamed is the body of a call that asks for a stream.
func streamed() []byte {
	return []byte(`{"model":"claude-haiku-4-5","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"Hello"}]}`)
}

// wantError fails unless the answer is an error of that type in the format.
func wantError(t testing.TB, answer []byte, kind string) {
	t.Helper()
	var e struct {
		Type  string `json:"type"`
		Error struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer, &e); err != nil {
		t.Errorf("the error is not JSON: %v: %.200q", err, answer)
		return
	}
	if e.Type != "error" || e.Error.Type != kind || e.Error.Message == "" {
		t.Errorf("error %+v, want type %s", e, kind)
	}
}

// wantEvent fails unless the stream ends with an error event of that type.
func wantEvent(t testing.TB, answer []byte, kind string) {
	t.Helper()
	at := bytes.LastIndex(answer, []byte("event: error\ndata: "))
	if at < 0 || !bytes.HasSuffix(answer, []byte("\n\n")) {
		t.Errorf("the stream does not end with an error event: %.400q", answer)
		return
	}
	wantError(t, []byte(strings.TrimPrefix(string(answer[at:]), "event: error\ndata: ")), kind)
}

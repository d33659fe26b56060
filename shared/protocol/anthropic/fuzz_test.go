package anthropic

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/sse"
)

// bodies are requests of every kind, valid and not.
func bodies() []string {
	return []string{
		`{"model":"m","max_tokens":1}`,
		`{"mod\u0065l":"m\ud83d\ude00","stream":true,"max_tokens":128000,"messages":[{"role":"user","content":"hi"}]}`,
		`{"model":"m","max_tokens":1,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],"tools":[{"name":"f","cache_control":{}}]}`,
		`{"model":"m","max_tokens":1,"messages":[{"content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]}`,
		`{"model":"m","max_tokens":1,"metadata":{"user_id":"{\"session_id\":\"s\"}"}}`,
		`{"Model":"m","max_tokens":1}`, `{"model":"m","model":"n","max_tokens":1}`, `{"model":"m","\u017ftream":true,"max_tokens":1}`,
		`{"model":"m","max_tokens":1e3}`, `{"model":"m","stream":"yes","max_tokens":1}`, `[]`, ``, `{"model":"m"`,
	}
}

// FuzzReadCall holds what is read against encoding/json.
func FuzzReadCall(f *testing.F) {
	for _, body := range bodies() {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		call, err := Front{}.ReadCall(httptest.NewRequest(http.MethodPost, "/v1/messages", nil), body)
		if err != nil {
			if call != nil || fault.CodeOf(err) != fault.Invalid {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		var want struct {
			Model     string `json:"model"`
			Stream    bool   `json:"stream"`
			MaxTokens int64  `json:"max_tokens"`
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("%q is accepted: %v", body, err)
		}
		if call.Model != want.Model || call.Stream != want.Stream || call.MaxOutput != want.MaxTokens {
			t.Fatalf("%q is read as %q, %t, %d", body, call.Model, call.Stream, call.MaxOutput)
		}
		if b := call.Input; b.Text < 0 || b.Media < 0 || len(call.Session) > maxSession {
			t.Fatalf("%q: bound %+v, session %q", body, b, call.Session)
		}
	})
}

// FuzzRetarget: of a body that is accepted, only the model changes.
func FuzzRetarget(f *testing.F) {
	for _, body := range bodies() {
		f.Add([]byte(body), `another "model"`)
	}
	f.Fuzz(func(t *testing.T, body []byte, model string) {
		if _, err := (Front{}).ReadCall(httptest.NewRequest(http.MethodPost, "/v1/messages", nil), body); err != nil || !utf8.ValidString(model) {
			return
		}
		out, err := Back{}.Retarget(body, model)
		if err != nil {
			t.Fatal(err)
		}
		var before, after map[string]json.RawMessage
		if err := json.Unmarshal(body, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := json.Unmarshal(after["model"], &got); err != nil || got != model {
			t.Fatalf("%v: the model is %q, not %q", err, got, model)
		}
		delete(before, "model")
		delete(after, "model")
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatal(diff)
		}
		again, err := Back{}.Retarget(out, model)
		if err != nil || &again[0] != &out[0] {
			t.Fatalf("%v: what names the model already is copied", err)
		}
	})
}

// FuzzDecode: no frame is lost, and an answer ends with exactly one verdict.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(answer))
	f.Add([]byte("data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n"))
	f.Add([]byte("event: message_start\ndata: {\"message\":\ndata: {\"usage\":{\"iterations\":[{}]}}}\n\n: comment\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var want, got strings.Builder
		for frame, err := range sse.Frames(bytes.NewReader(stream), 1<<20) {
			if err == nil {
				want.Write(frame.Raw)
			}
		}
		terminal, failed := false, false
		for ev, err := range (Back{}).Decode(sse.Frames(bytes.NewReader(stream), 1<<20)) {
			if failed {
				t.Fatal("an event after the end")
			}
			if err != nil {
				failed = true
				continue
			}
			got.Write(ev.Frame.Raw)
			failed = ev.Kind == llm.Fail
			terminal = terminal || failed || ev.Kind == llm.Stop || ev.Kind == llm.Whole
			if ev.Generated < 0 || ev.Generated > len(ev.Frame.Data) {
				t.Fatalf("%d bytes generated of %d", ev.Generated, len(ev.Frame.Data))
			}
			if (ev.Err != nil) != (ev.Kind == llm.Fail) {
				t.Fatalf("kind %d with %v", ev.Kind, ev.Err)
			}
		}
		if !terminal && !failed {
			t.Fatal("the answer ended without a terminal event and without an error")
		}
		if !strings.HasPrefix(want.String(), got.String()) || !failed && got.Len() != want.Len() {
			t.Fatalf("%q became %q", want.String(), got.String())
		}
	})
}

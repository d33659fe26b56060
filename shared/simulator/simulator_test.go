package simulator_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/llm"
	"sluice/shared/simulator"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const testKey = "test-key"

// clock is a fixed time, so that headers and caches are the same each run.
func clock() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// ask builds a request that is in order.
func ask(t testing.TB, url, body, script string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Api-Key", testKey)
	r.Header.Set("Anthropic-Version", "2023-06-01")
	if script != "" {
		r.Header.Set("X-Sim", script)
	}
	return r
}

// serve answers a request without a network.
func serve(s *simulator.Simulator, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func body(stream bool, more string) string {
	b := `{"model":"claude-test","max_tokens":1024,"messages":[{"role":"user","content":"hello"}]`
	if stream {
		b += `,"stream":true`
	}
	return b + more + "}"
}

// set is a change of a request's header.
func set(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		name   string
		body   string
		change func(*http.Request)
		status int
		want   string // type: message
	}{
		{"no credential", body(false, ""), func(r *http.Request) { r.Header.Del("X-Api-Key") }, 401, "authentication_error: x-api-key header is required"},
		{"wrong key", body(false, ""), set("X-Api-Key", "other-key"), 401, "authentication_error: invalid x-api-key"},
		{"no version", body(false, ""), func(r *http.Request) { r.Header.Del("Anthropic-Version") }, 400, "invalid_request_error: anthropic-version: header is required"},
		{"content type", body(false, ""), set("Content-Type", "text/plain"), 415, "invalid_request_error: Content-Type: must be application/json"},
		{"no JSON", `{"model"`, nil, 400, "invalid_request_error: The request body is not valid JSON: unexpected end of JSON at byte 8, want ':'"},
		{"two bodies", body(false, "") + "{}", nil, 400, "invalid_request_error: The request body is not valid JSON: unexpected '{' at byte 88, want the end"},
		{"no UTF-8", body(false, `,"x":"`+"\xff"+`"`), nil, 400, "invalid_request_error: The request body is not valid UTF-8"},
		{"no model", `{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, nil, 400, "invalid_request_error: model: Field required"},
		{"model", `{"model":5}`, nil, 400, "invalid_request_error: model: Input should be a valid string"},
		{"unknown model", `{"model":"other","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, nil, 404, "not_found_error: model: other"},
		{"no max_tokens", `{"model":"claude-test","messages":[{"role":"user","content":"x"}]}`, nil, 400, "invalid_request_error: max_tokens: Field required"},
		{"max_tokens 0", `{"max_tokens":0}`, nil, 400, "invalid_request_error: max_tokens: must be greater than or equal to 1"},
		{"max_tokens text", `{"max_tokens":"5"}`, nil, 400, "invalid_request_error: max_tokens: Input should be a valid integer"},
		{"stream", `{"stream":"yes"}`, nil, 400, "invalid_request_error: stream: Input should be a valid boolean"},
		{"no messages", `{"model":"claude-test","max_tokens":1,"messages":[]}`, nil, 400, "invalid_request_error: messages: at least one message is required"},
		{"messages", `{"messages":"x"}`, nil, 400, "invalid_request_error: messages: Input should be a valid list"},
		{"role", `{"messages":[{"role":"boss","content":"x"}]}`, nil, 400, "invalid_request_error: messages.0.role: Input should be 'user' or 'assistant'"},
		{"content", `{"messages":[{"role":"user","content":5}]}`, nil, 400, "invalid_request_error: messages.0.content: Input should be a valid string or list"},
		{"system", `{"system":5}`, nil, 400, "invalid_request_error: system: Input should be a valid list"},
		{"tools", `{"tools":"x"}`, nil, 400, "invalid_request_error: tools: Input should be a valid list"},
		{"thinking", `{"thinking":"x"}`, nil, 400, "invalid_request_error: thinking: Input should be a valid dictionary"},
		{"cache_control", `{"cache_control":"x"}`, nil, 400, "invalid_request_error: cache_control: Input should be a valid dictionary"},
		{"ttl", `{"cache_control":{"ttl":"2h"}}`, nil, 400, "invalid_request_error: cache_control.ttl: Input should be '5m' or '1h'"},
		{"budget", body(false, `,"thinking":{"type":"enabled","budget_tokens":1024}`), nil, 400, "invalid_request_error: `max_tokens` must be greater than `thinking.budget_tokens`"},
		{"sampling", body(false, `,"top_p":1`), set("Anthropic-Version", "2026-10-21"), 400, "invalid_request_error: top_p: Extra inputs are not permitted"},
		{"too long", strings.Replace(body(false, ""), "hello", strings.Repeat("hello", 1<<20), 1), nil, 400, "invalid_request_error: prompt is too long: 1310722 tokens > 1000000 maximum"},
		{"too large", strings.Repeat(" ", 32<<20+1), nil, 413, "request_too_large: Request exceeds the maximum size"},
		{"made-up thinking", `{"messages":[{"role":"assistant","content":[{"type":"text","text":"x"},{"type":"thinking","thinking":"x","signature":"eA=="}]}]}`, nil, 400, "invalid_request_error: messages.0.content.1: Invalid `signature` in `thinking` block"},
		{"script", body(false, ""), set("X-Sim", "outptu=5"), 400, "invalid_request_error: sim: outptu=5: no such key"},
	}
	s := simulator.New(simulator.Options{Now: clock, Keys: []string{testKey}})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := ask(t, "/v1/messages", c.body, "")
			if c.change != nil {
				c.change(r)
			}
			w := serve(s, r)
			if got := errorOf(t, w.Body.Bytes()); w.Code != c.status || got != c.want {
				t.Errorf("answered %d %s\nwant %d %s", w.Code, got, c.status, c.want)
			}
			if (w.Header().Get("X-Should-Retry") == "false") != (c.status == http.StatusUnauthorized) {
				t.Error("only a refused credential is final")
			}
		})
	}
	if bill := s.Bill(); len(bill) > 0 {
		t.Errorf("refused calls were charged: %+v", bill)
	}
}

// errorOf is "type: message" of an error envelope.
func errorOf(t *testing.T, b []byte) string {
	t.Helper()
	var e struct {
		Type      string                         `json:"type"`
		Error     struct{ Type, Message string } `json:"error"`
		RequestID string                         `json:"request_id"`
	}
	if err := json.Unmarshal(b, &e); err != nil || e.Type != "error" || !strings.HasPrefix(e.RequestID, "req_") {
		t.Fatalf("no error envelope (%v): %.200s", err, b)
	}
	return e.Error.Type + ": " + e.Error.Message
}

func TestOtherRoutes(t *testing.T) {
	s := simulator.New(simulator.Options{Now: clock, Keys: []string{testKey}})
	cases := []struct {
		method, path, key string
		status            int
		want              string // part of the body
	}{
		{"GET", "/api/hello", "", 200, `{"message":"hello"}`},
		{"HEAD", "/api/hello", "", 200, ``},
		{"GET", "/v1/models?limit=1000", testKey, 200, `"first_id":"claude-opus-5-5"`},
		{"GET", "/v1/models", "", 401, `authentication_error`},
		{"GET", "/v1/models/claude-x", testKey, 200, `"id":"claude-x"`},
		{"GET", "/v1/models/other", testKey, 404, `model: other`},
		{"GET", "/v1/models/claude-x", "", 401, `authentication_error`},
		{"GET", "/nowhere", testKey, 404, `not_found_error`},
	}
	for _, c := range cases {
		r := httptest.NewRequest(c.method, c.path, nil)
		r.Header.Set("Anthropic-Version", "2023-06-01")
		if c.key != "" {
			r.Header.Set("Authorization", "Bearer "+c.key)
		}
		if w := serve(s, r); w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s answered %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
}

func TestCountTokensAgreesWithBill(t *testing.T) {
	s := simulator.New(simulator.Options{Now: clock})
	b := body(false, `,"system":[{"type":"text","text":"be short"}],"tools":[{"name":"t","input_schema":{}}],"metadata":{"user_id":"u"}`)
	counted := serve(s, ask(t, "/v1/messages/count_tokens", strings.Replace(b, `"max_tokens":1024,`, "", 1), ""))
	serve(s, ask(t, "/v1/messages", b, ""))
	bill := s.Bill()
	if len(bill) != 1 {
		t.Fatalf("%d charges, want one: counting is free", len(bill))
	}
	var answer map[string]int64
	if err := json.Unmarshal(counted.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if got, want := answer["input_tokens"], llm.Count(bill[0].Usage.Input); got != want || want == 0 {
		t.Errorf("counted %d, billed %d", got, want)
	}
}

func TestMediaWeighsByThePiece(t *testing.T) {
	s := simulator.New(simulator.Options{Now: clock})
	for _, size := range []int{100, 100_000} {
		image := `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + strings.Repeat("A", size) + `"}}`
		b := `{"model":"claude-test","messages":[{"role":"user","content":[{"type":"tool_result","content":[` + image + `]}]}]}`
		w := serve(s, ask(t, "/v1/messages/count_tokens", b, ""))
		if got := w.Body.String(); got != `{"input_tokens":1527}` {
			t.Errorf("an image of %d bytes counts %s", size, got)
		}
	}
}

func TestBillOverHTTP(t *testing.T) {
	s := simulator.New(simulator.Options{Now: clock, Keep: 2})
	for range 3 {
		serve(s, ask(t, "/v1/messages", body(true, ""), "search=2 tier=priority"))
	}
	want := s.Bill()
	if len(want) != 2 || want[0].RequestID == want[1].RequestID {
		t.Fatalf("kept %d charges, want the last two", len(want))
	}
	w := serve(s, httptest.NewRequest(http.MethodGet, "/sim/bill", nil))
	if bytes.Contains(w.Body.Bytes(), []byte(testKey)) {
		t.Error("the bill holds a credential")
	}
	var got []simulator.Charge
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the bill does not survive JSON (-want +got):\n%s", diff)
	}
	if got[0].Account != simulator.AccountOf(testKey) || got[0].Usage.Units[llm.WebSearches] != 2 || got[0].Usage.Tier != "priority" {
		t.Errorf("charge %+v", got[0])
	}
	if w := serve(s, httptest.NewRequest(http.MethodDelete, "/sim/bill", nil)); w.Code != http.StatusNoContent {
		t.Errorf("DELETE answered %d", w.Code)
	}
	if left := s.Bill(); len(left) != 0 {
		t.Errorf("%d charges left", len(left))
	}
	var d simulator.Digest
	for _, bad := range []string{"", strings.Repeat("x", 64)} {
		if d.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("digest %q was taken", bad)
		}
	}
}

func TestDeterministic(t *testing.T) {
	var seen [2]string
	for i := range seen {
		s := simulator.New(simulator.Options{Now: clock, Seed: 7})
		w := serve(s, ask(t, "/v1/messages", body(true, `,"thinking":{"type":"adaptive"}`), "output=200"))
		dump, err := io.ReadAll(w.Result().Body)
		if err != nil {
			t.Fatal(err)
		}
		seen[i] = w.Header().Get("Request-Id") + string(dump)
	}
	if seen[0] != seen[1] {
		t.Errorf("two answers differ:\n%s", cmp.Diff(seen[0], seen[1]))
	}
}

package anthropic

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
)

// wire is what every code is written as.
func wire() map[fault.Code]meaning {
	return map[fault.Code]meaning{
		fault.Unauthenticated: {401, "authentication_error"},
		fault.Forbidden:       {403, "permission_error"},
		fault.Invalid:         {400, "invalid_request_error"},
		fault.NotFound:        {404, "not_found_error"},
		fault.Conflict:        {409, "invalid_request_error"},
		fault.TooLarge:        {413, "request_too_large"},
		fault.Unsupported:     {415, "invalid_request_error"},
		fault.NotImplemented:  {501, "not_supported_error"},
		fault.BudgetSpent:     {429, "billing_error"},
		fault.BudgetHeld:      {429, "rate_limit_error"},
		fault.RateLimited:     {429, "rate_limit_error"},
		fault.Concurrency:     {429, "rate_limit_error"},
		fault.Busy:            {503, "api_error"},
		fault.Draining:        {503, "api_error"},
		fault.StoreDown:       {503, "api_error"},
		fault.NoAccount:       {404, "not_found_error"},
		fault.UpstreamRefused: {400, "invalid_request_error"},
		fault.UpstreamFailed:  {502, "api_error"},
		fault.UpstreamBusy:    {529, "overloaded_error"},
		fault.UpstreamTimeout: {504, "timeout_error"},
		fault.UpstreamCut:     {502, "api_error"},
		fault.TooLong:         {504, "timeout_error"},
		fault.Gone:            {499, "api_error"},
		fault.Internal:        {500, "api_error"},
	}
}

func TestEveryCodeIsWritten(t *testing.T) {
	for _, code := range fault.Codes() {
		want, listed := wire()[code]
		if !listed {
			t.Errorf("%s is not in the table of this test", code)
			continue
		}
		err := fault.Wrap(code, errors.New("test-secret"), "what to do")
		w := httptest.NewRecorder()
		w.Header().Set("Request-Id", "req_1")
		Front{}.WriteError(w, err)
		var got errorBody
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		body := errorBody{Type: "error", Error: errorDetail{want.kind, "what to do"}, RequestID: "req_1"}
		if diff := cmp.Diff(body, got); diff != "" || w.Code != want.status {
			t.Errorf("%s: status %d, want %d\n%s", code, w.Code, want.status, diff)
		}
		if strings.Contains(w.Body.String(), "test-secret") {
			t.Errorf("%s tells its cause", code)
		}
		if final := w.Header().Get("X-Should-Retry") == "false"; final != err.Final() {
			t.Errorf("%s: x-should-retry is not as final as the fault", code)
		}
		frame := `event: error` + "\n" + `data: {"type":"error","error":{"type":"` + want.kind + `","message":"what to do"}}` + "\n\n"
		if diff := cmp.Diff(frame, string(Front{}.ErrorFrame(err))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestErrorHeaders(t *testing.T) {
	now := func() time.Time { return time.Unix(1_000_000, 0) }
	write := func(err error) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		Front{Now: now}.WriteError(w, err)
		return w
	}
	for after, want := range map[time.Duration]string{0: "", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Hour: "3600"} {
		if got := write(fault.New(fault.Busy, "x").After(after)).Header().Get("Retry-After"); got != want {
			t.Errorf("after %s: retry-after %q, want %q", after, got, want)
		}
	}
	spent := write(fault.New(fault.BudgetSpent, "x").After(90 * time.Second)).Header()
	want := http.Header{
		"Content-Type": {"application/json"}, "Content-Length": {"63"}, "Retry-After": {"90"}, "X-Should-Retry": {"false"},
		"Anthropic-Ratelimit-Unified-Status": {"rejected"}, "Anthropic-Ratelimit-Unified-Reset": {"1000090"},
	}
	if diff := cmp.Diff(want, spent); diff != "" {
		t.Error(diff)
	}
	if got := write(fault.New(fault.BudgetSpent, "x")).Header(); got.Get("Anthropic-Ratelimit-Unified-Status") != "rejected" || got.Get("Anthropic-Ratelimit-Unified-Reset") != "" {
		t.Errorf("a total that is spent has no reset: %v", got)
	}
	w := httptest.NewRecorder()
	Front{}.WriteError(w, fault.New(fault.BudgetSpent, "x").After(time.Second))
	if w.Header().Get("Anthropic-Ratelimit-Unified-Reset") == "" {
		t.Error("the zero value tells no time")
	}
}

func TestErrorMessages(t *testing.T) {
	message := func(err error) string {
		w := httptest.NewRecorder()
		Front{}.WriteError(w, err)
		return w.Body.String()
	}
	if got := message(fault.At("max_tokens", "is <required>")); got != `{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: is <required>"}}` {
		t.Error(got)
	}
	if got := message(errors.New("test-secret")); strings.Contains(got, "test-secret") {
		t.Error(got)
	}
	refused := &fault.Error{Code: fault.UpstreamRefused, Status: 413, Kind: "request_too_large", Message: "prompt is too long: 2 > 1"}
	w := httptest.NewRecorder()
	Front{}.WriteError(w, refused)
	if w.Code != 413 || w.Body.String() != `{"type":"error","error":{"type":"request_too_large","message":"prompt is too long: 2 > 1"}}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPing(t *testing.T) {
	if got := string(Front{}.Ping()); got != "event: ping\ndata: {\"type\": \"ping\"}\n\n" {
		t.Errorf("%q", got)
	}
}

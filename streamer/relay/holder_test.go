package relay_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/admission"
	"sluice/shared/llm"
	"sluice/shared/secret"
	"sluice/shared/usage"
)

// ask is a request of a key's holder for another path than that of calls.
func (b *bench) ask(t *testing.T, method, path string, authorized bool) (status int, answer string) {
	t.Helper()
	status, _, body := b.call(t, nil, func(r *http.Request) {
		r.Method, r.Body, r.ContentLength = method, http.NoBody, 0
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(path, "?")
		if !authorized {
			r.Header = http.Header{}
		}
	})
	return status, string(body)
}

func TestRoutes(t *testing.T) {
	b := open(t, setup{})
	for _, c := range []struct {
		method, path string
		authorized   bool
		status       int
		says         string
	}{
		{"HEAD", "/api/hello", false, 200, ""},
		{"HEAD", "/claude/api/hello", false, 200, ""},
		{"GET", "/v1/models", false, 401, "authentication_error"},
		{"GET", "/v1/models?limit=1", true, 200, `"has_more":true`},
		{"GET", "/claude/v1/models?limit=1000", true, 200, `"has_more":false`},
		{"GET", "/v1/models?limit=0", true, 400, "limit: "},
		{"GET", "/v1/models?limit=2&before_id=claude-opus-4-5", true, 200, `"type":"model"`},
		{"GET", "/api/v1/models/claude-opus-4-5", true, 200, `"id":"claude-opus-4-5"`},
		{"GET", "/v1/models/claude-nothing", true, 404, "not_found_error"},
		{"GET", "/v1/me", false, 401, "authentication_error"},
		{"GET", "/v1/me/usage?from=yesterday", true, 400, "from: "},
		{"POST", "/v1/chat/completions", false, 401, "authentication_error"},
		{"POST", "/v1/chat/completions", true, 501, "does not speak"},
		{"POST", "/v1beta/models/gemini-3-pro:generateContent", true, 501, "does not speak"},
		{"GET", "/nowhere", false, 401, "authentication_error"},
		{"GET", "/nowhere", true, 404, "there is no route GET /nowhere"},
	} {
		status, answer := b.ask(t, c.method, c.path, c.authorized)
		if status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s %s (with a key: %v): %d %s; want %d, %q", c.method, c.path, c.authorized, status, answer, c.status, c.says)
		}
	}
}

func TestHolderSeesWhatTheKeyUsed(t *testing.T) {
	b := open(t, setup{}, streams(frames()))
	for _, base := range []string{"", "/api", "/claude"} {
		status, _, answer := b.call(t, streamed(), func(r *http.Request) { r.URL.Path = base + r.URL.Path })
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", base, status, answer)
		}
	}
	b.idle(t)
	var total string
	for _, path := range []string{"/v1/me", "/v1/me/usage"} {
		status, answer := b.ask(t, "GET", path, true)
		var got struct {
			Balance struct {
				Day string `json:"day_usd"`
			} `json:"balance"`
			Data []struct {
				Model    string `json:"model"`
				Requests int    `json:"requests"`
			} `json:"data"`
			Total string `json:"total_usd"`
		}
		if err := json.NewDecoder(strings.NewReader(answer)).Decode(&got); err != nil {
			t.Fatal(err)
		}
		switch {
		case status != http.StatusOK:
			t.Errorf("%s: %d %s", path, status, answer)
		case path == "/v1/me":
			total = got.Balance.Day
		case got.Total != total || len(got.Data) != 1 || got.Data[0].Requests != 3:
			t.Errorf("the balance is $%s, the usage %s", total, answer)
		}
	}
	for _, r := range b.settled(t) {
		if r.Outcome != usage.Complete {
			t.Errorf("%+v", r)
		}
	}
}

// A client sees the windows of its key, and never those of the account.
func TestAnswersTellTheRoomOfWindows(t *testing.T) {
	b := open(t, setup{}, streams(frames()))
	const text = "windowed-key"
	_, err := b.records.Keys().Create(t.Context(), "test", admission.Key{
		Owner: admission.Owner{
			ID: llm.NewID("key_", time.Now()), Name: text, Status: admission.Active,
			Limits: admission.Limits{Windows: []admission.Window{{Minutes: 1, Requests: 3}}},
		},
		Digest: admission.Digest(secret.New(text)), Hint: "-key",
	})
	if err != nil {
		t.Fatal(err)
	}
	status, h, _ := b.call(t, streamed(), func(r *http.Request) {
		r.Header.Del("Authorization")
		r.Header.Set("X-Api-Key", text)
	})
	reset, err := time.Parse(time.RFC3339, h.Get("Anthropic-Ratelimit-Requests-Reset"))
	if status != http.StatusOK || h.Get("Anthropic-Ratelimit-Requests-Limit") != "3" || h.Get("Anthropic-Ratelimit-Requests-Remaining") != "2" ||
		err != nil || time.Until(reset) > 2*time.Minute || h.Get("Anthropic-Ratelimit-Tokens-Limit") != "" {
		t.Errorf("%d %v", status, h)
	}
}

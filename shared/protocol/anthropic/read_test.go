package anthropic

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/llm"
)

// call reads a body as a generating call.
func call(t *testing.T, body string) (*llm.Call, error) {
	t.Helper()
	return Front{}.ReadCall(httptest.NewRequest(http.MethodPost, "/v1/messages", nil), []byte(body))
}

// minimal is a body with the members that a call must have, and more.
func minimal(more string) string { return `{"model":"m","max_tokens":8` + more + `}` }

func TestReadCall(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/claude/v1/messages?beta=true&key=test-key&b=%20", nil)
	r.Header.Set("Anthropic-Beta", "unknown-2030-01-01")
	body := []byte(` {"messages":[],"mod\u0065l":"claude-\u006f","stream":true,"max_tokens":128000,"unknown":{"model":1,"model":2}} `)
	got, err := Front{}.ReadCall(r, body)
	if err != nil {
		t.Fatal(err)
	}
	want := &llm.Call{
		Protocol: llm.Anthropic, Op: llm.Generate, Model: "claude-o", Stream: true, MaxOutput: 128000,
		Input: llm.Bound{Text: int64(len(body))}, Body: body, Query: "beta=true&b=%20",
		Header: http.Header{"Anthropic-Beta": {"unknown-2030-01-01"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if &got.Body[0] != &body[0] {
		t.Error("the body was copied")
	}
}

func TestReadCallTellsOperations(t *testing.T) {
	for _, route := range (Front{}).Routes() {
		method, path, _ := strings.Cut(route, " ")
		got, err := Front{}.ReadCall(httptest.NewRequest(method, path, nil), []byte(minimal("")))
		if err != nil {
			t.Fatalf("%s: %v", route, err)
		}
		if want := strings.HasSuffix(path, "count_tokens"); (got.Op == llm.CountTokens) != want {
			t.Errorf("%s is operation %d", route, got.Op)
		}
	}
	count := httptest.NewRequest(http.MethodPost, "/v1/messages/count_tokens", nil)
	if got, err := (Front{}).ReadCall(count, []byte(`{"model":"m"}`)); err != nil || got.MaxOutput != 0 {
		t.Errorf("a count needs no max_tokens: %v", err)
	}
	if _, err := (Front{}).ReadCall(httptest.NewRequest(http.MethodPost, "/v1/complete", nil), nil); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("another path: %v", err)
	}
}

func TestReadCallRefuses(t *testing.T) {
	for body, want := range map[string]string{
		``:                                   "the request body is not valid JSON: unexpected end of the text at byte 0",
		`[1]`:                                "the request body must be a JSON object",
		`"model"`:                            "the request body must be a JSON object",
		`{"model":"m"`:                       "the request body is not valid JSON: unexpected end of the text at byte 12",
		`{"model":"m","max_tokens":8} x`:     "the request body is not valid JSON: unexpected data after the value at byte 29",
		`[1`:                                 "the request body is not valid JSON: unexpected end of the text at byte 2",
		"{\"model\":\"ä\xff\"}":              "the request body is not valid UTF-8 at byte 12",
		`{"max_tokens":8}`:                   "model: is required",
		`{"model":null,"max_tokens":8}`:      "model: must be a string",
		`{"model":"","max_tokens":8}`:        "model: must not be empty",
		`{"model":"m"}`:                      "max_tokens: is required",
		`{"model":"m","max_tokens":"8"}`:     "max_tokens: must be an integer of at least 0",
		`{"model":"m","max_tokens":-1}`:      "max_tokens: must be an integer of at least 0",
		`{"model":"m","max_tokens":1.5}`:     "max_tokens: must be an integer of at least 0",
		`{"model":"m","max_tokens":1e3}`:     "max_tokens: must be an integer of at least 0",
		minimal(`,"stream":1`):               "stream: must be true or false",
		minimal(`,"mod\u0065l":"other"`):     "model: the member occurs more than once",
		minimal(`,"max_tokens":9`):           "max_tokens: the member occurs more than once",
		minimal(`,"tools":[],"tools":[]`):    "tools: the member occurs more than once",
		minimal(`,"speed":"a","speed":"b"`):  "speed: the member occurs more than once",
		minimal(`,"system":[{"type":"text"`): "the request body is not valid JSON: unexpected end of the text at byte 53",
		`{"model":"` + strings.Repeat("m", 257) + `","max_tokens":8}`: "model: is 257 bytes long; at most 256 are allowed",
	} {
		_, err := call(t, body)
		e := fault.From(err)
		got := e.Message
		if e.Field != "" {
			got = e.Field + ": " + got
		}
		if err == nil || e.Code != fault.Invalid || got != want {
			t.Errorf("%.80q\n got %s: %s\nwant %s", body, e.Code, got, want)
		}
	}
}

func TestReadCallAcceptsWhatTheVendorAccepts(t *testing.T) {
	for _, more := range []string{``, `,"stream":null`, `,"stream":false`, `,"system":null,"tools":null,"messages":null`, `,"metadata":7`, `,"tools":[1],"messages":[2,{"content":3}]`} {
		if _, err := call(t, minimal(more)); err != nil {
			t.Errorf("%s: %v", more, err)
		}
	}
	if c, err := call(t, `{"model":"m","max_tokens":0}`); err != nil || c.MaxOutput != 0 {
		t.Errorf("filling the cache without an answer: %v", err)
	}
}

func TestSession(t *testing.T) {
	const (
		tools  = `,"tools":[{"name":"a","cache_control":{"type":"ephemeral"}},{"name":"b"}]`
		system = `,"system":[{"type":"text","text":"s"}]`
		marked = `,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}},{"type":"text","text":"t"}]`
	)
	session := func(body, header string) string {
		r := httptest.NewRequest(http.MethodPost, "/v1/messages", nil)
		if header != "" {
			r.Header.Set("X-Claude-Code-Session-Id", header)
		}
		c, err := Front{}.ReadCall(r, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return c.Session
	}
	json := `,"metadata":{"user_id":"{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s-1\"}"}`
	old := `,"metadata":{"user_id":"user_0a_account_b_session_s-2"}`
	for _, c := range []struct{ body, header, want string }{
		{minimal(json), "s-0", "s-0"},
		{minimal(json), "", "s-1"},
		{minimal(json), strings.Repeat("x", 200), "s-1"},
		{minimal(old), "", "s-2"},
		{minimal(`,"metadata":{"user_id":"somebody"}`), "", ""},
		{minimal(`,"metadata":{"user_id":"{\"session_id\":7}"}`), "", ""},
		{minimal(`,"metadata":{"user_id":"{broken"}`), "", ""},
		{minimal(`,"metadata":{"user_id":null}`), "", ""},
		{minimal(`,"messages":[{"role":"user","content":"hi"}]`), "", ""},
	} {
		if got := session(c.body, c.header); got != c.want {
			t.Errorf("%s with %q is session %q, want %q", c.body, c.header, got, c.want)
		}
	}
	same := func(a, b string, want bool) {
		t.Helper()
		x, y := session(minimal(a), ""), session(minimal(b), "")
		if len(x) != 32 || len(y) != 32 || (x == y) != want {
			t.Errorf("%s is %q\n%s is %q\nwant the same: %t", a, x, b, y, want)
		}
	}
	same(tools+system, system+tools, true)
	same(tools+system, tools+strings.Replace(system, `"s"`, `"other"`, 1), true)
	same(tools+system, strings.Replace(tools, `"b"`, `"other"`, 1)+system, true)
	same(tools+system, strings.Replace(tools, `"a"`, `"other"`, 1)+system, false)
	same(marked, strings.Replace(marked, `"t"`, `"other"`, 1), true)
	same(marked, strings.Replace(marked, `"s"`, `"other"`, 1), false)
	same(tools+marked, strings.Replace(tools, `"b"`, `"other"`, 1)+marked, false)
	same(system, strings.Replace(system, `"s"`, `"other"`, 1), false)
	same(`,"system":"plain"`, `,"system":"plain","messages":[]`, true)
}

func TestHeadersThatLeave(t *testing.T) {
	in := http.Header{
		"Authorization": {"Bearer test-key"}, "X-Api-Key": {"test-key"}, "X-Goog-Api-Key": {"test-key"}, "Api-Key": {"test-key"},
		"Cookie": {"a=b"}, "Connection": {"keep-alive, x-mine", "X-Other"}, "X-Mine": {"1"}, "X-Other": {"1"}, "Keep-Alive": {"1"},
		"Proxy-Authorization": {"test"}, "Proxy-Connection": {"1"}, "Te": {"trailers"}, "Trailer": {"a"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"},
		"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=a"}, "Via": {"1.1 a"}, "X-Real-Ip": {"192.0.2.1"}, "Cf-Ray": {"a"}, "X-Amzn-Trace-Id": {"a"},
		"True-Client-Ip": {"192.0.2.1"}, "Host": {"a"}, "Content-Length": {"1"}, "Content-Encoding": {"gzip"}, "Accept-Encoding": {"gzip"}, "Expect": {"100-continue"},
	}
	want := http.Header{
		"Anthropic-Beta": {"a,b", "c"}, "Anthropic-Version": {"2026-10-21"}, "X-App": {"cli"}, "X-Stainless-Os": {"Linux"}, "X-Unknown": {"1"},
		"User-Agent": {"test"}, "Accept": {"application/json"}, "X-Claude-Code-Session-Id": {"s"}, "Content-Type": {"application/json"},
	}
	for name, values := range want {
		in[name] = values
	}
	got := forwarded(in)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got["Anthropic-Beta"][0] = "changed"
	if in["Anthropic-Beta"][0] == "changed" {
		t.Error("the copy shares its values")
	}
}

func TestQueryWithoutKey(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", "beta=true": "beta=true", "key=test": "", "b=2&a=1&key=test": "b=2&a=1", "%6bey=test&a=%2F": "a=%2F",
		"KEY=test": "", "monkey=1&keys=2": "monkey=1&keys=2", "a=1&&b": "a=1&&b", "%zz=1&a=2": "a=2",
	} {
		if got := withoutKey(raw); got != want {
			t.Errorf("%q leaves %q, want %q", raw, got, want)
		}
	}
}

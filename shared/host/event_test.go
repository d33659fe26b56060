package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	samples "sluice/events"
)

func urlEvent(method, path string) events.LambdaFunctionURLRequest {
	e := events.LambdaFunctionURLRequest{RawPath: path}
	e.RequestContext.DomainName = "function.test"
	e.RequestContext.HTTP.Method, e.RequestContext.HTTP.SourceIP = method, "192.0.2.1"
	return e
}

func restEvent(method, path string) events.APIGatewayProxyRequest {
	e := events.APIGatewayProxyRequest{
		Resource: "/{proxy+}", Path: path, HTTPMethod: method, PathParameters: map[string]string{"proxy": strings.TrimPrefix(path, "/")},
	}
	e.RequestContext.DomainName, e.RequestContext.Identity.SourceIP = "api.test", "192.0.2.1"
	return e
}

// decoded is an event as the runtime gets it.
func decoded(t testing.TB, sent any) (e event) {
	t.Helper()
	b, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestPathsOfRESTAPIs(t *testing.T) {
	for name, c := range map[string]struct {
		resource, path string
		parameters     map[string]string
		want           string
	}{
		"own domain name of the API":    {"/{proxy+}", "/v1/messages", map[string]string{"proxy": "v1/messages"}, "/v1/messages"},
		"mapping without a stage":       {"/{proxy+}", "/live/v1/messages", map[string]string{"proxy": "v1/messages"}, "/v1/messages"},
		"mapping with a base path":      {"/{proxy+}", "/llm/x/live/v1/messages", map[string]string{"proxy": "v1/messages"}, "/v1/messages"},
		"path that begins as a stage":   {"/{proxy+}", "/live/live", map[string]string{"proxy": "live/live"}, "/live/live"},
		"root":                          {"/", "/", nil, "/"},
		"root in a stage":               {"/", "/live", nil, "/"},
		"parameter decoded, they say":   {"/{proxy+}", "/live/a%3Ab%2Fc", map[string]string{"proxy": "a:b/c"}, "/a%3Ab%2Fc"},
		"parameter encoded, as seen":    {"/{proxy+}", "/live/a%3Ab%2Fc", map[string]string{"proxy": "a%3Ab%2Fc"}, "/a%3Ab%2Fc"},
		"last slash":                    {"/{proxy+}", "/live/v1/", map[string]string{"proxy": "v1"}, "/v1/"},
		"several parameters":            {"/v1/models/{id}", "/live/v1/models/x", map[string]string{"id": "x"}, "/v1/models/x"},
		"no parameters":                 {"/v1/me", "/live/v1/me", nil, "/v1/me"},
		"a parameter that is missing":   {"/{proxy+}", "/a/", nil, "/a/"},
		"not explained by its resource": {"/{proxy+}", "/live/a", map[string]string{"proxy": "b"}, "/live/a"},
		"came decoded":                  {"/{proxy+}", "/a?b c", map[string]string{"proxy": "a?b c"}, "/a%3Fb%20c"},
	} {
		t.Run(name, func(t *testing.T) {
			sent := restEvent("GET", c.path)
			sent.Resource, sent.PathParameters = c.resource, c.parameters
			e := decoded(t, sent)
			r, err := e.request(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			server, err := url.ParseRequestURI(c.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(server, r.URL); diff != "" || r.RequestURI != c.want {
				t.Errorf("%s (-as a server sees it +got)\n%s", r.RequestURI, diff)
			}
		})
	}
}

func TestHeadersOfRESTAPIs(t *testing.T) {
	sent := restEvent("GET", "/")
	sent.Headers = map[string]string{"host": "llm.example.com", "x-a": "2", "X-Only": "here"}
	sent.MultiValueHeaders = map[string][]string{"host": {"llm.example.com"}, "x-a": {"1", "2"}, "anthropic-beta": {"one", "two"}}
	e := decoded(t, sent)
	r, err := e.request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(http.Header{"X-A": {"1", "2"}, "Anthropic-Beta": {"one", "two"}, "X-Only": {"here"}}, r.Header); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if r.Host != "llm.example.com" || r.RemoteAddr != "192.0.2.1:0" {
		t.Errorf("host %q, remote address %q", r.Host, r.RemoteAddr)
	}
	e = decoded(t, restEvent("GET", "/"))
	if r, err = e.request(t.Context()); err != nil || r.Host != "api.test" {
		t.Errorf("host %v, %v, without a header", r, err)
	}
}

func TestAnswersToRESTAPIs(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range map[string][]string{
			"X-Two": {"a", "b"}, "Set-Cookie": {"a=1", "b=2"}, "Date": {"today"}, "Server": {"x"}, "Connection": {"close"},
			"Transfer-Encoding": {"chunked"}, "Www-Authenticate": {"Bearer"},
		} {
			w.Header()[name] = values
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no")
	}
	res, err := invoker(http.HandlerFunc(h), discard())(t.Context(), decoded(t, restEvent("GET", "/x")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"statusCode":401,"multiValueHeaders":{"Www-Authenticate":["Bearer"],"X-Two":["a","b"]},"cookies":["a=1","b=2"]}` +
		"\x00\x00\x00\x00\x00\x00\x00\x00no"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestMalformedInvocations(t *testing.T) {
	bad := urlEvent("GET", "/")
	bad.Body, bad.IsBase64Encoded = "%", true
	badREST := restEvent("GET", "/x")
	badREST.Body, badREST.IsBase64Encoded = "%", true
	for name, e := range map[string]any{
		"body": bad, "path": urlEvent("GET", "/%zz"), "method": urlEvent("G T", "/"), "authority": urlEvent("GET", "@evil.test/"),
		"REST body": badREST, "REST path": restEvent("GET", "/%zz"), "REST method": restEvent("G T", "/"),
		"REST authority": restEvent("GET", "@evil.test/"), "REST without a path": restEvent("GET", ""),
		"HTTP API, format 1.0": map[string]any{"version": "1.0", "resource": "/a", "path": "/a", "httpMethod": "GET"},
		"balancer":             map[string]any{"path": "/a", "httpMethod": "GET", "requestContext": map[string]any{"elb": map[string]any{}}},
		"schedule":             map[string]any{"job": "sweep"}, "nothing": nil,
	} {
		res, err := invoker(http.NotFoundHandler(), discard())(context.Background(), decoded(t, e))
		if err != nil || res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
}

func TestAHeaderThatAPIGatewayDoesNotRead(t *testing.T) {
	for name, c := range map[string]struct {
		sent any
		size int
		logs bool
	}{
		"small":            {restEvent("GET", "/x"), gatewayHeader / 2, false},
		"large":            {restEvent("GET", "/x"), gatewayHeader, true},
		"for Function URL": {urlEvent("GET", "/x"), gatewayHeader, false},
	} {
		var logged bytes.Buffer
		h := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Long", strings.Repeat("x", c.size)) }
		res, err := invoker(http.HandlerFunc(h), textLogger(&logged))(t.Context(), decoded(t, c.sent))
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(logged.String(), "API Gateway") != c.logs {
			t.Errorf("%s: logged %q", name, logged.String())
		}
	}
}

// TestSampleInvocations decodes the same call as a REST API and as a Function URL
// deliver it: the handler sees one request, but for what tells the two apart.
func TestSampleInvocations(t *testing.T) {
	const body = `{"model":"claude-sonnet-4-5","max_tokens":300,"stream":true,"messages":[{"role":"user","content":"Hello"}]}`
	for name, betas := range map[string][]string{
		"rest-api-messages.json":     {"interleaved-thinking-2025-05-14", "context-management-2025-06-27"},
		"function-url-messages.json": {"interleaved-thinking-2025-05-14,context-management-2025-06-27"},
	} {
		sample, err := samples.Samples.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var e event
		if err := json.Unmarshal(sample, &e); err != nil {
			t.Fatal(err)
		}
		r, err := e.request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != body || r.ContentLength != int64(len(body)) {
			t.Errorf("%s: body %q of %d bytes, %v", name, got, r.ContentLength, err)
		}
		if r.Method != http.MethodPost || r.RequestURI != "/v1/messages?beta=true" || r.URL.String() != r.RequestURI || r.RemoteAddr != "192.0.2.1:0" || r.Host != e.RequestContext.DomainName {
			t.Errorf("%s: %s %s from %s for %s", name, r.Method, r.RequestURI, r.RemoteAddr, r.Host)
		}
		if diff := cmp.Diff(betas, r.Header.Values("Anthropic-Beta")); diff != "" || r.Header.Get("X-Api-Key") != "test-key" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"rawPath":"/v1/messages","rawQueryString":"beta=true","requestContext":{"domainName":"function.test","http":{"method":"POST"}},"body":"e30=","isBase64Encoded":true}`))
	f.Add([]byte(`{"rawPath":"//other.test/","headers":{"host":"function.test"},"cookies":["a=1"],"requestContext":{"http":{"method":"GET"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e event
		if json.Unmarshal(b, &e) != nil || e.rest() {
			return
		}
		r, err := e.request(context.Background())
		if (r == nil) == (err == nil) {
			t.Fatalf("%v, %v", r, err)
		}
		if r != nil && strings.HasPrefix(e.RawPath, "/") && (r.URL.Host != "" || r.URL.Scheme != "") {
			t.Fatalf("the path %q names a host: %v", e.RawPath, r.URL)
		}
	})
}

func FuzzRESTRequest(f *testing.F) {
	f.Add([]byte(`{"resource":"/{proxy+}","path":"/v1/messages","httpMethod":"POST","headers":{"Host":"api.test"},"multiValueHeaders":{"Host":["api.test"],"a":["1","2"]},"multiValueQueryStringParameters":{"beta":["true"],"a b":["&","%"]},"pathParameters":{"proxy":"v1/messages"},"requestContext":{"stage":"live","path":"/live/v1/messages","identity":{"sourceIp":"192.0.2.1"}},"body":"e30=","isBase64Encoded":true}`))
	f.Add([]byte(`{"resource":"/{proxy+}","path":"//other.test/%3A?","httpMethod":"GET","pathParameters":{"proxy":"other.test/:"}}`))
	f.Add([]byte(`{"resource":"/a/{b}/c","path":"/live/a/%2F/c","httpMethod":"GET","pathParameters":{"b":"/"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e event
		if json.Unmarshal(b, &e) != nil || !e.rest() {
			return
		}
		r, err := e.request(context.Background())
		if (r == nil) == (err == nil) {
			t.Fatalf("%v, %v", r, err)
		}
		if r == nil {
			return
		}
		if r.URL.Host != "" || r.URL.Scheme != "" || !strings.HasPrefix(r.URL.Path, "/") {
			t.Fatalf("the path %q names a host: %v", e.Path, r.URL)
		}
		whole, err := url.PathUnescape(e.Path)
		if err == nil && e.Resource != "/" && !strings.HasSuffix(whole, r.URL.Path) {
			t.Fatalf("the path %q became %q", e.Path, r.URL.Path)
		}
		want := url.Values(e.Query)
		for name, values := range want {
			if got := r.URL.Query()[name]; !cmp.Equal(values, got) && len(values) > 0 {
				t.Fatalf("the query %q became %q", want, r.URL.RawQuery)
			}
		}
	})
}

// BenchmarkRequest decodes an invocation with a body as large as that of a usual
// call of a coding client.
func BenchmarkRequest(b *testing.B) {
	sent := restEvent("POST", "/v1/messages")
	sent.Body, sent.IsBase64Encoded = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 560<<10)), true
	payload, err := json.Marshal(sent)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		var e event
		if err := json.Unmarshal(payload, &e); err != nil {
			b.Fatal(err)
		}
		if _, err := e.request(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

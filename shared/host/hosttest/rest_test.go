package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
)

const nuls = "\x00\x00\x00\x00\x00\x00\x00\x00"

func TestRESTEvent(t *testing.T) {
	r, err := http.NewRequest(http.MethodPost, "https://api.test/v1/a%3Ab?b=1&a=x+%26&b=2", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"X-Several": {"1", "2"}, "Expect": {"100-continue"}}
	b, err := restEvent(r, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	var got events.APIGatewayProxyRequest
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := events.APIGatewayProxyRequest{
		Resource: "/{proxy+}", Path: "/v1/a%3Ab", HTTPMethod: "POST", PathParameters: map[string]string{"proxy": "v1/a%3Ab"},
		Headers: map[string]string{
			"Host": "api.test", "X-Several": "2", "Content-Length": "2", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https",
		},
		MultiValueHeaders: map[string][]string{
			"Host": {"api.test"}, "X-Several": {"1", "2"}, "Content-Length": {"2"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Port": {"443"}, "X-Forwarded-Proto": {"https"},
		},
		QueryStringParameters:           map[string]string{"a": "x &", "b": "2"},
		MultiValueQueryStringParameters: map[string][]string{"a": {"x &"}, "b": {"1", "2"}},
		Body:                            "e30=", IsBase64Encoded: true, RequestContext: got.RequestContext,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c := got.RequestContext; c.Path != "/live/v1/a%3Ab" || c.Stage != Stage || c.Identity.SourceIP != "192.0.2.1" {
		t.Errorf("context %+v", c)
	}
	r.Header = http.Header{"Transfer-Encoding": {"chunked"}}
	if _, err := restEvent(r, nil); err == nil {
		t.Error("a request with Transfer-Encoding gets through")
	}
}

func TestRESTAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		header http.Header // nil = no answer
	}{
		"headers": {
			`{"statusCode":200,"headers":{"a":"1","b":"x"},"multiValueHeaders":{"b":["2","3"]},"cookies":["c=1","d=2"]}` + nuls,
			http.Header{"A": {"1"}, "B": {"2", "3"}, "Set-Cookie": {"c=1", "d=2"}},
		},
		"renamed": {
			`{"statusCode":200,"headers":{"connection":"close","www-authenticate":"Bearer","te":"x"}}` + nuls,
			http.Header{"X-Amzn-Remapped-Connection": {"close"}, "X-Amzn-Remapped-Www-Authenticate": {"Bearer"}},
		},
		"unknown member": {`{"statusCode":200,"body":""}` + nuls, nil},
		"too long":       {`{"statusCode":200,"headers":{"a":"` + strings.Repeat("x", preludeLimit) + `"}}` + nuls, nil},
		"no end":         {`{"statusCode":200}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLambda()
			defer l.Close()
			f, status := newFunction(t, l), make(chan int, 1)
			go func() {
				id, _ := f.next()
				status <- f.post("invocation/"+id+"/response", c.answer)
			}()
			res, err := l.REST().RoundTrip(request(t))
			if (err != nil) != (c.header == nil) {
				t.Fatalf("%v, %v", res, err)
			}
			if err == nil {
				_ = res.Body.Close()
				if diff := cmp.Diff(c.header, res.Header); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
			if got, want := <-status, map[bool]int{true: http.StatusAccepted, false: http.StatusBadRequest}[err == nil]; got != want {
				t.Errorf("the function was told %d, want %d", got, want)
			}
		})
	}
}

func TestAFunctionURLKnowsNoMultiValueHeaders(t *testing.T) {
	l := NewLambda()
	defer l.Close()
	f, status := newFunction(t, l), make(chan int, 1)
	go func() {
		id, _ := f.next()
		status <- f.post("invocation/"+id+"/response", `{"multiValueHeaders":{"a":["1"]}}`+nuls)
	}()
	if res, err := l.RoundTrip(request(t)); err == nil {
		defer res.Body.Close()
		t.Errorf("answered %v", res.Header)
	}
	if got := <-status; got != http.StatusBadRequest {
		t.Errorf("status %d", got)
	}
}

func TestInvoke(t *testing.T) {
	l := NewLambda()
	defer l.Close()
	f := newFunction(t, l)
	for name, c := range map[string]struct{ path, answer, want, fails string }{
		"answers": {"response", `{"batchItemFailures":[]}`, `{"batchItemFailures":[]}`, ""},
		"nothing": {"response", "", "", ""},
		"fails":   {"error", `{"errorMessage":"it broke"}`, "", "it broke"},
	} {
		got := make(chan string, 1)
		go func() {
			id, payload := f.next()
			got <- string(payload)
			f.post("invocation/"+id+"/"+c.path, c.answer)
		}()
		answer, err := l.Invoke(t.Context(), []byte(`{"job":"sweep"}`))
		if string(answer) != c.want || (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
		if payload := <-got; payload != `{"job":"sweep"}` {
			t.Errorf("%s: the function got %q", name, payload)
		}
	}
	if _, err := l.Invoke(t.Context(), make([]byte, payloadLimit+1)); err == nil {
		t.Error("a payload over the limit gets through")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Invoke(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
}

func TestSetTimeout(t *testing.T) {
	l := NewLambda()
	defer l.Close()
	f := newFunction(t, l)
	for _, timeout := range []time.Duration{Timeout, time.Hour} {
		l.SetTimeout(timeout)
		go func() { _, _ = l.Invoke(t.Context(), nil) }()
		res, err := http.Get(f.root + "invocation/next")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		at, err := strconv.ParseInt(res.Header.Get("Lambda-Runtime-Deadline-Ms"), 10, 64)
		if left := time.Until(time.UnixMilli(at)); err != nil || left > timeout || left < timeout-10*time.Second {
			t.Errorf("%s left of %s, %v", left, timeout, err)
		}
	}
}

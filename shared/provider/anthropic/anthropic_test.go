package anthropic

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/provider"
	"sluice/shared/provider/providertest"
)

func TestProvider(t *testing.T) {
	p := Provider{}
	if p.Name() != "anthropic" || !cmp.Equal(p.Speaks(), []llm.Protocol{llm.Anthropic}) {
		t.Errorf("%s speaks %v", p.Name(), p.Speaks())
	}
	providertest.Run(t, p, "testdata")
}

func TestFramesOfAStream(t *testing.T) {
	var got []string
	for f, err := range (Provider{}).Frames(strings.NewReader("event: a\ndata: 1\n\n: c\n\n"), true) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(f.Raw))
	}
	if diff := cmp.Diff([]string{"event: a\ndata: 1\n\n", ": c\n\n"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFramesOfAWholeBody(t *testing.T) {
	for f, err := range (Provider{}).Frames(strings.NewReader("{\n\n}"), false) {
		if string(f.Raw) != "{\n\n}" || string(f.Data) != "{\n\n}" || f.Event != nil || err != nil {
			t.Errorf("%q, %v", f.Raw, err)
		}
	}
	broken := errors.New("reset")
	for _, err := range (Provider{}).Frames(io.MultiReader(strings.NewReader("{"), iotest.ErrReader(broken)), false) {
		if !errors.Is(err, broken) {
			t.Error(err)
		}
	}
	for _, err := range whole(strings.NewReader("12345"), 4) {
		if fault.CodeOf(err) != fault.UpstreamFailed {
			t.Error(err)
		}
	}
	for f, err := range whole(strings.NewReader("1234"), 4) {
		if string(f.Raw) != "1234" || err != nil {
			t.Errorf("%q, %v", f.Raw, err)
		}
	}
}

func TestRequestOfAClientWithoutHeaders(t *testing.T) {
	req, err := Provider{}.Request(t.Context(), provider.Account{}, provider.Outbound{Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	if ua, set := req.Header["User-Agent"]; !set || len(ua) != 0 {
		t.Errorf("user agent %q: net/http would add its own", ua)
	}
}

// FuzzJudge checks that no answer, however broken, is judged without a fault or
// cools an account for longer than an hour.
func FuzzJudge(f *testing.F) {
	f.Add(429, "10", "2026-01-02T03:05:05Z", "rejected", []byte(`{"error":{"type":"rate_limit_error","message":"slow"}}`))
	f.Add(404, "Fri, 02 Jan 2026 03:05:05 GMT", "", "", []byte("<html>"))
	f.Add(400, "", "x", "", []byte(`{"error":"x"}`))
	f.Fuzz(func(t *testing.T, status int, retry, reset, unified string, body []byte) {
		now := time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
		h := http.Header{"Retry-After": {retry}, "Anthropic-Ratelimit-Tokens-Reset": {reset}, "Anthropic-Ratelimit-Unified-Reset": {reset}, "Anthropic-Ratelimit-Unified-Status": {unified}}
		v := Provider{}.Judge(status, h, bytes.Clone(body), now)
		if status/100 == 2 {
			if v != (provider.Verdict{}) {
				t.Errorf("%+v", v)
			}
			return
		}
		e, ok := errors.AsType[*fault.Error](v.Err)
		if !ok || v.Blame == provider.Nobody || e.Message == "" || e.Code == fault.UpstreamRefused && (e.Status != status || e.Kind == "") {
			t.Errorf("%d is judged %+v: %v", status, v, v.Err)
		}
		if v.CoolUntil.After(now.Add(time.Hour)) || !v.CoolUntil.IsZero() && !v.CoolUntil.After(now) {
			t.Errorf("cools until %s", v.CoolUntil)
		}
	})
}

package relay_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"sluice/shared/usage"
	"sluice/streamer/relay"
)

// packer encodes a request body.
type packer struct {
	encoding string
	open     func(io.Writer) (io.WriteCloser, error)
}

// packers are by the case's name.
func packers() map[string]packer {
	return map[string]packer{
		"gzip":        {"gzip", func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }},
		"deflate":     {"deflate", func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil }},
		"raw deflate": {"deflate", func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.DefaultCompression) }},
		"br":          {"br", func(w io.Writer) (io.WriteCloser, error) { return brotli.NewWriter(w), nil }},
		"zstd":        {"zstd", func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }},
	}
}

func pack(t testing.TB, name string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := packers()[name].open(&b)
	if err == nil {
		_, err = w.Write(plain)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encoded(name string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Content-Encoding", name) }
}

func TestEncodedBodies(t *testing.T) {
	for name, p := range packers() {
		t.Run(name, func(t *testing.T) {
			b := open(t, setup{}, streams(frames()))
			status, _, answer := b.call(t, pack(t, name, streamed()), encoded(p.encoding))
			if status != http.StatusOK || string(answer) != strings.Join(frames(), "") {
				t.Errorf("%d %q", status, answer)
			}
			heads, bodies := b.upstream.got()
			if len(bodies) != 1 || !bytes.Equal(bodies[0], streamed()) || heads[0].Get("Content-Encoding") != "" {
				t.Errorf("%q %v", bodies, heads)
			}
			b.one(t, usage.Complete)
		})
	}
}

func TestDecompressionBombs(t *testing.T) {
	bomb := make([]byte, 64<<20)
	for name, p := range packers() {
		t.Run(name, func(t *testing.T) {
			b := open(t, setup{}, cuts)
			b.refuses(t, pack(t, name, bomb), encoded(p.encoding), http.StatusRequestEntityTooLarge, "request_too_large")
		})
	}
}

// refuses makes a call that must be refused before it is admitted or sent.
func (b *bench) refuses(t *testing.T, body []byte, change func(*http.Request), status int, kind string) {
	t.Helper()
	got, _, answer := b.call(t, body, change)
	if got != status {
		t.Errorf("status %d, want %d: %.300s", got, status, answer)
	}
	if kind != "" {
		wantError(t, answer, kind)
	}
	if rows := b.settled(t); len(rows) != 0 {
		t.Errorf("records: %+v", rows)
	}
	if heads, _ := b.upstream.got(); len(heads) != 0 {
		t.Errorf("sent: %v", heads)
	}
}

func TestRequestsRefused(t *testing.T) {
	pad := func(n int) []byte { return bytes.Replace(streamed(), []byte("Hello"), bytes.Repeat([]byte("x"), n), 1) }
	const large = 40 << 20
	for name, c := range map[string]struct {
		body   []byte
		change func(*http.Request)
		status int
		kind   string // "" = the server answers, before the relay
	}{
		"body of 40 MB":        {pad(large), nil, 413, "request_too_large"},
		"chunked, 40 MB":       {pad(large), func(r *http.Request) { r.ContentLength = -1 }, 413, "request_too_large"},
		"invalid UTF-8":        {bytes.Replace(streamed(), []byte("Hello"), []byte{0xff, 0xfe}, 1), nil, 400, "invalid_request_error"},
		"duplicate member":     {bytes.Replace(streamed(), []byte("{"), []byte(`{"model":"a",`), 1), nil, 400, "invalid_request_error"},
		"not JSON":             {[]byte(`{"model":`), nil, 400, "invalid_request_error"},
		"empty":                {nil, nil, 400, "invalid_request_error"},
		"bad gzip":             {[]byte("not gzip"), encoded("gzip"), 400, "invalid_request_error"},
		"cut gzip":             {pack(t, "gzip", streamed())[:40], encoded("gzip"), 400, "invalid_request_error"},
		"bad deflate":          {[]byte("x"), encoded("deflate"), 400, "invalid_request_error"},
		"bad brotli":           {[]byte("not brotli"), encoded("br"), 400, "invalid_request_error"},
		"bad zstd":             {[]byte("not zstd"), encoded("zstd"), 400, "invalid_request_error"},
		"unsupported encoding": {streamed(), encoded("compress"), 415, "invalid_request_error"},
		"two encodings":        {streamed(), encoded("gzip, br"), 415, "invalid_request_error"},
		"header flood":         {streamed(), func(r *http.Request) { r.Header.Set("X-Flood", strings.Repeat("x", 2*maxHeaders)) }, 431, ""},
		"unknown key":          {streamed(), func(r *http.Request) { r.Header.Set("X-Api-Key", "test-other") }, 401, "authentication_error"},
		"no key":               {streamed(), func(r *http.Request) { r.Header.Del("X-Api-Key") }, 401, "authentication_error"},
		"no such route":        {streamed(), func(r *http.Request) { r.URL.Path = "/v1/nothing" }, 404, "not_found_error"},
		"another protocol":     {streamed(), func(r *http.Request) { r.URL.Path = "/v1/chat/completions" }, 501, "not_supported_error"},
	} {
		t.Run(name, func(t *testing.T) {
			open(t, setup{}, cuts).refuses(t, c.body, c.change, c.status, c.kind)
		})
	}
}

func TestUpstreamRefusals(t *testing.T) {
	const tooLong = "prompt is too long: 250000 tokens > 200000 maximum"
	whole := bytes.Replace(streamed(), []byte(`"stream":true,`), nil, 1)
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		status  int
		kind    string
		message string // that must reach the client
		outcome usage.Outcome
	}{
		"400":         {refuses(400, vendorError("invalid_request_error", tooLong)), 400, "invalid_request_error", `"message":"` + tooLong + `"`, usage.Failed},
		"401":         {refuses(401, vendorError("authentication_error", "invalid x-api-key")), 502, "api_error", "", usage.Failed},
		"404":         {refuses(404, vendorError("not_found_error", "model: claude-haiku-4-5")), 404, "not_found_error", "", usage.Failed},
		"429":         {refuses(429, vendorError("rate_limit_error", "slow down")), 429, "rate_limit_error", "", usage.Failed},
		"500":         {refuses(500, vendorError("api_error", "oops")), 502, "api_error", "", usage.Failed},
		"529":         {refuses(529, vendorError("overloaded_error", "Overloaded")), 529, "overloaded_error", "", usage.Failed},
		"HTML error":  {refuses(502, "<html>bad gateway</html>"), 502, "api_error", "", usage.Failed},
		"HTML answer": {refuses(200, "<html>welcome</html>"), 502, "api_error", "", usage.Cut},
	} {
		for kind, body := range map[string][]byte{"stream": streamed(), "whole": whole} {
			t.Run(name+" to a "+kind, func(t *testing.T) {
				b := open(t, setup{}, c.answer)
				status, h, answer := b.call(t, body, nil)
				if status != c.status || h.Get("Content-Type") != "application/json" {
					t.Errorf("%d %v", status, h)
				}
				wantError(t, answer, c.kind)
				if !strings.Contains(string(answer), c.message) {
					t.Errorf("%s lacks %s", answer, c.message)
				}
				b.one(t, c.outcome)
			})
		}
	}
}

// TestRefusalsFailOver has a second account that serves what the first refuses.
func TestRefusalsFailOver(t *testing.T) {
	for _, status := range []int{401, 403, 429, 500, 502, 503, 529} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			b := open(t, setup{bases: []string{"", ""}}, refuses(status, vendorError("api_error", "no")), streams(frames()))
			got, _, answer := b.call(t, streamed(), nil)
			row := b.one(t, usage.Complete)
			if got != http.StatusOK || string(answer) != strings.Join(frames(), "") || row.Attempts != 2 {
				t.Errorf("%d %d attempts %s", got, row.Attempts, answer)
			}
		})
	}
}

// TestHeaderTimeout is of an answer in one piece, which may take longer to begin.
func TestHeaderTimeout(t *testing.T) {
	b := open(t, setup{limits: relay.Limits{Headers: short}}, hangs)
	status, _, answer := b.call(t, bytes.Replace(streamed(), []byte(`"stream":true,`), nil, 1), nil)
	if status != http.StatusGatewayTimeout {
		t.Errorf("status %d", status)
	}
	wantError(t, answer, "timeout_error")
	b.one(t, usage.Cut)
}

// An attempt that may have been served, though no answer came of it, is given up for
// another account: both may be billed, so both are held for and recorded.
func TestDoubtfulAttemptsFailOver(t *testing.T) {
	for name, doubtful := range map[string]http.HandlerFunc{"cut before an answer": cuts, "cut before its first event": streams(nil, cuts)} {
		t.Run(name, func(t *testing.T) {
			b := open(t, setup{bases: []string{"", ""}}, doubtful, streams(frames()))
			got, _, answer := b.call(t, streamed(), nil)
			if got != http.StatusOK || string(answer) != strings.Join(frames(), "") {
				t.Errorf("%d %s", got, answer)
			}
			rows := b.settled(t)
			if len(rows) != 2 {
				t.Fatalf("%d records: %+v", len(rows), rows)
			}
			slices.SortFunc(rows, func(a, b usage.Record) int { return a.Attempts - b.Attempts })
			first, second := rows[0], rows[1]
			if first.Outcome != usage.Cut || !first.Estimated || first.Cost == 0 || first.Account == second.Account || first.Call != second.Call+".1" {
				t.Errorf("the attempt in doubt: %+v", first)
			}
			if second.Outcome != usage.Complete || second.Estimated || second.Attempts != 2 {
				t.Errorf("the one that answered: %+v", second)
			}
		})
	}
}

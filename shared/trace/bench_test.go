package trace_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-xray-sdk-go/v2/xray"

	"sluice/shared/trace"
)

func BenchmarkHandler(b *testing.B) {
	inner := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		q := trace.From(r.Context())
		for _, stage := range []string{"locate", "accept", "admit", "acquire", "send", "stream", "settle"} {
			q.Stage(stage)(nil)
		}
		q.Note("key", "key_1")
		q.Answered(http.StatusOK, nil)
	})
	d := newDaemon(b)
	go func() {
		for range d.got { // keeps the daemon reading
		}
	}()
	b.Cleanup(func() { close(d.got) })
	traced := newTracer(b, d.conn.LocalAddr().String(), new(bytes.Buffer)).Handler(inner)
	for _, c := range []struct {
		name, header string
		h            http.Handler
	}{
		{"bare", "", inner},
		{"by the rule, which samples 5 %", "Root=" + root, traced},
		{"unsampled by header", "Root=" + root + ";Sampled=0", traced},
		{"sampled", sampled, traced},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil)
			r.Header.Set(xray.TraceIDHeaderKey, c.header)
			w := httptest.NewRecorder()
			for b.Loop() {
				c.h.ServeHTTP(w, r)
			}
		})
	}
}

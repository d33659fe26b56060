package simulator_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/shared/simulator"
)

// discard is a client that takes everything.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) WriteHeader(int)             {}
func (discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkStream is the handler alone: a prompt of 50 KB, as coding clients send
// it, answered in a thousand tokens.
func BenchmarkStream(b *testing.B) {
	large := strings.Replace(body(true, ""), "hello", strings.Repeat("some text of a prompt ", 2300), 1)
	for _, c := range []struct{ name, body, script string }{
		{"hello", body(true, ""), ""},
		{"1000tokens", body(true, ""), "output=1000"},
		{"50KB", large, ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := simulator.New(simulator.Options{Keep: 1})
			r := ask(b, "/v1/messages", c.body, c.script)
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				r.Body = io.NopCloser(strings.NewReader(c.body))
				s.ServeHTTP(discard{make(http.Header)}, r)
			}
		})
	}
}

// BenchmarkLoopback is a call over a connection, client included.
func BenchmarkLoopback(b *testing.B) {
	server := httptest.NewServer(simulator.New(simulator.Options{Keep: 1}))
	defer server.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			answer, err := server.Client().Do(ask(b, server.URL+"/v1/messages", body(true, ""), "output=200"))
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil {
				b.Error(err)
			}
			if err := answer.Body.Close(); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	text := []byte(strings.Replace(body(true, ""), "hello", strings.Repeat(`some text of \"a\" prompt\n`, 4000), 1))
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if err := simulator.Scan(text); err != nil {
			b.Fatal(err)
		}
	}
}

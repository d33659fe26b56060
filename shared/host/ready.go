package host

import (
	"net/http"
	"sync/atomic"
)

// Readiness says whether new requests are welcome. The zero value is ready.
type Readiness struct{ draining atomic.Bool }

// Drain says that the process is about to stop.
func (r *Readiness) Drain() { r.draining.Store(true) }

// Draining says whether new requests should be refused.
func (r *Readiness) Draining() bool { return r.draining.Load() }

// Probes answers GET /healthz (200 while the process lives) and GET /readyz (503
// once it drains). It looks at nothing else: were an outage of a store or vendor
// to fail it, every stream would be killed by the restart.
func Probes(ready *Readiness) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { probe(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ready.Draining() {
			probe(w, http.StatusServiceUnavailable, "draining\n")
			return
		}
		probe(w, http.StatusOK, "ready\n")
	})
	return mux
}

func probe(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a prober that left is nobody's concern
}

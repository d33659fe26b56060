package relay

import (
	"fmt"
	"net/http"
	"runtime"
)

// Metrics serves what the process is doing now, in the text form of Prometheus.
func (rl *Relay) Metrics(w http.ResponseWriter, _ *http.Request) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, m := range []struct {
		name, help string
		value      int64
	}{
		{"sluice_calls_open", "Calls that hold money now.", int64(rl.Gate.Open())},
		{"sluice_leases_open", "Places on accounts that calls hold now.", int64(rl.Router.Open())},
		{"sluice_body_bytes", "Bytes reserved for request bodies.", rl.bodies.used.Load()},
		{"go_goroutines", "Goroutines that exist.", int64(runtime.NumGoroutine())},
		{"go_memstats_heap_inuse_bytes", "Bytes of heap in use.", int64(mem.HeapInuse)},
	} {
		_, _ = fmt.Fprintf(w, // a scraper that left needs nothing
			"# HELP %s %s\n# TYPE %s gauge\n%s %d\n", m.name, m.help, m.name, m.name, m.value)
	}
}

package relay

import (
	"fmt"
	"net/http"
	"runtime"
)

// Gauge is a figure of the process as it is now.
type Gauge struct {
	Name       string // in the text form of Prometheus
	CloudWatch string // its name there; "" = it is not sent there
	Unit       string // as CloudWatch has it: Count or Bytes
	Help       string
	Read       func() int64
}

// Gauges are what the process is doing now. A deployment scales on InFlightStreams:
// it counts every request from its first byte to its settlement, those too that
// hold no money yet.
func (rl *Relay) Gauges() []Gauge {
	return []Gauge{
		{"sluice_requests_open", "InFlightStreams", "Count", "Requests that are being served.", rl.serving.Load},
		{"sluice_calls_open", "", "Count", "Calls that hold money now.", func() int64 { return int64(rl.Gate.Open()) }},
		{"sluice_leases_open", "", "Count", "Places on accounts that calls hold now.", func() int64 { return int64(rl.Router.Open()) }},
		{"sluice_body_bytes", "BodyBytes", "Bytes", "Bytes reserved for request bodies.", rl.bodies.used.Load},
		{"go_goroutines", "Goroutines", "Count", "Goroutines that exist.", func() int64 { return int64(runtime.NumGoroutine()) }},
		{"go_memstats_heap_inuse_bytes", "", "Bytes", "Bytes of heap in use.", heapInUse},
	}
}

// heapInUse stops the world for a moment.
func heapInUse() int64 {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return int64(mem.HeapInuse)
}

// Metrics serves the gauges in the text form of Prometheus.
func (rl *Relay) Metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, g := range rl.Gauges() {
		_, _ = fmt.Fprintf(w, // a scraper that left needs nothing
			"# HELP %s %s\n# TYPE %s gauge\n%s %d\n", g.Name, g.Help, g.Name, g.Name, g.Read())
	}
}

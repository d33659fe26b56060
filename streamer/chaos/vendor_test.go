package chaos

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/simulator"
)

// callHeader is a header of a client's that reaches the vendor unchanged: by it the
// vendor's door and its bill know which call is which.
const callHeader = "X-Chaos-Call"

// vendor is the stand-in vendor, with a door at which arrivals are noted.
type vendor struct {
	sim    *simulator.Simulator
	server *httptest.Server
	step   atomic.Int64 // how far its clock is ahead, in nanoseconds

	mu       sync.Mutex
	arrivals map[string][]*atomic.Int64 // status, by call
}

func newVendor(t *testing.T, seed uint64) *vendor {
	v := &vendor{arrivals: make(map[string][]*atomic.Int64)}
	v.sim = simulator.New(simulator.Options{
		Seed: seed, Now: func() time.Time { return time.Now().Add(time.Duration(v.step.Load())) },
	})
	v.server = httptest.NewServer(v)
	t.Cleanup(func() {
		v.server.CloseClientConnections()
		v.server.Close()
	})
	return v
}

// ServeHTTP notes who comes and what is answered.
func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(callHeader)
	if id == "" || r.URL.Path != "/v1/messages" {
		v.sim.ServeHTTP(w, r)
		return
	}
	status := new(atomic.Int64)
	v.mu.Lock()
	v.arrivals[id] = append(v.arrivals[id], status)
	v.mu.Unlock()
	v.sim.ServeHTTP(&noting{ResponseWriter: w, status: status}, r)
}

// noting notes the status of an answer.
type noting struct {
	http.ResponseWriter
	status *atomic.Int64
	wrote  bool
}

func (w *noting) WriteHeader(status int) {
	w.status.Store(int64(status))
	w.ResponseWriter.WriteHeader(status)
}

// Write notes a refusal that comes as the first event of a stream, after a status of
// 200: the vendor did no work then either, and its client can see that.
func (w *noting) Write(b []byte) (int, error) {
	const overloaded = 529
	status := int64(http.StatusOK)
	if bytes.HasPrefix(b, []byte("event: error\n")) {
		status = overloaded
	}
	if !w.wrote && w.status.Load() <= http.StatusOK {
		w.status.Store(status)
	}
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets the simulator flush and hijack.
func (w *noting) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// seen is what came of the calls and what the vendor bills for them.
func (v *vendor) seen(ids map[string]bool) (map[string][]arrival, map[string][]simulator.Charge) {
	arrivals, bill := make(map[string][]arrival), make(map[string][]simulator.Charge)
	v.mu.Lock()
	for id := range ids {
		for _, status := range v.arrivals[id] {
			arrivals[id] = append(arrivals[id], arrival{int(status.Load())})
		}
	}
	v.mu.Unlock()
	for _, c := range v.sim.Bill() {
		if id := c.Header.Get(callHeader); ids[id] {
			bill[id] = append(bill[id], c)
		}
	}
	return arrivals, bill
}

package host

import (
	"net/http"
	"sync"
)

// flight counts the requests in progress, and knows those of them that began
// before the drain: only they are waited for, as clients may go on asking.
type flight struct {
	mu       sync.Mutex
	n        int // in progress
	old      int // of these, begun before the drain
	draining bool
	idle     chan struct{} // closed when the drain has begun and old is 0
}

func newFlight() *flight { return &flight{idle: make(chan struct{})} }

func (f *flight) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		old := f.begin()
		defer f.end(old)
		h.ServeHTTP(w, r)
	})
}

func (f *flight) begin() (old bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if !f.draining {
		f.old++
	}
	return !f.draining
}

func (f *flight) end(old bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if !old {
		return
	}
	if f.old--; f.draining && f.old == 0 {
		close(f.idle)
	}
}

// drain begins the drain; the channel is closed when the old requests have ended.
func (f *flight) drain() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining = true; f.old == 0 {
		close(f.idle)
	}
	return f.idle
}

func (f *flight) running() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

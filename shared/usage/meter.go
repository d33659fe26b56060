package usage

import (
	"sync"
	"sync/atomic"

	"sluice/shared/llm"
)

// Meter measures one answer as it streams by. Its Reading may be asked for by
// another goroutine meanwhile. The zero value is ready to use.
type Meter struct {
	generated atomic.Int64 // bytes of content
	output    atomic.Int64 // tokens as reported, 0 before
	complete  atomic.Bool

	mu    sync.Mutex // guards usage, which changes a few times in an answer
	usage llm.Usage
}

// Tap passes a stream on unchanged and measures it. Without figures of usage an
// event costs one atomic addition.
func (m *Meter) Tap(s llm.Stream) llm.Stream {
	return func(yield func(llm.Event, error) bool) {
		for ev, err := range s {
			if err == nil {
				m.see(&ev)
			}
			if !yield(ev, err) {
				return
			}
		}
	}
}

func (m *Meter) see(ev *llm.Event) {
	if ev.Generated > 0 {
		m.generated.Add(int64(ev.Generated))
	}
	if ev.Usage != nil {
		m.mu.Lock()
		m.usage.Merge(ev.Usage)
		m.output.Store(llm.Count(m.usage.Output))
		m.mu.Unlock()
	}
	if ev.Kind == llm.Stop || ev.Kind == llm.Whole {
		m.complete.Store(true)
	}
}

// Reading is what was seen so far.
func (m *Meter) Reading() llm.Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	var u llm.Usage
	u.Merge(&m.usage)
	return llm.Reading{Usage: u, Generated: m.generated.Load(), Complete: m.complete.Load()}
}

// Output is the output tokens that the vendor reported so far, and the bytes of
// content that were seen. It takes no lock, and may be asked for at every event.
func (m *Meter) Output() (tokens, bytes int64) { return m.output.Load(), m.generated.Load() }

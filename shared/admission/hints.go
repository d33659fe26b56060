package admission

import (
	"sync"
	"time"

	"sluice/shared/fault"
)

// hints remembers locators for a short while. The zero value is ready to use.
type hints struct {
	mu   sync.RWMutex
	byID map[string]hint
}

type hint struct {
	locator *Locator
	until   time.Time
}

func (h *hints) get(digest string, now time.Time) *Locator {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if e, ok := h.byID[digest]; ok && now.Before(e.until) {
		return e.locator
	}
	return nil
}

func (h *hints) put(digest string, l *Locator, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byID == nil {
		h.byID = make(map[string]hint)
	}
	if len(h.byID) >= maxHints {
		for old := range h.byID { // map order is random: an arbitrary one goes
			delete(h.byID, old)
			break
		}
	}
	h.byID[digest] = hint{l, now.Add(hintTTL)}
}

func (h *hints) drop(digest string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.byID, digest)
}

// zones remembers time zones, which are read from files. The zero value is ready
// to use.
type zones struct{ byName sync.Map }

func (z *zones) load(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if loc, ok := z.byName.Load(name); ok {
		return loc.(*time.Location), nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the time zone %q of an owner is not known here", name)
	}
	z.byName.Store(name, loc)
	return loc, nil
}

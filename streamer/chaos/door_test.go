package chaos

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestDoor holds what the door notes of an arrival against what the vendor did: it
// decides which calls have to cost something.
func TestDoor(t *testing.T) {
	v := newVendor(t, 1)
	for id, c := range map[string]struct {
		script  string
		refused bool
		status  int
		charges int
	}{
		"finished":    {"output=10", false, 200, 1},
		"cut":         {"output=100 cut=3", false, 200, 1},
		"late error":  {"output=100 error=overloaded_error at=3", false, 200, 1},
		"first error": {"error=overloaded_error at=0", true, 529, 0},
		"limited":     {"status=429 retry_after=1", true, 429, 0},
		"proxy":       {"html=502", true, 502, 0},
		"reset":       {"reset=1", false, 0, 0},
		"garbage":     {"garbage=1", false, 200, 0},
	} {
		body := fmt.Sprintf(`{"model": %q, "max_tokens": 1000, "stream": true, "messages": [{"role": "user", "content": "[[sim %s]]"}]}`, model, c.script)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, v.server.URL+"/v1/messages", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"X-Api-Key": "test-key", "Content-Type": "application/json", "Anthropic-Version": "2023-06-01", callHeader: id,
		} {
			r.Header.Set(name, value)
		}
		if res, err := v.server.Client().Do(r); err == nil {
			_, _ = io.Copy(io.Discard, res.Body) // it may be cut
			_ = res.Body.Close()
		}
		arrivals, bill := v.seen(map[string]bool{id: true})
		if want := []arrival{{c.status}}; !slices.Equal(arrivals[id], want) || want[0].refused() != c.refused {
			t.Errorf("%s: arrivals %v, want %v", id, arrivals[id], want)
		}
		if len(bill[id]) != c.charges {
			t.Errorf("%s: %d charges, want %d", id, len(bill[id]), c.charges)
		}
	}
}

package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/llm"
	"sluice/shared/simulator"
)

const (
	short = `,"cache_control":{"type":"ephemeral"}`
	long  = `,"cache_control":{"ttl":"1h","type":"ephemeral"}`
)

// conversation is a body of a system text and turns, each marked as given. With
// keys and quotes the system text weighs 64 bytes, a turn 48 and its role 6.
func conversation(system string, turns ...string) string {
	var b strings.Builder
	b.WriteString(`{"model":"claude-test","max_tokens":9,"messages":[`)
	for i, turn := range turns {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(`{"role":"user","content":[{"type":"text","text":"` + strings.Repeat("t", 32) + `"` + turn + `}]}`)
	}
	// The system text comes last in the body and first in the cache.
	b.WriteString(`],"system":[{"type":"text","text":"` + strings.Repeat("s", 48) + `"` + system + `}]}`)
	return b.String()
}

type figures struct{ Input, Read, Write5m, Write1h int64 }

func TestPromptCaching(t *testing.T) {
	const other = "other-key"
	steps := []struct {
		name  string
		after time.Duration // since the step before
		key   string
		body  string
		want  figures
	}{
		{"nothing marked", 0, testKey, conversation("", ""), figures{Input: 30}},
		{"system for an hour", 0, testKey, conversation(long, ""), figures{Input: 14, Write1h: 16}},
		{"read again", 0, testKey, conversation(long, ""), figures{Input: 14, Read: 16}},
		{"of another account", 0, other, conversation(long, ""), figures{Input: 14, Write1h: 16}},
		{"a turn as well", 0, testKey, conversation(long, short), figures{Input: 2, Read: 16, Write5m: 12}},
		{"the marker moves on", 0, testKey, conversation(long, "", short), figures{Input: 1, Read: 28, Write5m: 14}},
		{"refreshed by reading", 4 * time.Minute, testKey, conversation(long, "", short), figures{Input: 1, Read: 42}},
		{"and again", 4 * time.Minute, testKey, conversation(long, "", short), figures{Input: 1, Read: 42}},
		{"five minutes are over", 6 * time.Minute, testKey, conversation(long, "", short), figures{Input: 1, Read: 16, Write5m: 26}},
		{"the hour is over", 2 * time.Hour, testKey, conversation(long, short), figures{Input: 2, Write1h: 16, Write5m: 12}},
		{"marked as a whole", 0, other, strings.Replace(conversation("", ""), `"max_tokens":9`, `"max_tokens":9`+short, 1), figures{Write5m: 30}},
	}
	now := clock()
	s := simulator.New(simulator.Options{Now: func() time.Time { return now }})
	for _, step := range steps {
		now = now.Add(step.after)
		s.ClearBill()
		r := ask(t, "/v1/messages", step.body, "")
		r.Header.Set("X-Api-Key", step.key)
		w := serve(s, r)
		if w.Code != 200 {
			t.Fatalf("%s: answered %d %s", step.name, w.Code, w.Body)
		}
		u := s.Bill()[0].Usage
		got := figures{llm.Count(u.Input), llm.Count(u.CacheRead), llm.Count(u.CacheWrite5m), llm.Count(u.CacheWrite1h)}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestErrorsCacheNothing: a refused call must not make the next one cheaper.
func TestErrorsCacheNothing(t *testing.T) {
	s := simulator.New(simulator.Options{Now: clock})
	for _, script := range []string{"status=529", "error=overloaded_error", "garbage=1", "html=502"} {
		serve(s, ask(t, "/v1/messages", conversation(long, ""), script))
	}
	serve(s, ask(t, "/v1/messages", conversation(long, ""), ""))
	if bill := s.Bill(); len(bill) != 1 || llm.Count(bill[0].Usage.CacheRead) != 0 {
		t.Errorf("bill %+v", bill)
	}
}

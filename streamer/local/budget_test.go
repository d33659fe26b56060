package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/money"
	"sluice/shared/simulator"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

// conversation makes bodies such as Claude Code sends: a large cached prefix, a
// history that grows and a request for far more output than it will use.
type conversation struct {
	prefix string // model, tools and system
	turns  []string
}

const (
	firstBody = 48 << 10
	lastBody  = 136 << 10
)

func newConversation(model string) *conversation {
	tool := `{"name": "tool_%d", "description": %q, "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}`
	var tools []string
	for i := range 16 {
		tools = append(tools, fmt.Sprintf(tool, i, strings.Repeat("Reads a file of the project. ", 30)))
	}
	system := strings.Repeat("You are an agent that edits code with care. ", 700)
	return &conversation{prefix: fmt.Sprintf(`"model": %q, "tools": [%s],
		"system": [{"type": "text", "text": %q, "cache_control": {"type": "ephemeral"}}]`, model, strings.Join(tools, ","), system)}
}

// body is the body of the next turn. When it would be too large, the history is
// dropped, as compaction does.
func (c *conversation) body(ask string) string {
	text, _ := json.Marshal(ask) // a string can be marshalled
	for {
		last := fmt.Sprintf(`{"role": "user", "content": [{"type": "text", "text": %s, "cache_control": {"type": "ephemeral"}}]}`, text)
		b := `{"max_tokens": 128000, "stream": true, ` + c.prefix + `, "messages": [` + strings.Join(append(c.turns[:len(c.turns):len(c.turns)], last), ",") + `]}`
		if len(b) <= lastBody {
			return b
		}
		c.turns = nil
	}
}

// answered adds a turn to the history.
func (c *conversation) answered() {
	const size = 3 << 10
	c.turns = append(c.turns,
		fmt.Sprintf(`{"role": "user", "content": [{"type": "text", "text": "turn %d: go on"}]}`, len(c.turns)),
		fmt.Sprintf(`{"role": "assistant", "content": [{"type": "text", "text": %q}]}`, strings.Repeat("It is done. ", size/12)))
}

// TestBudgetIsUsedByOneConversation runs a conversation to the end of its budget:
// the large max_tokens of its calls must not make the rest of it unusable.
func TestBudgetIsUsedByOneConversation(t *testing.T) {
	t.Parallel()
	const model, title = "claude-opus-5", "claude-haiku-4-5"
	const budget, least = 5 * money.Dollar, 9 * money.Dollar / 2
	p := start(t, t.TempDir(), "SLUICE_ADMIN_TOKEN="+adminToken)
	vendor := p.vendor(simulator.Options{})
	k := p.newKey(budget)
	talk := newConversation(model)

	var beside sync.WaitGroup
	expect := func(what, path, body string) {
		beside.Go(func() {
			if status, answer, err := p.exchange(http.MethodPost, path, k.Secret, body); err != nil || status != http.StatusOK {
				t.Errorf("%s: %d %s %v", what, status, answer, err)
			}
		})
	}
	first := talk.body("start")
	expect("title", "/v1/messages", prompt(title, 128000, true, "Write a title of this conversation."))
	for range 26 {
		expect("count", "/v1/messages/count_tokens", prompt(model, 1, false, "How many?"))
	}
	smallest, most := len(first), 0
	turns := 0
	for body := first; ; body = talk.body("[[sim output=1800]] go on") {
		smallest, most = min(smallest, len(body)), max(most, len(body))
		status, answer, err := p.exchange(http.MethodPost, "/v1/messages", k.Secret, body)
		if err != nil {
			t.Fatal(err)
		}
		if b := p.balance(k); b.Total > budget || b.Total+b.Held > budget {
			t.Fatalf("turn %d: $%s spent and $%s held of $%s", turns, b.Total, b.Held, budget)
		}
		if status != http.StatusOK {
			if kind := errorType(answer); kind != "billing_error" {
				t.Fatalf("turn %d: refused with %d %s", turns, status, answer)
			}
			break
		}
		if !strings.Contains(string(answer), "message_stop") {
			t.Fatalf("turn %d broke off: %s", turns, tail(string(answer)))
		}
		talk.answered()
		turns++
	}
	beside.Wait()
	b, records := p.settled(k)
	t.Logf("%d turns of %d to %d bytes; $%s spent", turns, smallest, most, b.Total)
	if b.Total < least || b.Total > budget {
		t.Errorf("$%s of $%s was spent, want at least $%s", b.Total, budget, least)
	}
	if bill := billed(t, vendor); bill != b.Total {
		t.Errorf("the vendor charges $%s, the ledger says $%s", bill, b.Total)
	}
	if len(records) != turns+1 {
		t.Errorf("%d records of %d turns and a title", len(records), turns)
	}
	for i := range records {
		if r := &records[i]; r.Outcome != usage.Complete || r.Estimated || r.Unpriced || r.Cost > r.Held {
			t.Errorf("record %+v", r)
		}
	}
}

// TestBudgetIsKeptByManyProcesses sends many calls at once through several
// processes that share a Redis.
func TestBudgetIsKeptByManyProcesses(t *testing.T) {
	const processes, requests, affordable = 4, 1000, 100
	ps := fleet(t, storetest.Single(t), processes)
	vendor := ps[0].vendor(simulator.Options{Script: func(*http.Request, []byte) simulator.Script {
		return simulator.Script{Output: 100, First: 30 * time.Millisecond}
	}})
	body := func(stream bool) string {
		return prompt("claude-haiku-4-5", 200, stream, strings.Repeat("Say it. ", 20))
	}

	sample := ps[0].newKey(money.Dollar)
	ask[any](ps[0], http.MethodPost, "/v1/messages", sample.Secret, body(false))
	once, _ := ps[0].settled(sample)
	vendor.ClearBill()
	budget := affordable * once.Total
	k := ps[0].newKey(budget)

	var running, watching sync.WaitGroup
	over := make(chan struct{})
	for _, p := range ps {
		watching.Go(func() { watchBudget(t, p, k, budget, over) })
	}
	var served, refused atomic.Int64
	for i := range requests {
		running.Go(func() {
			status, answer, err := ps[i%processes].exchange(http.MethodPost, "/v1/messages", k.Secret, body(i%2 == 0))
			switch {
			case err != nil:
				t.Error(err)
			case status == http.StatusOK:
				served.Add(1)
			case status == http.StatusTooManyRequests:
				refused.Add(1)
			default:
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	running.Wait()
	close(over)
	watching.Wait()
	wave, _ := ps[1].settled(k)
	t.Logf("at once: %d served, %d refused, $%s of $%s spent", served.Load(), refused.Load(), wave.Total, budget)

	for n := 0; ; n++ {
		status, answer, err := ps[n%processes].exchange(http.MethodPost, "/v1/messages", k.Secret, body(n%2 == 0))
		if err != nil {
			t.Fatal(err)
		}
		if status != http.StatusOK {
			if kind := errorType(answer); kind != "billing_error" {
				t.Fatalf("refused with %d %s", status, answer)
			}
			break
		}
		served.Add(1)
	}
	b, records := ps[2].settled(k)
	t.Logf("in the end: %d served, $%s of $%s spent", served.Load(), b.Total, budget)
	if b.Total > budget || b.Total < budget*95/100 {
		t.Errorf("$%s of $%s was spent", b.Total, budget)
	}
	if bill := billed(t, vendor); bill != b.Total {
		t.Errorf("the vendor charges $%s, the ledger says $%s", bill, b.Total)
	}
	if int64(len(records)) != served.Load() {
		t.Errorf("%d records of %d calls", len(records), served.Load())
	}
}

// watchBudget looks at the budget through a process until over is closed.
func watchBudget(t *testing.T, p *process, k key, budget money.Nanos, over <-chan struct{}) {
	type me struct {
		Balance struct {
			Held  money.Nanos `json:"held_usd"`
			Total money.Nanos `json:"total_usd"`
		}
	}
	tick := time.NewTicker(often)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		var m me
		status, answer, err := p.exchange(http.MethodGet, "/v1/me", k.Secret, "")
		if err == nil && status == http.StatusOK {
			err = json.Unmarshal(answer, &m)
		}
		if err != nil || status != http.StatusOK {
			t.Errorf("/v1/me: %d %s %v", status, answer, err)
			return
		}
		if m.Balance.Total+m.Balance.Held > budget {
			t.Errorf("$%s spent and $%s held of $%s", m.Balance.Total, m.Balance.Held, budget)
			return
		}
	}
}

// fleet starts processes that share a Redis and a master key.
func fleet(t *testing.T, redis *storetest.Server, n int) []*process {
	t.Helper()
	var master []byte
	var ps []*process
	for range n {
		dir := t.TempDir()
		path := filepath.Join(dir, "master.key")
		if master != nil {
			if err := os.WriteFile(path, master, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ps = append(ps, start(t, dir, "SLUICE_ADMIN_TOKEN="+adminToken, "SLUICE_REDIS_URL="+redis.URL().Reveal()))
		if master == nil {
			var err error
			if master, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	return ps
}

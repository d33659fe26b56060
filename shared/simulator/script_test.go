package simulator_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/llm"
	"sluice/shared/simulator"
)

func TestParse(t *testing.T) {
	var got simulator.Script
	err := got.Parse(`output=5 chunk=6 delay=7ms first=8s unicode=1 big=9 noping=1 tool=look input=%7B%7D search=2 tier=batch
		status=429 retry_after=3 error=api_error at=4 message=a+b html=502 reset=1 garbage=1 empty=1 crlf=1 split=true gzip=1`)
	if err != nil {
		t.Fatal(err)
	}
	want := simulator.Script{
		Output: 5, Chunk: 6, Delay: 7 * time.Millisecond, First: 8 * time.Second, Unicode: true, Big: 9, NoPing: true,
		Tool: "look", Input: "{}", Search: 2, Tier: "batch", Status: 429, RetryAfter: 3, Error: "api_error", Message: "a b",
		HTML: 502, Reset: true, Garbage: true, Empty: true, Break: simulator.Fail, At: 4, CRLF: true, Split: true, Gzip: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for how, directive := range map[simulator.Break]string{simulator.Cut: "cut=3", simulator.End: "end=3", simulator.Stall: "stall=3"} {
		var c simulator.Script
		if err := c.Parse(directive); err != nil || c.Break != how || c.At != 3 {
			t.Errorf("%s gave %+v, %v", directive, c, err)
		}
	}
	for _, bad := range []string{
		"output", "output=x", "output=-1", "output=9999999", "delay=5", "first=2h", "status=200", "html=abc", "status=600",
		"message=%", "input=%7B", "unicode=maybe", "what=1", "cut=x", "delay=-1s",
	} {
		if new(simulator.Script).Parse(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestWhereDirectivesAreRead: the header wins over the last message of the user,
// and that over the system text; earlier messages do not count.
func TestWhereDirectivesAreRead(t *testing.T) {
	const b = `{"model":"claude-test","max_tokens":99,"system":"[[sim output=11 tier=system]]","messages":[` +
		`{"role":"user","content":"[[sim output=12]]"},{"role":"assistant","content":"[[sim output=13]]"},` +
		`{"role":"user","content":[{"type":"text","text":"ask [[sim tier=user]] and [[sim search=2]]"}]},{"role":"system","content":"[[sim output=14]]"}]}`
	s := simulator.New(simulator.Options{Now: clock})
	serve(s, ask(t, "/v1/messages", b, "search=3"))
	u := s.Bill()[0].Usage
	if llm.Count(u.Output) != 11 || u.Tier != "user" || u.Units[llm.WebSearches] != 3 {
		t.Errorf("usage %+v", u)
	}
	const open = `{"model":"claude-test","max_tokens":99,"messages":[{"role":"user","content":"[[sim output=1"}]}`
	if w := serve(s, ask(t, "/v1/messages", open, "")); w.Code != http.StatusBadRequest {
		t.Errorf("an open directive answered %d", w.Code)
	}
	programmed := simulator.New(simulator.Options{Now: clock, Script: func(r *http.Request, body []byte) simulator.Script {
		return simulator.Script{Output: int64(len(r.URL.Path)), Tier: string(body[2:7])}
	}})
	serve(programmed, ask(t, "/v1/messages", b, "output=90 nonsense"))
	if u := programmed.Bill()[0].Usage; llm.Count(u.Output) != int64(len("/v1/messages")) || u.Tier != "model" {
		t.Errorf("usage %+v", u)
	}
}

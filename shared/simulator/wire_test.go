package simulator_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"sluice/shared/llm"
	"sluice/shared/simulator"
)

// TestGolden holds whole exchanges: -- script -- and -- request -- give -- answer --
// and -- charge --. Run with -update to rewrite the latter two.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	part := make(map[string]string)
	for _, f := range a.Files {
		part[f.Name] = string(f.Data)
	}
	s := simulator.New(simulator.Options{Now: clock, Seed: 1})
	w := serve(s, ask(t, "/v1/messages", part["request"], strings.TrimSpace(part["script"])))
	var usage bytes.Buffer
	for _, c := range s.Bill() {
		if c.Answer != sha256.Sum256(w.Body.Bytes()) || c.Body != sha256.Sum256([]byte(part["request"])) {
			t.Error("the digests of the charge are not those of request and answer")
		}
		e := json.NewEncoder(&usage)
		e.SetIndent("", "  ")
		if err := e.Encode(map[string]any{"usage": c.Usage, "finished": c.Finished}); err != nil {
			t.Fatal(err)
		}
	}
	answer := strings.TrimRight(w.Body.String(), "\n") + "\n"
	if *update {
		a.Files = []txtar.File{
			{Name: "script", Data: []byte(part["script"])}, {Name: "request", Data: []byte(part["request"])},
			{Name: "answer", Data: []byte(answer)}, {Name: "charge", Data: usage.Bytes()},
		}
		if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(part["answer"], answer); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(part["charge"], usage.String()); diff != "" {
		t.Errorf("charge (-want +got):\n%s", diff)
	}
}

// message is an answer as a client puts it together.
type message struct {
	StopReason string
	Usage      map[string]any
	Blocks     []map[string]any // content, deltas put together
	Frames     int
	Largest    int // bytes of a frame's data
}

// assemble puts a stream together, checking each frame on the way.
func assemble(t *testing.T, stream []byte) message {
	t.Helper()
	m := message{Blocks: []map[string]any{}}
	sc := bufio.NewScanner(bytes.NewReader(stream))
	sc.Buffer(nil, 16<<20)
	var name string
	for sc.Scan() {
		line := sc.Text()
		if event, ok := strings.CutPrefix(line, "event: "); ok {
			name = event
			continue
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e map[string]any
		if err := json.Unmarshal([]byte(data), &e); err != nil || e["type"] != name || !utf8.ValidString(data) {
			t.Fatalf("bad frame %s (%v): %.200s", name, err, data)
		}
		m.Frames++
		m.Largest = max(m.Largest, len(data))
		m.add(t, name, e)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *message) add(t *testing.T, name string, e map[string]any) {
	t.Helper()
	switch name {
	case "message_start":
		m.Usage = object(object(e["message"])["usage"])
	case "content_block_start":
		m.Blocks = append(m.Blocks, object(e["content_block"]))
	case "content_block_delta":
		b := m.Blocks[len(m.Blocks)-1]
		for k, v := range object(e["delta"]) {
			if text, ok := v.(string); ok && k != "type" {
				had, _ := b[k].(string)
				b[k] = had + text
			}
		}
	case "message_delta":
		m.StopReason, _ = object(e["delta"])["stop_reason"].(string)
		for k, v := range object(e["usage"]) {
			m.Usage[k] = v
		}
	case "content_block_stop", "message_stop", "ping":
	default:
		t.Errorf("unexpected event %s", name)
	}
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

const tools = `,"tools":[{"name":"look","input_schema":{"type":"object","required":["path","lines","mode","deep","tags","where","none"],` +
	`"properties":{"path":{"type":"string"},"lines":{"type":["integer","null"]},"mode":{"enum":["fast","slow"]},"deep":{"type":"boolean"},` +
	`"tags":{"type":"array","items":{"type":"string"}},"where":{"type":"object"},"none":{"type":"null"},"more":{"type":"array"}}}}]`

// TestStreamAndWholeAgree asks for the same answer both ways.
func TestStreamAndWholeAgree(t *testing.T) {
	cases := []struct{ name, more, script, stop string }{
		{"plain", "", "", "end_turn"},
		{"long", "", "output=1000", "end_turn"},
		{"limit", "", "output=2000", "max_tokens"},
		{"tiny", `,"max_tokens":1`, "", "max_tokens"},
		{"tiny thinking", `,"max_tokens":3,"thinking":{"type":"adaptive"}`, "tool=look", "max_tokens"},
		{"tool in tight room", `,"max_tokens":45` + tools, "tool=look", "tool_use"},
		{"no room for the tool", `,"max_tokens":5` + tools, "tool=look", "max_tokens"},
		{"unicode", "", "unicode=1 output=333 chunk=1", "end_turn"},
		{"unicode natural", "", "unicode=1", "end_turn"},
		{"thinking", `,"thinking":{"type":"adaptive"}`, "output=500", "end_turn"},
		{"omitted", `,"thinking":{"type":"enabled","budget_tokens":1000,"display":"omitted"}`, "", "end_turn"},
		{"tool", tools, "tool=look", "tool_use"},
		{"tool with input", tools, "tool=look input=%7B%22path%22%3A%22a%5C%22b%22%7D output=90", "tool_use"},
		{"tool not offered", tools, "tool=other", "end_turn"},
		{"server tools", `,"tools":[{"name":5}]`, "tool=look", "end_turn"},
		{"search", "", "search=3", "end_turn"},
		{"big", "", "big=300000 output=20", "end_turn"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := simulator.New(simulator.Options{Now: clock})
			streamed := assemble(t, serve(s, ask(t, "/v1/messages", body(true, c.more), c.script)).Body.Bytes())
			w := serve(s, ask(t, "/v1/messages", body(false, c.more), c.script))
			var whole struct {
				Content    []map[string]any `json:"content"`
				StopReason string           `json:"stop_reason"`
				Usage      map[string]any   `json:"usage"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &whole); err != nil {
				t.Fatal(err)
			}
			parseInputs(t, streamed.Blocks)
			sameIDs(streamed.Blocks, whole.Content)
			if diff := cmp.Diff(whole.Content, streamed.Blocks); diff != "" {
				t.Errorf("content (-whole +streamed):\n%s", diff)
			}
			if diff := cmp.Diff(whole.Usage, streamed.Usage); diff != "" {
				t.Errorf("usage (-whole +streamed):\n%s", diff)
			}
			if streamed.StopReason != c.stop || whole.StopReason != c.stop {
				t.Errorf("stopped for %s and %s, want %s", streamed.StopReason, whole.StopReason, c.stop)
			}
			bill := s.Bill()
			if diff := cmp.Diff(bill[0].Usage, bill[1].Usage); diff != "" || !bill[0].Finished || !bill[1].Finished {
				t.Errorf("charges differ or are unfinished: %s", diff)
			}
			if got := streamed.Usage["output_tokens"]; got != float64(llm.Count(bill[0].Usage.Output)) {
				t.Errorf("reported %v output tokens, billed %d", got, llm.Count(bill[0].Usage.Output))
			}
		})
	}
}

// parseInputs turns the input of tools that came in pieces into what it says.
func parseInputs(t *testing.T, blocks []map[string]any) {
	t.Helper()
	for _, b := range blocks {
		text, ok := b["partial_json"].(string)
		if !ok {
			continue
		}
		var input any
		if err := json.Unmarshal([]byte(text), &input); err != nil {
			t.Fatalf("input %q: %v", text, err)
		}
		b["input"] = input
		delete(b, "partial_json")
	}
}

// sameIDs clears what differs between two calls by design.
func sameIDs(lists ...[]map[string]any) {
	for _, list := range lists {
		for _, b := range list {
			for _, k := range []string{"id", "signature", "tool_use_id"} {
				if _, ok := b[k]; ok {
					b[k] = "x"
				}
			}
		}
	}
}

func TestOutputIsExact(t *testing.T) {
	cases := []struct {
		script string
		want   int64
	}{
		{"output=1", 1}, {"output=77", 77}, {"output=20000", 20000},
		{"output=77 unicode=1", 77}, {"output=20000 unicode=1 chunk=7", 20000},
	}
	for _, c := range cases {
		s := simulator.New(simulator.Options{Now: clock})
		b := strings.Replace(body(true, `,"thinking":{"type":"adaptive"}`), "1024", "32000", 1)
		m := assemble(t, serve(s, ask(t, "/v1/messages", b, c.script)).Body.Bytes())
		if got := llm.Count(s.Bill()[0].Usage.Output); got != c.want || m.StopReason != "end_turn" {
			t.Errorf("%s: billed %d, stopped for %s", c.script, got, m.StopReason)
		}
	}
}

func TestBigFrame(t *testing.T) {
	s := simulator.New(simulator.Options{Now: clock})
	m := assemble(t, serve(s, ask(t, "/v1/messages", body(true, ""), "big=3000000")).Body.Bytes())
	if m.Largest < 3_000_000 || m.Usage["output_tokens"] != float64(1024) {
		t.Errorf("largest frame %d bytes, usage %v", m.Largest, m.Usage)
	}
}

// TestThinkingComesBack sends the simulator's own thinking back, true and altered.
func TestThinkingComesBack(t *testing.T) {
	for _, display := range []string{"summarized", "omitted"} {
		s := simulator.New(simulator.Options{Now: clock, Seed: 3})
		thinking := `,"thinking":{"type":"adaptive","display":"` + display + `"}`
		m := assemble(t, serve(s, ask(t, "/v1/messages", body(true, thinking), "")).Body.Bytes())
		block, err := json.Marshal(m.Blocks[0])
		if err != nil {
			t.Fatal(err)
		}
		next := func(block string) *httptest.ResponseRecorder {
			return serve(s, ask(t, "/v1/messages", `{"model":"claude-test","max_tokens":9,"messages":[{"role":"user","content":"a"},`+
				`{"role":"assistant","content":[`+block+`]},{"role":"user","content":"b"}]}`, ""))
		}
		if w := next(string(block)); w.Code != 200 {
			t.Errorf("%s: true thinking was refused: %s", display, w.Body)
		}
		sign, _ := m.Blocks[0]["signature"].(string)
		for name, altered := range map[string]string{
			"signature": strings.Replace(string(block), sign[:4], "AAAA", 1),
			"text":      strings.Replace(string(block), `"thinking":"`, `"thinking":"x`, 1),
			"cut":       strings.Replace(string(block), sign, sign[:len(sign)-4], 1),
		} {
			const want = "invalid_request_error: messages.1.content.0: Invalid `signature` in `thinking` block"
			if w := next(altered); w.Code != 400 || errorOf(t, w.Body.Bytes()) != want {
				t.Errorf("%s: altered %s answered %d", display, name, w.Code)
			}
		}
	}
}

package simulator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/shared/simulator"
)

// FuzzScan holds the scanner against encoding/json: both call the same texts valid.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e+3,true,false,null,"x\u00e9\n"],"b":{}}`, `[]`, ` 0 `, `01`, `-`, `1.`, `1e`, `"\x"`, `"\u12g4"`,
		"\"\t\"", `{"a"}`, `{"a":1,}`, `[1 2]`, `tru`, `"`, `"\`, `"\u`, `{"a":1}x`, ``, `nul`, `{1:2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := simulator.Scan(b)
		if valid := json.Valid(b); valid != (err == nil) && !strings.Contains(string(b), strings.Repeat("[", 900)) {
			t.Errorf("%q: encoding/json says %v, the scanner %v", b, valid, err)
		}
	})
}

// FuzzEscape holds the escaping of answers against encoding/json.
func FuzzEscape(f *testing.F) {
	f.Add("a\"b\\c\nd\te\x00\x1f \u2028 👋🏽")
	f.Fuzz(func(t *testing.T, text string) {
		var got string
		text = strings.ToValidUTF8(text, "?")
		if err := json.Unmarshal([]byte(simulator.Escape(text)), &got); err != nil || got != text {
			t.Errorf("%q came back as %q, %v", text, got, err)
		}
	})
}

// FuzzMessages sends any body: the answer is always one of the vendor's shapes.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(body(true, `,"thinking":{"type":"adaptive"}`)), "output=3 chunk=1")
	f.Add([]byte(body(false, `,"tools":[{"name":"t","input_schema":{"type":"object"}}]`)), "tool=t search=1 unicode=1")
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"text","cache_control":{}}]}]}`), "end=2")
	f.Fuzz(func(t *testing.T, b []byte, script string) {
		for _, slow := range []string{"delay", "first", "stall", "cut", "reset", "big", "output"} {
			if strings.Contains(script+string(b), slow) {
				return // waits, panics or is large by design
			}
		}
		w := serve(simulator.New(simulator.Options{Now: clock}), ask(t, "/v1/messages", string(b), script))
		if w.Code == 0 || w.Header().Get("Request-Id") == "" {
			t.Errorf("answered %d with header %v", w.Code, w.Header())
		}
	})
}

// FuzzScript parses any directive: it never panics and bounds what it takes.
func FuzzScript(f *testing.F) {
	f.Add("output=5 delay=1ms cut=2 input=%7B%7D message=a+b unicode=1 status=429")
	f.Fuzz(func(t *testing.T, directive string) {
		var c simulator.Script
		if c.Parse(directive) == nil && (c.Output < 0 || c.Output > 1<<20 || c.Big > 64<<20 || c.Delay < 0 || c.At < 0) {
			t.Errorf("%q gave %+v", directive, c)
		}
	})
}

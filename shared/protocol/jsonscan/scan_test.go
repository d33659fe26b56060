package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// samples are texts of every kind, valid and not.
func samples() []string {
	return []string{
		`{}`, ` { } `, `[]`, `[1,2]`, `null`, `true`, `false`, `0`, `-0.5e+10`, `1E5`, `"a"`, `"\u00e9\n\\"`,
		`{"a":1,"b":[{"c":null}],"d":"x"}`, `{"a":{"a":{"a":[[],[[]]]}}}`, `"\ud83d\ude00"`, `"\ud800"`, `"\ud800\u0041"`,
		`"\ud800\ud83d\ude00"`, "\"\x7f\xff\"", `{"mod\u0065l":"x"}`,
		``, ` `, `{`, `[`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{,}`, `[1,]`, `[,]`, `[1 2]`, `{"a" 1}`, `{1:2}`, `{"a":1 "b":2}`,
		`tru`, `trux`, `nul`, `falsy`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `+1`, `NaN`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\n\"",
		`{} {}`, `1 1`, `]`, `}`, "\ufeff{}", "\"12345678\x01\"", `"1234567\"8"`, `"12345678`,
	}
}

func TestValidAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range samples() {
		if err := Valid([]byte(text)); (err == nil) != json.Valid([]byte(text)) {
			t.Errorf("%q: %v, but encoding/json says valid = %t", text, err, json.Valid([]byte(text)))
		}
	}
}

func TestSyntaxErrorsHaveOffsets(t *testing.T) {
	for text, want := range map[string]SyntaxError{
		`{"a":1,}`:           {7, "expected the name of a member"},
		`{"a":x}`:            {5, "expected a value"},
		`{"a"x1}`:            {4, "expected a colon"},
		`[1 2]`:              {3, "expected a comma or the end of the object or array"},
		`{"a":"b`:            {7, "unexpected end of the text"},
		`{"a":`:              {5, "unexpected end of the text"},
		`{"a":"\q"}`:         {6, "invalid escape in a string"},
		"[\"0123456789\t\"]": {12, "control character in a string"},
		`{} x`:               {3, "unexpected data after the value"},
		`-x`:                 {1, "invalid number"},
		`trap`:               {2, "invalid literal"},
	} {
		got, ok := errors.AsType[*SyntaxError](Valid([]byte(text)))
		if !ok {
			t.Errorf("%q: no syntax error", text)
			continue
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", text, diff)
		}
		if at := fmt.Sprintf("%s at byte %d", want.Reason, want.Offset); got.Error() != at {
			t.Errorf("error %q, want %q", got, at)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if err := Valid(nested(MaxDepth)); err != nil {
		t.Errorf("%d levels: %v", MaxDepth, err)
	}
	got, ok := errors.AsType[*SyntaxError](Valid(nested(MaxDepth + 1)))
	if !ok || got.Offset != MaxDepth {
		t.Errorf("%d levels: %v", MaxDepth+1, got)
	}
}

func TestWalkGivesSpans(t *testing.T) {
	text := []byte(` {"a" : [1, {"b":"c"}], "d":{"e":true}}`)
	var got []string
	s := New(text)
	err := s.Object(func(name Span) error {
		got = append(got, string(name.Of(text)))
		if s.Peek() == Array {
			return s.Array(func() error {
				v, err := s.Value()
				got = append(got, string(v.Of(text)))
				return err
			})
		}
		v, err := s.Value()
		got = append(got, string(v.Of(text)))
		return err
	})
	if err != nil || s.End() != nil || s.Pos() != len(text) {
		t.Fatalf("%v, at %d", err, s.Pos())
	}
	if diff := cmp.Diff([]string{`"a"`, `1`, `{"b":"c"}`, `"d"`, `{"e":true}`}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWalkEndsWithTheCallersError(t *testing.T) {
	stop := errors.New("stop")
	s := New([]byte(`{"a":1}`))
	if err := s.Object(func(Span) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("object: %v", err)
	}
	s = New([]byte(`[1]`))
	if err := s.Array(func() error { return stop }); !errors.Is(err, stop) {
		t.Errorf("array: %v", err)
	}
	s = New([]byte(`1`))
	if s.Object(nil) == nil || s.Array(nil) == nil {
		t.Error("a number was read as an object or array")
	}
}

// FuzzScan holds the verdict and every top-level value against encoding/json.
func FuzzScan(f *testing.F) {
	for _, text := range samples() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := Valid(text)
		if e, ok := errors.AsType[*SyntaxError](err); ok {
			if e.Offset < 0 || e.Offset > len(text) {
				t.Fatalf("offset %d of %d", e.Offset, len(text))
			}
			if e.Reason == "nested too deeply" {
				return
			}
		}
		if (err == nil) != json.Valid(text) {
			t.Fatalf("%q: %v, encoding/json: %t", text, err, json.Valid(text))
		}
		if err != nil {
			return
		}
		compareMembers(t, text)
	})
}

func compareMembers(t *testing.T, text []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	if json.Unmarshal(text, &want) != nil || want == nil {
		return
	}
	got := map[string]json.RawMessage{}
	s := New(text)
	err := s.Object(func(name Span) error {
		v, err := s.Value()
		plain := Text(name.Of(text))
		if !Is(name.Of(text), string(plain)) {
			t.Errorf("%q is not %q", name.Of(text), plain)
		}
		got[replaced(plain)] = v.Of(text)
		compareString(t, v.Of(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%q (-encoding/json +got)\n%s", text, diff)
	}
}

func compareString(t *testing.T, raw []byte) {
	t.Helper()
	var want string
	if KindOf(raw[0]) != String || json.Unmarshal(raw, &want) != nil {
		return
	}
	if got := replaced(Text(raw)); got != want {
		t.Errorf("%q is %q, want %q", raw, got, want)
	}
}

// replaced is text with each byte that is no UTF-8 as U+FFFD, as encoding/json
// has it.
func replaced(text []byte) string { return string([]rune(string(text))) }

func BenchmarkValid(b *testing.B) {
	turn := `{"role":"user","content":[{"type":"text","text":"` + strings.Repeat(`The quick brown fox\njumps over it. `, 30) + `"}]}`
	body := []byte(`{"model":"m","max_tokens":1024,"stream":true,"messages":[` + strings.Repeat(turn+",", 90) + turn + `]}`)
	for name, text := range map[string][]byte{
		"conversation": body,
		"media":        []byte(`{"data":"` + strings.Repeat("A", 100<<10) + `"}`),
		"dense":        []byte(`[` + strings.Repeat(`{"a":1,"b":[true,null],"c":"d"},`, 3000) + `0]`),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Valid(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("encoding_json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if !json.Valid(body) {
				b.Fatal("invalid")
			}
		}
	})
}

func TestValidAllocatesNothing(t *testing.T) {
	text := []byte(`{"a":[1,{"b":"c\n"}],"d":"` + string(bytes.Repeat([]byte("x"), 1000)) + `"}`)
	if n := testing.AllocsPerRun(100, func() { _ = Valid(text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

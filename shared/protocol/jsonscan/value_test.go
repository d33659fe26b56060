package jsonscan

import (
	"encoding/json"
	"testing"
)

func TestText(t *testing.T) {
	for raw, want := range map[string]string{
		`""`: "", `"plain"`: "plain", `"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t", `"a\u00e9b"`: "aéb",
		`"\ud83d\ude00!"`: "😀!", `"\ud83d"`: "\ufffd", `"\ude00\ud83dx"`: "\ufffd\ufffdx", `"\uFFFD"`: "\ufffd", `"\u00AB"`: "«",
	} {
		if got := string(Text([]byte(raw))); got != want {
			t.Errorf("%s is %q, want %q", raw, got, want)
		}
	}
}

func TestIs(t *testing.T) {
	if !Is([]byte(`"mod\u0065l"`), "model") || !Is([]byte(`"model"`), "model") || Is([]byte(`"Model"`), "model") || Is([]byte(`"\u0065"`), "x") {
		t.Error("a name is not compared by its content")
	}
}

func TestInt(t *testing.T) {
	for raw, want := range map[string]int64{`0`: 0, `-0`: 0, `42`: 42, `-7`: -7, `9223372036854775807`: 1<<63 - 1} {
		if got, ok := Int([]byte(raw)); !ok || got != want {
			t.Errorf("%s is %d, %t", raw, got, ok)
		}
	}
	for _, raw := range []string{``, `1.0`, `1e3`, `9223372036854775808`, `"1"`, `null`, `true`} {
		if got, ok := Int([]byte(raw)); ok {
			t.Errorf("%s is %d", raw, got)
		}
	}
}

func TestQuoteAndSplice(t *testing.T) {
	for _, text := range []string{"", "a", `"\`, "<&>\n\u2028", "\xff"} {
		if !json.Valid(Quote(text)) {
			t.Errorf("%q is quoted as %s", text, Quote(text))
		}
	}
	text := []byte(`{"a":"b"}`)
	if got := string(Splice(text, Span{5, 8}, Quote("long"))); got != `{"a":"long"}` || string(text) != `{"a":"b"}` {
		t.Errorf("%s of %s", got, text)
	}
}

func TestOnce(t *testing.T) {
	o := Once{Names: []string{"model", "stream"}}
	for _, use := range []struct {
		name, known string
		again       bool
	}{
		{`"model"`, "model", false},
		{`"other"`, "", false},
		{`"other"`, "", false},
		{`"mod\u0065l"`, "model", true},
	} {
		if known, again := o.Use([]byte(use.name)); known != use.known || again != use.again {
			t.Errorf("%s is %q, %t", use.name, known, again)
		}
	}
	if !o.Has("model") || o.Has("stream") || o.Has("other") {
		t.Error("what was used is not what was told")
	}
}

package admin

import (
	"encoding/json"
	"reflect"
	"testing"

	"sluice/shared/fault"
)

// The cases of RFC 7396, appendix A, whose patches are objects.
func TestMerge(t *testing.T) {
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		got, err := json.Marshal(merge(parsed(t, c.target), parsed(t, c.patch)))
		if err != nil || string(got) != c.want {
			t.Errorf("%s patched with %s is %s, %v; want %s", c.target, c.patch, got, err, c.want)
		}
	}
}

func parsed(t testing.TB, text string) any {
	t.Helper()
	v, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for _, code := range fault.Codes() {
		if got := status(code); got < 400 || got == 500 && code != fault.Internal {
			t.Errorf("%s is answered with %d", code, got)
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","limits":{"windows":[{"minutes":5,"usd":"1.5"}],"budgets":null},"tags":{"a":"b"},"expires_at":"2026-01-02T03:04:05Z"}`,
		`{"a":{"a":1,"a":2}}`, `{"name":"\ud800"}`, `[[[[]]]]`, `{"limits":{"concurrency":1e400}}`, `{`, `{"bind":{}}x`, ``, `null`, "{\"a\xff\":1}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parse([]byte(text))
		if err != nil {
			if fault.CodeOf(err) != fault.Invalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%q was read, and is no JSON", text)
		}
		object, ok := v.(map[string]any)
		if !ok {
			return
		}
		var key keyFields
		if err := decode(object, &key); err != nil && fault.CodeOf(err) != fault.Invalid {
			t.Errorf("%q: %v", text, err)
		}
		once, err := json.Marshal(merge(map[string]any{"name": "x"}, parsed(t, text)))
		if err != nil {
			t.Fatal(err)
		}
		twice, err := json.Marshal(merge(parsed(t, string(once)), v))
		if err != nil || !reflect.DeepEqual(once, twice) {
			t.Errorf("%q patches %s into %s, %v", text, once, twice, err)
		}
	})
}

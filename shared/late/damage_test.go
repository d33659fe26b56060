package late_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/admission"
	"sluice/shared/late"
	"sluice/shared/late/latetest"
)

func TestTornLastLine(t *testing.T) {
	text := lines(t, 1, 2)
	head := strings.IndexByte(text, '\n') + 1
	tails := map[string]string{"zeros after a power cut": "\x00\x00\x00"}
	for n := head + 1; n < len(text); n += 41 {
		tails[fmt.Sprintf("cut at %d", n)] = text[head:n]
	}
	tails["cut before its end"] = strings.TrimSuffix(text[head:], "\n")
	for name, tail := range tails {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, text[:head]+tail, dir, first)
			log, told := logger()
			f := open(t, dir, log)
			if f.Len() != 1 || read(t, dir, first) != text[:head] {
				t.Errorf("%d wait in %q", f.Len(), read(t, dir, first))
			}
			if !strings.Contains(told.String(), `"level":"WARN"`) || !strings.Contains(told.String(), first) {
				t.Errorf("the log says %s", told)
			}
			latetest.Put(t, f, 3)
			var s latetest.Sink
			latetest.Drain(t, f, &s, 2)
			s.Want(t, 1, 3)
			s.Once(t)
			wantFiles(t, dir)
		})
	}
}

// aside is what a queue set aside in a directory.
func aside(t *testing.T, dir string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for line := range strings.Lines(read(t, dir, late.DamagedName)) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, entry)
	}
	return list
}

func TestDamagedLines(t *testing.T) {
	one, two := lines(t, 1), lines(t, 2)
	flipped := strings.Replace(two, `"tokens":2`, `"tokens":3`, 1)
	for name, tt := range map[string]struct{ line, reason string }{
		"a bit flipped":            {flipped, "checksum"},
		"no JSON":                  {"{\n", "unexpected end"},
		"an empty line":            {"\n", "unexpected end"},
		"zeros":                    {"\x00\x00\n", "invalid character"},
		"no UTF-8":                 {"\xff\xfe\n", "invalid character"},
		"no call":                  {late.Line("settlement", `{"tokens":1}`), "names no call"},
		"neither of the two":       {`{"sum":"00000000"}` + "\n", "neither"},
		"a mark that is no number": {late.Line("applied", "-1"), "want a number of bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, `{"cut":`, dir, late.DamagedName) // by a disk that was full
			write(t, one+tt.line+lines(t, 3), dir, first)
			log, told := logger()
			f := open(t, dir, log)
			if f.Len() != 3 {
				t.Errorf("Len = %d, want 3", f.Len())
			}
			var s latetest.Sink
			n, err := f.Drain(t.Context(), s.Apply)
			if n != 2 || err != nil || f.Len() != 0 {
				t.Errorf("Drain = %d, %v; %d wait", n, err, f.Len())
			}
			s.Want(t, 1, 3)
			closed(t, f)
			wantFiles(t, dir, late.DamagedName)
			text, found := strings.CutPrefix(read(t, dir, late.DamagedName), "{\"cut\":\n")
			if !found {
				t.Errorf("set aside: %q", text)
			}
			write(t, text, dir, late.DamagedName)
			list := aside(t, dir)
			if len(list) != 1 || list[0]["file"] != first || list[0]["offset"] != float64(len(one)) ||
				!strings.Contains(fmt.Sprint(list[0]["reason"]), tt.reason) || list[0]["line"] != tt.line && list[0]["bytes"] != "//4K" {
				t.Errorf("set aside: %v", list)
			}
			if !strings.Contains(told.String(), `"level":"ERROR"`) || !strings.Contains(told.String(), tt.reason) {
				t.Errorf("the log says %s", told)
			}
		})
	}
}

func TestRefusedIsSetAside(t *testing.T) {
	dir := t.TempDir()
	log, told := logger()
	f := open(t, dir, log)
	latetest.Put(t, f, 1, 2)
	line := lines(t, 2)
	refuse := func(_ context.Context, s admission.Settlement) error {
		if s.Call == "call_2" {
			return errors.New("wrong type of value")
		}
		return nil
	}
	if n, err := f.Drain(t.Context(), refuse); n != 1 || err != nil || f.Len() != 0 {
		t.Errorf("Drain = %d, %v; %d wait", n, err, f.Len())
	}
	list := aside(t, dir)
	if len(list) != 1 || list[0]["line"] != line || list[0]["reason"] != "wrong type of value" {
		t.Errorf("set aside: %v", list)
	}
	for _, want := range []string{"wrong type of value", "call_2", filepath.Join(dir, late.DamagedName)} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%s lacks %q", told, want)
		}
	}
	// An operator who has repaired the cause gives it back as a file of its own.
	write(t, fmt.Sprint(list[0]["line"]), dir, "late-000000000900.jsonl")
	var s latetest.Sink
	latetest.Drain(t, f, &s, 1)
	s.Want(t, 2)
}

// A settlement is not given up where there is no room to set it aside.
func TestNothingIsDroppedUnkept(t *testing.T) {
	dir := t.TempDir()
	write(t, "{\n"+lines(t, 1), dir, first)
	write(t, "", dir, "kept")
	f := open(t, dir, quiet())
	blocked := filepath.Join(dir, late.DamagedName)
	makeDir(t, blocked)
	var s latetest.Sink
	if n, err := f.Drain(t.Context(), s.Apply); n != 0 || err == nil || !strings.Contains(err.Error(), late.DamagedName) || f.Len() != 2 {
		t.Errorf("Drain = %d, %v; %d wait", n, err, f.Len())
	}
	removeDir(t, blocked)
	latetest.Drain(t, f, &s, 1)
	s.Want(t, 1)
	closed(t, f)
	wantFiles(t, dir, "kept", late.DamagedName)
}

func TestMarksThatCannotBe(t *testing.T) {
	text := lines(t, 1, 2)
	head := strings.IndexByte(text, '\n') + 1
	for name, tt := range map[string]struct {
		mark int
		want []int
	}{
		"of the first":     {head, []int{2}},
		"of both":          {len(text), nil},
		"within a line":    {head + 5, []int{1, 2}},
		"behind the end":   {len(text) + 1000, []int{1, 2}},
		"behind the marks": {len(text) + len(late.Mark(len(text))), []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, text+late.Mark(tt.mark), dir, first)
			f := open(t, dir, quiet())
			if f.Len() != len(tt.want) {
				t.Errorf("Len = %d, want %d", f.Len(), len(tt.want))
			}
			var s latetest.Sink
			latetest.Drain(t, f, &s, len(tt.want))
			s.Want(t, tt.want...)
			closed(t, f)
			wantFiles(t, dir)
		})
	}
}

func FuzzOpenFile(f *testing.F) {
	f.Add([]byte(`{"sum":"00000000","settlement":{"call":"a"}}` + "\n"))
	f.Add([]byte("\n\n{\n\x00"))
	f.Add([]byte(late.Mark(0)))
	f.Add([]byte(late.Mark(1) + late.Mark(29)))
	f.Add([]byte(lines(f, 1, 2) + late.Mark(5)))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		write(t, string(text), dir, first)
		q := (&disk{room: -1, fast: true}).open(t, dir, quiet())
		if q.Len() > strings.Count(string(text), "\n") {
			t.Errorf("%d entries in %q", q.Len(), text)
		}
		const own = 1 << 20
		latetest.Put(t, q, own)
		found := false
		_, err := q.Drain(t.Context(), func(_ context.Context, s admission.Settlement) error {
			if s.Call == "" {
				t.Error("a settlement without a call was applied")
			}
			found = found || s.Call == latetest.Settlement(own).Call
			return nil
		})
		if err != nil || !found || q.Len() != 0 {
			t.Errorf("Drain: %v, the settlement that was put: %v, %d wait", err, found, q.Len())
		}
	})
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(late.Mark(7)))
	f.Add([]byte(lines(f, 1)))
	f.Add([]byte(late.Line("settlement", `{}`)))
	f.Add([]byte(`{"sum":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, mark, applied, err := late.Parse(text)
		if err == nil && mark == (s.Call != "") || applied < 0 || err != nil && mark {
			t.Errorf("%q is call %q, mark %v of %d, %v", text, s.Call, mark, applied, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"call":"a","p":1,"plan":{"shares":[{"id":"k","ver":"1"}]},"cost_usd":"0.1","tokens":2,"row":{"a":1}}`))
	f.Add([]byte(`{"call":""}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := late.Decode(text)
		if err != nil {
			return
		}
		again, err := late.Encode(s)
		if err != nil {
			t.Fatalf("%q cannot be encoded: %v", text, err)
		}
		back, err := late.Decode(again)
		if err != nil {
			t.Fatalf("%q cannot be decoded: %v", again, err)
		}
		if last, err := late.Encode(back); err != nil || string(last) != string(again) {
			t.Errorf("%q became %q, %v", again, last, err)
		}
	})
}

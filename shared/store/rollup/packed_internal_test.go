package rollup

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/usage"
)

func TestName(t *testing.T) {
	for want, r := range map[string]usage.Record{
		"0:0:0:0:0:":                            {},
		"5:key_a4:opus6:acct_16:user_16:team_1": {Key: "key_a", Model: "opus", Account: "acct_1", User: "user_1", Team: "team_1"},
		"1:k3:1:x2:é0:0:1:a0:1:b2:vw":           {Key: "k", Model: "1:x", Account: "é", Tags: map[string]string{"b": "vw", "a": ""}},
	} {
		if got := name(&r); got != want {
			t.Errorf("name %q, want %q", got, want)
		}
		back, err := parseName(want)
		if diff := cmp.Diff(&r, back); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got)\n%s", want, err, diff)
		}
	}
	for _, text := range []string{"", "0:0:0:0:", "0:0:0:0:0:0:", "00:0:0:0:0:", "2:a", "x:", "-1:", "0:0:0:0:0:1:b0:1:a0:", "0:0:0:0:0:1:a0:1:a0:"} {
		if r, err := parseName(text); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%q = %+v, %v", text, r, err)
		}
	}
}

func TestPack(t *testing.T) {
	w := usage.Row{
		Requests: 1, Estimated: 2, Unpriced: 3, Input: 4, Output: 1e14, CacheRead: 1<<53 - 1, CacheWrite5m: -7,
		CacheWrite1h: math.MinInt64, Reasoning: 9, Cost: math.MaxInt64,
	}
	const want = "1 2 3 4 100000000000000 9007199254740991 -7 -9223372036854775808 9 9223372036854775807"
	if got := pack(&w); got != want {
		t.Errorf("packed %q", got)
	}
	back, err := unpack(want)
	if diff := cmp.Diff(w, back); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for _, text := range []string{"", "1", "1 2 3 4 5 6 7 8 9", "1 2 3 4 5 6 7 8 9 10 11", "1 2 3 4 5 6 7 8 9 1e14", "01 2 3 4 5 6 7 8 9 10", "1 2 3 4 5 6 7 8 9 9223372036854775808"} {
		if w, err := unpack(text); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%q = %+v, %v", text, w, err)
		}
	}
}

func TestPlus(t *testing.T) {
	const most, least = math.MaxInt64, math.MinInt64
	for _, tt := range []struct {
		a, b, sign, want int64
		ok               bool
	}{
		{1, 2, 1, 3, true}, {1, 2, -1, -1, true}, {most, 0, 1, most, true}, {most, 1, 1, 0, false}, {most, most, -1, 0, true},
		{least, 1, -1, 0, false}, {least, 0, -1, least, true}, {0, least, 1, least, true}, {0, least, -1, 0, false}, {-1, least, 1, 0, false},
	} {
		if got, ok := plus(tt.a, tt.b, tt.sign); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%d + %d × %d = %d, %v", tt.a, tt.sign, tt.b, got, ok)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("5:key_a4:opus6:acct_10:0:")
	f.Add("0:0:0:0:0:1:a1:b")
	f.Add("99999999999999999999:x")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseName(text)
		if err == nil && name(r) != text {
			t.Errorf("%q reads back as %q", text, name(r))
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add("1 0 0 12 34 0 0 0 0 5600")
	f.Add("-1 0 0 0 0 0 0 0 0 100000000000000")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := unpack(text)
		if err == nil && pack(&w) != text {
			t.Errorf("%q reads back as %q", text, pack(&w))
		}
	})
}

package money

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Nanos{
		"0": 0, "12.50": 12_500_000_000, "0.000000001": 1, "9000000": MaxLimit, "999999999.999999999": 999_999_999_999_999_999,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.0000000001", "1000000000", " 1", "1 ", "0x1", "NaN", "١"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

func TestStringAndJSON(t *testing.T) {
	for amount, want := range map[Nanos]string{
		0: "0.00", 1: "0.000000001", 12_500_000_000: "12.50", -125_000: "-0.000125", 100_000_000_000_000: "100000.00",
		math.MinInt64: "-9223372036.854775808",
	} {
		if got := amount.String(); got != want {
			t.Errorf("%d is written %s, want %s", int64(amount), got, want)
		}
	}
	if got := Nanos(1e14).Decimal(); got != "100000000000000" {
		t.Errorf("a decimal of 1e14 is %s", got)
	}
	for _, text := range []string{`12.5`, `""`, `"--1"`, `"1e3"`, `null5`} {
		var n Nanos
		if err := json.Unmarshal([]byte(text), &n); err == nil {
			t.Errorf("%s was read as %s", text, n)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(int64(1))
	f.Add(int64(-999_999_999_999_999_999))
	f.Fuzz(func(t *testing.T, v int64) {
		n := Nanos(v % 1_000_000_000_000_000_000)
		raw, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		var back Nanos
		if err := json.Unmarshal(raw, &back); err != nil || back != n {
			t.Errorf("%d went through %s to %d: %v", n, raw, back, err)
		}
	})
}

func FuzzSum(f *testing.F) {
	f.Add(int64(1), int64(500_000), int64(3), int64(25_000_000_000))
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(-1), int64(5))
	f.Fuzz(func(t *testing.T, a, p, b, q int64) {
		var s Sum
		s.Add(a, Nanos(p))
		s.Add(b, Nanos(q))
		exact := new(big.Int)
		for _, part := range [][2]int64{{a, p}, {b, q}} {
			if part[0] > 0 && part[1] > 0 {
				exact.Add(exact, new(big.Int).Mul(big.NewInt(part[0]), big.NewInt(part[1])))
			}
		}
		exact.Add(exact, big.NewInt(500_000)).Div(exact, big.NewInt(1_000_000))
		want := Nanos(math.MaxInt64)
		if exact.IsInt64() {
			want = Nanos(exact.Int64())
		}
		if got := s.Nanos(); got != want {
			t.Errorf("%d × %d + %d × %d = %d, want %d", a, p, b, q, got, want)
		}
	})
}

func TestErrorNamesTheForm(t *testing.T) {
	if _, err := Parse("x"); !strings.Contains(err.Error(), `"12.50"`) {
		t.Errorf("%v shows no example", err)
	}
}

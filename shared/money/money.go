// Package money holds amounts of US dollars as integer nano-dollars.
//
// Floating point never touches an amount: prices are nano-dollars per million
// tokens, a cost is summed in 128 bits and rounded once. In JSON an amount is a
// decimal string of dollars ("12.50"), which every language reads exactly.
package money

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Nanos is an amount in nano-dollars (1e-9 USD).
type Nanos int64

// Dollar is one US dollar.
const Dollar Nanos = 1_000_000_000

// MaxLimit is the largest limit a window or budget may have. Redis scripts
// compare amounts as doubles, which are exact up to 2^53 nano-dollars
// ($9,007,199); the limit leaves room for what is in flight.
const MaxLimit = 9_000_000 * Dollar

// ErrSyntax is returned by Parse for text that is no decimal amount of dollars.
var ErrSyntax = errors.New(`an amount is a decimal string of US dollars with at most 9 decimals, such as "12.50"`)

// Parse reads a decimal amount of dollars such as "12.50". It accepts at most
// nine decimals and no sign, exponent or separator.
func Parse(s string) (Nanos, error) {
	whole, frac, dotted := strings.Cut(s, ".")
	if !digits(whole) || dotted && !digits(frac) || len(frac) > 9 || len(whole) > 9 {
		return 0, ErrSyntax
	}
	n, err := strconv.ParseInt(whole+frac+strings.Repeat("0", 9-len(frac)), 10, 64)
	if err != nil {
		return 0, ErrSyntax
	}
	return Nanos(n), nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Decimal is the amount in nano-dollars as a decimal integer, the only form in
// which money crosses into a Redis script.
func (n Nanos) Decimal() string { return strconv.FormatInt(int64(n), 10) }

// String is the amount in dollars with at least two decimals: "12.50", "-0.000125".
func (n Nanos) String() string {
	sign, u := "", uint64(n)
	if n < 0 {
		sign, u = "-", -u
	}
	frac := fmt.Sprintf("%09d", u%uint64(Dollar))
	frac = frac[:2] + strings.TrimRight(frac[2:], "0")
	return sign + strconv.FormatUint(u/uint64(Dollar), 10) + "." + frac
}

// MarshalJSON writes the amount as a decimal string of dollars.
func (n Nanos) MarshalJSON() ([]byte, error) { return []byte(`"` + n.String() + `"`), nil }

// UnmarshalJSON reads a decimal string of dollars; a leading minus is accepted,
// for corrections. A JSON number is refused: it may have passed through a float.
func (n *Nanos) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return ErrSyntax
	}
	abs, negative := strings.CutPrefix(s, "-")
	v, err := Parse(abs)
	if negative {
		v = -v
	}
	*n = v
	return err
}

// A Sum adds quantities at a price per million in 128 bits, so that a cost is
// rounded once, when all its parts are in. The zero value is ready to use.
type Sum struct{ hi, lo uint64 }

// Add adds quantity × price, price being per million units. Negative arguments
// count as zero: a vendor's nonsense never lowers a bill.
func (s *Sum) Add(quantity int64, perMillion Nanos) {
	if quantity <= 0 || perMillion <= 0 {
		return
	}
	hi, lo := bits.Mul64(uint64(quantity), uint64(perMillion))
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi, _ = bits.Add64(s.hi, hi, carry)
}

// Nanos is the sum rounded half up to a nano-dollar, saturating at the largest amount.
func (s *Sum) Nanos() Nanos {
	const million = 1_000_000
	lo, carry := bits.Add64(s.lo, million/2, 0)
	hi := s.hi + carry
	if hi >= million/2 {
		return Nanos(1<<63 - 1)
	}
	q, _ := bits.Div64(hi, lo, million)
	return Nanos(min(q, 1<<63-1))
}

package rollup

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"sluice/shared/fault"
	"sluice/shared/usage"
)

// A sum is a field of a bucket. Its name is what its records have in common: key,
// model, account, user and team, then tags by name, each text with its length in
// bytes ahead, as "5:key_a4:opus6:acct_10:0:". Its value is the figures as decimal
// text, "1 0 0 12 34 0 0 0 0 5600".

// name is the field that a record counts in.
func name(r *usage.Record) string {
	var b []byte
	put := func(s string) {
		b = strconv.AppendInt(b, int64(len(s)), 10)
		b = append(append(b, ':'), s...)
	}
	for _, s := range []string{r.Key, r.Model, r.Account, r.User, r.Team} {
		put(s)
	}
	for _, tag := range slices.Sorted(maps.Keys(r.Tags)) {
		put(tag)
		put(r.Tags[tag])
	}
	return string(b)
}

// parseName reads what name wrote: a record of which only that is set.
func parseName(text string) (*usage.Record, error) {
	var parts []string
	for rest := text; rest != ""; {
		size, after, found := strings.Cut(rest, ":")
		n, err := strconv.Atoi(size)
		if !found || err != nil || n < 0 || n > len(after) {
			return nil, damaged("name", text)
		}
		parts = append(parts, after[:n])
		rest = after[n:]
	}
	const fixed = 5
	if len(parts) < fixed || len(parts)%2 != fixed%2 {
		return nil, damaged("name", text)
	}
	r := &usage.Record{Key: parts[0], Model: parts[1], Account: parts[2], User: parts[3], Team: parts[4]}
	for i := fixed; i < len(parts); i += 2 {
		if r.Tags == nil {
			r.Tags = make(map[string]string)
		}
		r.Tags[parts[i]] = parts[i+1]
	}
	if name(r) != text { // lengths and tags have one spelling and order
		return nil, damaged("name", text)
	}
	return r, nil
}

// numbers is how many figures a sum has.
const numbers = 10

// figures are those of a row, in the order in which they are packed.
func figures(w *usage.Row) [numbers]*int64 {
	return [numbers]*int64{
		&w.Requests, &w.Estimated, &w.Unpriced, &w.Input, &w.Output,
		&w.CacheRead, &w.CacheWrite5m, &w.CacheWrite1h, &w.Reasoning, (*int64)(&w.Cost),
	}
}

// pack is a row's figures as text.
func pack(w *usage.Row) string {
	var b []byte
	for i, n := range figures(w) {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, *n, 10)
	}
	return string(b)
}

// unpack reads what pack wrote.
func unpack(text string) (usage.Row, error) {
	var w usage.Row
	into := figures(&w)
	i := 0
	for part := range strings.SplitSeq(text, " ") {
		if i == numbers {
			return w, damaged("value", text)
		}
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return w, damaged("value", text)
		}
		*into[i] = n
		i++
	}
	if i < numbers || pack(&w) != text {
		return w, damaged("value", text)
	}
	return w, nil
}

func damaged(what, text string) error {
	return fault.New(fault.Internal, "a sum of usage is damaged: %s %q", what, text)
}

// add adds the figures of o, or takes them away when sign is -1. It errs, and
// leaves the row unusable, when one no longer fits 64 bits.
func add(w, o *usage.Row, sign int64) error {
	from := figures(o)
	for i, n := range figures(w) {
		sum, ok := plus(*n, *from[i], sign)
		if !ok {
			return fmt.Errorf("a sum of usage does not fit 64 bits: %d and %d", *n, *from[i])
		}
		*n = sum
	}
	return nil
}

// plus is a + sign × b, and whether it fits.
func plus(a, b, sign int64) (int64, bool) {
	if sign < 0 {
		if b == math.MinInt64 {
			return 0, false
		}
		b = -b
	}
	sum := a + b
	return sum, (sum > a) == (b > 0)
}

// count adds a record to a row as usage.Row.Add does, but sees what does not fit.
func count(w *usage.Row, r *usage.Record) error {
	err := countOne(w, r, 1)
	if err == nil && r.Corrects != nil {
		err = countOne(w, r.Corrects, -1)
	}
	return err
}

func countOne(w *usage.Row, r *usage.Record, sign int64) error {
	alone := *r
	alone.Corrects = nil
	var one usage.Row
	one.Add(&alone)
	return add(w, &one, sign)
}

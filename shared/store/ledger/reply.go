package ledger

import (
	"fmt"
	"strconv"

	"sluice/shared/admission"
)

// reply reads the items of a script's answer in order and keeps the first error.
type reply struct {
	items []any
	next  int
	err   error
}

func list(v any) []any {
	items, _ := v.([]any)
	return items
}

func (r *reply) take() any {
	if r.next >= len(r.items) {
		if r.err == nil {
			r.err = fmt.Errorf("ledger: a script answered %d items, more were expected", len(r.items))
		}
		return nil
	}
	r.next++
	return r.items[r.next-1]
}

func (r *reply) text() string {
	v := r.take()
	s, ok := v.(string)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("ledger: a script answered %T where text was expected", v)
	}
	return s
}

func (r *reply) number() int64 {
	v := r.take()
	n, ok := v.(int64)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("ledger: a script answered %T where a number was expected", v)
	}
	return n
}

func (r *reply) refusal() admission.Refusal {
	return admission.Refusal{
		Reason: admission.Reason(r.text()), Share: int(r.number()), Item: int(r.number()),
		Used: r.number(), Held: r.number(), Until: r.number(), Due: int(r.number()),
	}
}

// parse reads an integer that a script wrote; absent is zero.
func parse(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

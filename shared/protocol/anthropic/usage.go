package anthropic

import (
	"sluice/shared/llm"
	"sluice/shared/protocol/jsonscan"
)

// tokens are the figures of one usage object; nil is what it does not say.
type tokens struct {
	input, output, cacheRead *int64
	cacheWrite               *int64 // total
	write5m, write1h         *int64 // its parts
}

// usageReader reads usage objects of one answer.
type usageReader struct {
	// split is the last known part of cache writes that lives for an hour. An
	// answer begins with both parts and ends with their total alone.
	split *int64
}

// read is the usage object at the scanner, nil when there is none. Figures of
// the wrong type are passed over: usage that is read in part beats none.
func (r *usageReader) read(text []byte, scan *jsonscan.Scanner) (*llm.Usage, error) {
	if scan.Peek() != jsonscan.Object {
		return nil, scan.Skip()
	}
	var u llm.Usage
	var total, extra tokens
	err := scan.Object(func(name jsonscan.Span) error {
		switch string(jsonscan.Text(name.Of(text))) {
		case "output_tokens_details":
			return each(text, scan, func(name string, value []byte) {
				if name == "thinking_tokens" {
					set(&u.Reasoning, value)
				}
			})
		case "server_tool_use":
			return each(text, scan, func(name string, value []byte) { setUnit(&u, name, value) })
		case "iterations":
			return readIterations(text, scan, &extra)
		case "service_tier":
			return setText(text, scan, &u.Tier)
		case "speed":
			return setText(text, scan, &u.Speed)
		case "inference_geo":
			return setText(text, scan, &u.Region)
		}
		return total.member(text, scan, name)
	})
	if err != nil {
		return nil, err
	}
	r.fill(&u, &total, &extra)
	return &u, nil
}

// fill sets the figures of u. What iterations used beside the message is billed
// and not in its totals.
func (r *usageReader) fill(u *llm.Usage, total, extra *tokens) {
	u.Input = sum(total.input, extra.input)
	u.Output = sum(total.output, extra.output)
	u.CacheRead = sum(total.cacheRead, extra.cacheRead)
	w5m, w1h := total.writes(r.split)
	if w1h != nil {
		r.split = w1h
	}
	x5m, x1h := extra.writes(nil)
	u.CacheWrite5m, u.CacheWrite1h = sum(w5m, x5m), sum(w1h, x1h)
}

// member reads one figure, or skips what is none.
func (t *tokens) member(text []byte, scan *jsonscan.Scanner, name jsonscan.Span) error {
	var to **int64
	switch string(jsonscan.Text(name.Of(text))) {
	case "input_tokens":
		to = &t.input
	case "output_tokens":
		to = &t.output
	case "cache_read_input_tokens":
		to = &t.cacheRead
	case "cache_creation_input_tokens":
		to = &t.cacheWrite
	case "cache_creation":
		return each(text, scan, func(name string, value []byte) {
			switch name {
			case "ephemeral_5m_input_tokens":
				set(&t.write5m, value)
			case "ephemeral_1h_input_tokens":
				set(&t.write1h, value)
			}
		})
	default:
		return scan.Skip()
	}
	at, err := scan.Value()
	if err == nil {
		set(to, at.Of(text))
	}
	return err
}

// writes are the two classes of cache writes. Of a total without parts, as much
// is of an hour as was known to be; what no part accounts for is of 5 minutes.
func (t *tokens) writes(split *int64) (w5m, w1h *int64) {
	w5m, w1h = t.write5m, t.write1h
	if t.cacheWrite == nil {
		return w5m, w1h
	}
	if w5m == nil && w1h == nil && split != nil {
		known := min(*split, *t.cacheWrite)
		w1h = &known
	}
	if rest := *t.cacheWrite - llm.Count(w5m) - llm.Count(w1h); rest > 0 || w5m == nil {
		all := llm.Count(w5m) + max(rest, 0)
		w5m = &all
	}
	return w5m, w1h
}

// readIterations adds up what ran beside the message: a compaction of the context
// or an advisor. Both are billed, and neither is in the totals of the answer.
func readIterations(text []byte, scan *jsonscan.Scanner, extra *tokens) error {
	if scan.Peek() != jsonscan.Array {
		return scan.Skip()
	}
	return scan.Array(func() error {
		if scan.Peek() != jsonscan.Object {
			return scan.Skip()
		}
		var t tokens
		var kind string
		err := scan.Object(func(name jsonscan.Span) error {
			if jsonscan.Is(name.Of(text), "type") {
				return setText(text, scan, &kind)
			}
			return t.member(text, scan, name)
		})
		if err == nil && (kind == "compaction" || kind == "advisor_message") {
			extra.add(&t)
		}
		return err
	})
}

func (t *tokens) add(o *tokens) {
	t.input, t.output, t.cacheRead = sum(t.input, o.input), sum(t.output, o.output), sum(t.cacheRead, o.cacheRead)
	w5m, w1h := o.writes(nil)
	t.write5m, t.write1h = sum(t.write5m, w5m), sum(t.write1h, w1h)
}

// sum adds two figures; what is unknown adds nothing.
func sum(a, b *int64) *int64 {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	n := *a + *b
	return &n
}

// each calls use for every member of the object at the scanner, or skips what is
// no object.
func each(text []byte, scan *jsonscan.Scanner, use func(name string, value []byte)) error {
	if scan.Peek() != jsonscan.Object {
		return scan.Skip()
	}
	return scan.Object(func(name jsonscan.Span) error {
		at, err := scan.Value()
		if err == nil {
			use(string(jsonscan.Text(name.Of(text))), at.Of(text))
		}
		return err
	})
}

// set takes a figure over if it is one.
func set(to **int64, raw []byte) {
	if n, ok := jsonscan.Int(raw); ok && n >= 0 {
		*to = &n
	}
}

func setText(text []byte, scan *jsonscan.Scanner, to *string) error {
	at, err := scan.Value()
	if err == nil && text[at.Start] == '"' {
		*to = string(jsonscan.Text(at.Of(text)))
	}
	return err
}

func setUnit(u *llm.Usage, name string, value []byte) {
	var unit llm.Unit
	switch name {
	case "web_search_requests":
		unit = llm.WebSearches
	case "web_fetch_requests":
		unit = llm.WebFetches
	default:
		return
	}
	if n, ok := jsonscan.Int(value); ok && n > 0 {
		if u.Units == nil {
			u.Units = make(map[llm.Unit]int64, 1)
		}
		u.Units[unit] = n
	}
}

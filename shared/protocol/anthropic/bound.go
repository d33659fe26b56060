package anthropic

import (
	"bytes"

	"sluice/shared/llm"
	"sluice/shared/protocol/jsonscan"
)

// What a body can cost beyond its text.
const (
	// imageTokens is more than any model bills for one image: those with the
	// highest resolution scale it down to at most 4,784 tokens, older ones to
	// about 1,600 (platform.claude.com/docs/en/build-with-claude/vision).
	imageTokens = 5_000
	// pageTokens is for one page of a PDF: the vendor reads up to 3,000 tokens of
	// text from it and sees it as an image as well
	// (platform.claude.com/docs/en/build-with-claude/pdf-support).
	pageTokens = 3_000 + imageTokens
	// maxPages is how many pages a request may have in all, by the same source.
	maxPages = 600
	// pageBytes is the size that a page has at the least. The text of a full page
	// is about 2 KB compressed, fonts and images come on top. A file made to have
	// more pages than that is still settled at what the vendor bills.
	pageBytes = 1_024
	// toolPrompt is for the system prompt that the vendor adds when there are
	// tools, and typedTool for the definition of one that it knows by its type:
	// both are billed and stand in no body (…/docs/en/agents-and-tools/tool-use).
	toolPrompt = 1_000
	typedTool  = 2_000
)

// walk reads what bounds the input of a call, in passing. It descends only where
// the format says what a member means: the input and the schema of a tool are
// anything the client likes, so a "source" in them is text.
type walk struct {
	body     []byte
	scan     jsonscan.Scanner
	encoded  int64 // bytes of base64 media, which are no text
	hidden   int64 // tokens that the vendor adds
	images   int64
	pages    int64
	external bool
	cache    llm.CacheClass
	marks    int // cache markers seen
}

// prefix is a part of the cacheable prefix of a call.
type prefix struct {
	all    jsonscan.Span
	marked int // end of the last element that has a cache marker, 0 for none
}

func (w *walk) bound() llm.Bound {
	return llm.Bound{
		Text:     int64(len(w.body)) - w.encoded + w.hidden,
		Media:    w.images*imageTokens + min(w.pages, maxPages)*pageTokens,
		External: w.external,
		Cache:    w.cache,
	}
}

// is compares a string at a span, which may be any value, with a text.
func (w *walk) is(at jsonscan.Span, want string) bool {
	raw := at.Of(w.body)
	return len(raw) > 1 && raw[0] == '"' && jsonscan.Is(raw, want)
}

// messages reads the member of that name.
func (w *walk) messages() error {
	if w.scan.Peek() != jsonscan.Array {
		return w.scan.Skip()
	}
	return w.scan.Array(w.message)
}

func (w *walk) message() error {
	if w.scan.Peek() != jsonscan.Object {
		return w.scan.Skip()
	}
	return w.scan.Object(func(name jsonscan.Span) error {
		switch string(jsonscan.Text(name.Of(w.body))) {
		case "content":
			return w.content(true)
		case "role":
			return w.scan.Skip()
		}
		return w.unknown()
	})
}

// prefixed reads an array of blocks or tools and notes where its last marker is.
func (w *walk) prefixed(p *prefix, element func() error) error {
	if w.scan.Peek() == jsonscan.Null {
		return w.scan.Skip()
	}
	p.all.Start = w.scan.Pos()
	var err error
	if w.scan.Peek() != jsonscan.Array {
		err = w.scan.Skip()
	} else {
		err = w.scan.Array(func() error {
			before := w.marks
			err := element()
			if w.marks > before {
				p.marked = w.scan.Pos()
			}
			return err
		})
	}
	p.all.End = w.scan.Pos()
	return err
}

// tool reads one element of tools. What it has to say beside its type is either
// text or, for a tool of the vendor, covered by being external.
func (w *walk) tool() error {
	if w.hidden == 0 {
		w.hidden = toolPrompt
	}
	if w.scan.Peek() != jsonscan.Object {
		return w.scan.Skip()
	}
	return w.scan.Object(func(name jsonscan.Span) error {
		switch string(jsonscan.Text(name.Of(w.body))) {
		case "type":
			at, err := w.scan.Value()
			if err == nil {
				w.toolType(at)
			}
			return err
		case "cache_control":
			return w.cacheControl()
		}
		return w.scan.Skip()
	})
}

// toolType tells tools that the client runs, whose results are in the body, from
// those that the vendor runs, whose results are input that the body does not show.
func (w *walk) toolType(at jsonscan.Span) {
	if raw := at.Of(w.body); raw[0] == '"' {
		kind := jsonscan.Text(raw)
		switch {
		case string(kind) == "custom", string(kind) == "function":
			return
		case hasPrefix(kind, "bash_"), hasPrefix(kind, "text_editor_"), hasPrefix(kind, "computer_"), hasPrefix(kind, "memory_"):
			w.hidden += typedTool
			return
		}
	} else if string(raw) == "null" {
		return
	}
	w.external = true
}

func hasPrefix(b []byte, p string) bool { return len(b) >= len(p) && string(b[:len(p)]) == p }

// cacheControl reads a cache marker. A lifetime that is not known counts as the
// dearest.
func (w *walk) cacheControl() error {
	if w.scan.Peek() != jsonscan.Object {
		return w.scan.Skip()
	}
	w.marks++
	w.cache = max(w.cache, llm.Cache5m)
	return w.scan.Object(func(name jsonscan.Span) error {
		at, err := w.scan.Value()
		if err == nil && jsonscan.Is(name.Of(w.body), "ttl") && !w.is(at, "5m") && w.body[at.Start] != 'n' {
			w.cache = llm.Cache1h
		}
		return err
	})
}

// reference reads a member that names something at the vendor or elsewhere,
// unless it is null or empty.
func (w *walk) reference() error {
	at, err := w.scan.Value()
	if err != nil {
		return err
	}
	raw := at.Of(w.body)
	empty := string(raw) == "null" || raw[0] == '[' && len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0
	w.external = w.external || !empty
	return nil
}

// contextManagement reads what the vendor may do to a long conversation. Clearing
// parts of it costs nothing; a compaction is an answer of its own.
func (w *walk) contextManagement() error {
	if w.scan.Peek() != jsonscan.Object {
		return w.scan.Skip()
	}
	return w.scan.Object(func(name jsonscan.Span) error {
		if !jsonscan.Is(name.Of(w.body), "edits") || w.scan.Peek() != jsonscan.Array {
			return w.scan.Skip()
		}
		return w.scan.Array(w.edit)
	})
}

func (w *walk) edit() error {
	if w.scan.Peek() != jsonscan.Object {
		return w.scan.Skip()
	}
	return w.scan.Object(func(name jsonscan.Span) error {
		at, err := w.scan.Value()
		if err != nil || !jsonscan.Is(name.Of(w.body), "type") {
			return err
		}
		raw := at.Of(w.body)
		w.external = w.external || raw[0] != '"' || !hasPrefix(jsonscan.Text(raw), "clear_")
		return nil
	})
}

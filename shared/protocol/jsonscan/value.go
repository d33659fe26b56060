package jsonscan

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Text is the content of a JSON string given with its quotes and already
// validated. Without escapes it is a part of raw itself; else it is a new slice.
// What is no valid UTF-8 stays as it is, a lone surrogate becomes U+FFFD.
func Text(raw []byte) []byte {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return unescape(inner)
}

// Is says whether raw, a validated JSON string with its quotes, has the content
// want, however it is escaped.
func Is(raw []byte, want string) bool {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == want
	}
	return string(unescape(inner)) == want
}

// Int is the value of a JSON number without fraction and exponent. It is false
// for any other value and for what int64 cannot hold.
func Int(raw []byte) (int64, bool) {
	if len(raw) == 0 || KindOf(raw[0]) != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

// Quote is text as a JSON string with its quotes.
func Quote(text string) []byte {
	raw, err := json.Marshal(text)
	if err != nil {
		panic("jsonscan: a string always marshals: " + err.Error())
	}
	return raw
}

// Splice is text with the span replaced, as a new slice; nothing else changes.
func Splice(text []byte, at Span, with []byte) []byte {
	out := make([]byte, 0, len(text)-at.Len()+len(with))
	out = append(out, text[:at.Start]...)
	out = append(out, with...)
	return append(out, text[at.End:]...)
}

// Once tells the members of an object that are read from the others, and a second
// use of one from its first: decoders disagree about which of the two counts.
// At most 64 names can be watched.
type Once struct {
	Names []string // the names that may occur once
	seen  uint64
}

// Use notes a member by its name, a validated JSON string with its quotes. known
// is the name as watched, "" when it is not; again says that it was used before.
func (o *Once) Use(name []byte) (known string, again bool) {
	i := slices.IndexFunc(o.Names, func(want string) bool { return Is(name, want) })
	if i < 0 {
		return "", false
	}
	again = o.seen&(1<<i) != 0
	o.seen |= 1 << i
	return o.Names[i], again
}

// Has says whether a watched name was used.
func (o *Once) Has(name string) bool {
	i := slices.Index(o.Names, name)
	return i >= 0 && o.seen&(1<<i) != 0
}

func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return append(out, b...)
		}
		out = append(out, b[:i]...)
		b = b[i:]
		if b[1] != 'u' {
			out = append(out, single(b[1]))
			b = b[2:]
			continue
		}
		r, _ := hex4(b)
		b = b[6:]
		if utf16.IsSurrogate(r) {
			low, ok := hex4(b)
			if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
				r, b = pair, b[6:]
			} else {
				r = utf8.RuneError
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// single is the character that a two-byte escape stands for.
func single(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// hex4 reads the \uXXXX that b starts with.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20-'a' <= 5:
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

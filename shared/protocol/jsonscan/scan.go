// Package jsonscan walks a JSON text by position. It decodes nothing, copies
// nothing and allocates nothing: a caller descends into the members it knows,
// skips the rest, and gets byte offsets that it may cut, compare or patch.
//
// Everything that is passed is validated, skipped values too, so a text that was
// walked to its End is exactly one that encoding/json accepts (which lets invalid
// UTF-8 and lone surrogates through), except that nesting ends at MaxDepth.
package jsonscan

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// MaxDepth is how deep arrays and objects may nest. It bounds the stack that a
// hostile body can make the walk use.
const MaxDepth = 512

// Span is a half-open range of offsets into the text.
type Span struct{ Start, End int }

// Of is the part of text that the span covers.
func (s Span) Of(text []byte) []byte { return text[s.Start:s.End] }

// Len is the number of bytes covered.
func (s Span) Len() int { return s.End - s.Start }

// SyntaxError says where and why a text is not JSON.
type SyntaxError struct {
	Offset int    // of the offending byte; the length of the text when it ends too early
	Reason string // in words, for the sender of the text
}

// Error gives the reason and the offset.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset) }

// Kind is the type of a JSON value, told by its first byte.
type Kind byte

// The kinds of value.
const (
	Invalid Kind = iota
	Object
	Array
	String
	Number
	Bool
	Null
)

// KindOf is the kind of the value that starts with c.
func KindOf(c byte) Kind {
	switch c {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return Number
	}
	return Invalid
}

// Scanner reads one JSON text from front to back. Each method that reads a value
// leaves the scanner behind it; after an error the scanner is of no further use.
type Scanner struct {
	text  []byte
	pos   int
	depth int
}

// New is a scanner at the start of text.
func New(text []byte) Scanner { return Scanner{text: text} }

// Valid returns nil when text is one JSON value, else a *SyntaxError.
func Valid(text []byte) error {
	s := New(text)
	if err := s.Skip(); err != nil {
		return err
	}
	return s.End()
}

// Pos is the offset of the next byte to be read.
func (s *Scanner) Pos() int { return s.pos }

// Peek is the kind of the next value, Invalid at the end of the text or before
// anything that starts none.
func (s *Scanner) Peek() Kind {
	if s.space(); s.pos < len(s.text) {
		return KindOf(s.text[s.pos])
	}
	return Invalid
}

// End errs unless only white space is left.
func (s *Scanner) End() error {
	if s.space(); s.pos < len(s.text) {
		return s.fail("unexpected data after the value")
	}
	return nil
}

// Object reads an object. For each member it calls member with the span of the
// name, quotes included; member must read the value with exactly one call of a
// reading method. A nil member skips the values. An error of member ends the walk
// and is returned as it is.
func (s *Scanner) Object(member func(name Span) error) error {
	if err := s.open('{', "expected an object"); err != nil {
		return err
	}
	for first := true; ; first = false {
		done, err := s.more('}', first)
		if done || err != nil {
			return err
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		if member == nil {
			err = s.Skip()
		} else {
			err = member(name)
		}
		if err != nil {
			return err
		}
	}
}

// Array reads an array and calls element before each of its values; element must
// read the value with exactly one call of a reading method. A nil element skips
// the values. An error of element ends the walk and is returned as it is.
func (s *Scanner) Array(element func() error) error {
	if err := s.open('[', "expected an array"); err != nil {
		return err
	}
	for first := true; ; first = false {
		done, err := s.more(']', first)
		if done || err != nil {
			return err
		}
		if element == nil {
			err = s.Skip()
		} else {
			err = element()
		}
		if err != nil {
			return err
		}
	}
}

// Value skips one value and gives its span, without the white space around it.
func (s *Scanner) Value() (Span, error) {
	s.space()
	start := s.pos
	err := s.Skip()
	return Span{start, s.pos}, err
}

// Skip reads one value of any kind.
func (s *Scanner) Skip() error {
	switch s.Peek() {
	case Object:
		return s.Object(nil)
	case Array:
		return s.Array(nil)
	case String:
		return s.str()
	case Number:
		return s.number()
	case Bool:
		if s.text[s.pos] == 't' {
			return s.literal("true")
		}
		return s.literal("false")
	case Null:
		return s.literal("null")
	}
	return s.fail("expected a value")
}

// open reads the bracket that begins an object or array.
func (s *Scanner) open(bracket byte, want string) error {
	s.space()
	if s.pos >= len(s.text) || s.text[s.pos] != bracket {
		return s.fail(want)
	}
	if s.depth++; s.depth > MaxDepth {
		return s.fail("nested too deeply")
	}
	s.pos++
	return nil
}

// more reads what stands before a member or element: nothing or a comma, or the
// closing bracket, which ends the object or array.
func (s *Scanner) more(bracket byte, first bool) (done bool, err error) {
	s.space()
	if s.pos >= len(s.text) {
		return false, s.fail("unexpected end")
	}
	switch c := s.text[s.pos]; {
	case c == bracket:
		s.pos++
		s.depth--
		return true, nil
	case first:
		return false, nil
	case c == ',':
		s.pos++
		return false, nil
	}
	return false, s.fail("expected a comma or the end of the object or array")
}

// name reads the name of a member and the colon after it.
func (s *Scanner) name() (Span, error) {
	s.space()
	start := s.pos
	if s.pos >= len(s.text) || s.text[s.pos] != '"' {
		return Span{}, s.fail("expected the name of a member")
	}
	if err := s.str(); err != nil {
		return Span{}, err
	}
	name := Span{start, s.pos}
	s.space()
	if s.pos >= len(s.text) || s.text[s.pos] != ':' {
		return Span{}, s.fail("expected a colon")
	}
	s.pos++
	return name, nil
}

func (s *Scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *Scanner) literal(want string) error {
	for i := range len(want) {
		if s.pos >= len(s.text) || s.text[s.pos] != want[i] {
			return s.fail("invalid literal")
		}
		s.pos++
	}
	return nil
}

func (s *Scanner) number() error {
	if s.text[s.pos] == '-' {
		s.pos++
	}
	switch {
	case s.pos < len(s.text) && s.text[s.pos] == '0':
		s.pos++
	case !s.digits():
		return s.fail("invalid number")
	}
	if s.pos < len(s.text) && s.text[s.pos] == '.' {
		if s.pos++; !s.digits() {
			return s.fail("invalid number")
		}
	}
	if s.pos < len(s.text) && s.text[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.text) && (s.text[s.pos] == '+' || s.text[s.pos] == '-') {
			s.pos++
		}
		if !s.digits() {
			return s.fail("invalid number")
		}
	}
	return nil
}

// digits reads one digit or more.
func (s *Scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.text) && s.text[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

// str reads a string, the scanner being at its opening quote.
func (s *Scanner) str() error {
	i := s.pos + 1
	for {
		i = plain(s.text, i)
		if s.pos = i; i >= len(s.text) {
			return s.fail("unterminated string")
		}
		switch s.text[i] {
		case '"':
			s.pos++
			return nil
		case '\\':
			n := escape(s.text[i:])
			if n == 0 {
				return s.fail("invalid escape in a string")
			}
			i += n
		default:
			return s.fail("control character in a string")
		}
	}
}

// plain is the offset of the first byte from i on that is a quote, a backslash or
// a control character, or the length of the text. Eight bytes are looked at in one
// step: a body is mostly the inside of long strings.
func plain(text []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(text)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// The lowest bit set is exact; a borrow can only disturb bytes above it.
		hit := ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < 0x20 || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// escape is the length of the escape sequence that b starts with, 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b); ok {
			return 6
		}
	}
	return 0
}

func (s *Scanner) fail(reason string) error {
	if s.pos >= len(s.text) {
		return &SyntaxError{Offset: len(s.text), Reason: "unexpected end of the text"}
	}
	return &SyntaxError{Offset: s.pos, Reason: reason}
}

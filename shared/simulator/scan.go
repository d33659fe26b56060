package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// scanner walks a JSON text once. The simulator has one of its own, sharing none
// with the relay, so that a mistake in either shows as a difference.
type scanner struct {
	b     []byte
	i     int // offset of what is read next
	depth int
}

// maxDepth bounds recursion on hostile bodies.
const maxDepth = 1000

func (s *scanner) fail(want string) error {
	if s.i >= len(s.b) {
		return fmt.Errorf("unexpected end of JSON at byte %d, want %s", s.i, want)
	}
	return fmt.Errorf("unexpected %q at byte %d, want %s", s.b[s.i], s.i, want)
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek is the first byte of what comes next, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// accept consumes c if it comes next.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

// end errs if anything but white space is left.
func (s *scanner) end() error {
	if s.space(); s.i < len(s.b) {
		return s.fail("the end")
	}
	return nil
}

// object calls member with each key, unescaped; member consumes the value.
func (s *scanner) object(member func(key string) error) error {
	return s.list('{', '}', func(int) error {
		raw, err := s.text()
		if err != nil {
			return err
		}
		if !s.accept(':') {
			return s.fail("':'")
		}
		return member(unescape(raw))
	})
}

// array calls element with each index; element consumes the value.
func (s *scanner) array(element func(n int) error) error { return s.list('[', ']', element) }

func (s *scanner) list(open, shut byte, item func(n int) error) error {
	if !s.accept(open) {
		return s.fail(fmt.Sprintf("%q", open))
	}
	if s.depth++; s.depth > maxDepth {
		return s.fail("less nesting")
	}
	defer func() { s.depth-- }()
	if s.accept(shut) {
		return nil
	}
	for n := 0; ; n++ {
		if err := item(n); err != nil {
			return err
		}
		if s.accept(shut) {
			return nil
		}
		if !s.accept(',') {
			return s.fail(fmt.Sprintf("',' or %q", shut))
		}
	}
}

// text consumes a string and returns what is between its quotes, as written.
func (s *scanner) text() ([]byte, error) {
	if !s.accept('"') {
		return nil, s.fail("a string")
	}
	start := s.i
	for i := start; i < len(s.b); i++ {
		c := s.b[i]
		if c != '"' && c != '\\' && c >= ' ' {
			continue
		}
		s.i = i
		switch c {
		case '"':
			s.i++
			return s.b[start:i], nil
		case '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
			i = s.i - 1
		default:
			return nil, s.fail("no control character")
		}
	}
	s.i = len(s.b)
	return nil, s.fail("'\"'")
}

func (s *scanner) escape() error {
	s.i++
	if s.i >= len(s.b) {
		return s.fail("an escape")
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return nil
	case 'u':
		s.i++
	default:
		return s.fail("an escape")
	}
	for range 4 {
		if s.i >= len(s.b) || !strings.ContainsRune("0123456789abcdefABCDEF", rune(s.b[s.i])) {
			return s.fail("a hex digit")
		}
		s.i++
	}
	return nil
}

// skip consumes a value of any kind and returns it as written.
func (s *scanner) skip() ([]byte, error) {
	c := s.peek()
	start := s.i
	var err error
	switch c {
	case '{':
		err = s.list('{', '}', func(int) error { return s.skipMember() })
	case '[':
		err = s.list('[', ']', func(int) error { _, err := s.skip(); return err })
	case '"':
		_, err = s.text()
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		err = s.number()
	}
	return s.b[start:s.i], err
}

func (s *scanner) skipMember() error {
	if _, err := s.text(); err != nil {
		return err
	}
	if !s.accept(':') {
		return s.fail("':'")
	}
	_, err := s.skip()
	return err
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if s.i >= len(s.b) || s.b[s.i] != word[i] {
			return s.fail(word)
		}
		s.i++
	}
	return nil
}

func (s *scanner) number() error {
	if s.i < len(s.b) && s.b[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return s.fail("a value")
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		if s.i++; !s.digits() {
			return s.fail("a digit")
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return s.fail("a digit")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// unescape is the text of what stood between the quotes of a valid string.
func unescape(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	var text string
	if err := json.Unmarshal([]byte(`"`+string(raw)+`"`), &text); err != nil {
		return string(raw) // not reached: the scanner has validated it
	}
	return text
}

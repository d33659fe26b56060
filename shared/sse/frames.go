// Package sse frames and writes server-sent events.
//
// Frames splits a stream into events without changing a byte of it; Writer owns
// the client's side of a stream: it commits the answer, keeps it alive while the
// upstream is silent and notices a client that no longer reads.
package sse

import (
	"bytes"
	"errors"
	"io"

	"sluice/shared/fault"
	"sluice/shared/llm"
)

// firstBuffer is the size that a stream's buffer begins with; most frames are
// far smaller, a few are as large as 1 MB.
const firstBuffer = 8 << 10

// Frames splits r into events, each with every byte as it came. Lines end with
// LF, CRLF or CR. A frame that is larger than limit bytes, or a stream that ends
// within a frame, yields a fault (UpstreamFailed, UpstreamCut); an error of r is
// yielded as it is. A clean end of r just ends the iteration.
func Frames(r io.Reader, limit int) llm.Frames {
	return func(yield func(llm.Frame, error) bool) {
		f := framer{r: r, limit: limit, buf: make([]byte, firstBuffer)}
		end, err := f.boundary()
		for err == nil {
			frame := f.parse(f.buf[f.start:end])
			f.start = end
			next, found := f.scan()
			frame.More = found
			if !yield(frame, nil) {
				return
			}
			if end = next; !found {
				end, err = f.boundary()
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(llm.Frame{}, err)
		}
	}
}

// framer is the buffer of a stream. buf[start:end] is what was read and not yet
// handed out; line is where the line begins that is being looked at, and there is
// no line end before seen.
type framer struct {
	r          io.Reader
	limit      int
	buf        []byte
	start, end int
	line, seen int
	ended      bool
	data       []byte // data lines joined, when there are several
}

// boundary reads until a frame is complete and returns its end.
func (f *framer) boundary() (int, error) {
	for {
		if end, found := f.scan(); found {
			return end, nil
		}
		if f.ended {
			if f.start == f.end {
				return 0, io.EOF
			}
			return 0, fault.Wrap(fault.UpstreamCut, io.ErrUnexpectedEOF, "the upstream's answer was cut within an event")
		}
		if err := f.read(); err != nil {
			return 0, err
		}
	}
}

// scan looks for the blank line that ends the frame at start.
func (f *framer) scan() (end int, found bool) {
	for {
		i := lineEnd(f.buf[f.seen:f.end])
		if i < 0 {
			f.seen = f.end
			return 0, false
		}
		at := f.seen + i
		next := at + 1
		if f.buf[at] == '\r' {
			if next == f.end && !f.ended {
				f.seen = at // whether LF follows is not known yet
				return 0, false
			}
			if next < f.end && f.buf[next] == '\n' {
				next++
			}
		}
		blank := at == f.line
		f.line, f.seen = next, next
		if blank {
			return next, true
		}
	}
}

// lineEnd is the index of the first CR or LF in b, or -1.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf >= 0 {
		b = b[:lf]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// read takes more of the stream into the buffer, making room first.
func (f *framer) read() error {
	if f.start > 0 {
		n := copy(f.buf, f.buf[f.start:f.end])
		f.line, f.seen, f.end = f.line-f.start, f.seen-f.start, n
		f.start = 0
	}
	if f.end == len(f.buf) {
		if f.end >= f.limit {
			return fault.New(fault.UpstreamFailed, "the upstream sent an event larger than %d bytes", f.limit)
		}
		f.buf = append(f.buf, make([]byte, min(len(f.buf), f.limit-len(f.buf)))...)
	}
	n, err := f.r.Read(f.buf[f.end:])
	f.end += n
	if errors.Is(err, io.EOF) {
		f.ended = true
		return nil
	}
	return err
}

// parse reads the fields of one frame.
func (f *framer) parse(raw []byte) llm.Frame {
	frame := llm.Frame{Raw: raw}
	lines := 0
	for rest := bytes.TrimPrefix(raw, byteOrderMark); len(rest) > 0; {
		line := rest
		if i := lineEnd(rest); i >= 0 {
			line, rest = rest[:i], rest[i+1:]
			if len(rest) > 0 && rest[0] == '\n' && raw[len(raw)-len(rest)-1] == '\r' {
				rest = rest[1:]
			}
		} else {
			rest = nil
		}
		switch name, value := field(line); string(name) {
		case "event":
			frame.Event = value
		case "data":
			lines++
			frame.Data = f.join(lines, frame.Data, value)
		}
	}
	return frame
}

// byteOrderMark may begin a stream.
var byteOrderMark = []byte("\xef\xbb\xbf")

// field splits a line at its colon; one space after it is no part of the value.
func field(line []byte) (name, value []byte) {
	name, value, _ = bytes.Cut(line, colon)
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return name, value
}

var colon = []byte(":")

// join adds a data line to those before it. A single line, the usual case, is
// not copied.
func (f *framer) join(lines int, data, value []byte) []byte {
	switch lines {
	case 1:
		return value
	case 2:
		f.data = append(f.data[:0], data...)
	}
	f.data = append(append(f.data, '\n'), value...)
	return f.data
}

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

// DefaultLimit is the size in bytes that no frame of a vendor is known to reach.
const DefaultLimit = 1 << 20

const (
	// firstBuffer is the size that a stream's buffer begins with: most frames are
	// far smaller, and there are many streams.
	firstBuffer = 4 << 10
	// keptBuffer is the size above which a buffer is given back once it is empty,
	// rather than kept for the life of a stream that had one large frame.
	keptBuffer = 64 << 10
	// emptyReads is how often in a row a reader may return nothing.
	emptyReads = 100

	byteOrderMark = "\xef\xbb\xbf" // may begin a stream
)

// Frames splits r into events as they are pulled. The Raw of all frames is what r
// gave, byte for byte: a block of comments only is a frame without Data, a byte
// order mark is part of the first Raw. Lines end with LF, CRLF or CR.
//
// Some vendors leave the last blank line out: whole lines after the one before are
// a last frame, which Terminated tells from the others, and whether the answer is
// complete is for its protocol to say. A stream that ends within a line yields a
// fault.UpstreamCut instead, as a number that breaks off reads like another one.
// A frame of more than limit bytes yields a fault.UpstreamFailed; an error of r is
// yielded as it is, after the frames that were complete before it.
func Frames(r io.Reader, limit int) llm.Frames {
	return func(yield func(llm.Frame, error) bool) {
		f := framer{r: r, limit: limit, first: true, buf: make([]byte, min(firstBuffer, limit))}
		end, err := f.boundary()
		for err == nil {
			frame := f.parse(f.buf[f.start:end])
			f.start, f.first = end, false
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

// Terminated says whether a frame ends with the blank line that makes it an event.
// A client drops one that does not.
func Terminated(raw []byte) bool {
	rest := trimLineEnd(raw)
	if len(rest) == len(raw) {
		return false
	}
	return len(rest) == 0 || string(rest) == byteOrderMark || len(trimLineEnd(rest)) < len(rest)
}

// trimLineEnd is b without the line end that it ends with, if any.
func trimLineEnd(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
		if n > 1 && b[n-2] == '\r' {
			b = b[:n-2]
		}
	} else if n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b
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
	first      bool   // no frame was handed out
	err        error  // that r ended with
	data       []byte // data lines joined, when there are several
}

// boundary reads until a frame is complete and returns its end.
func (f *framer) boundary() (int, error) {
	for {
		switch end, found := f.scan(); {
		case found:
			return end, nil
		case f.err == nil:
			if err := f.read(); err != nil {
				return 0, err
			}
		case errors.Is(f.err, io.EOF) && f.line < f.end:
			return 0, fault.Wrap(fault.UpstreamCut, io.ErrUnexpectedEOF, "the upstream's answer was cut within a line")
		case errors.Is(f.err, io.EOF) && f.start < f.end:
			return f.end, nil
		default:
			return 0, f.err
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
			if next == f.end && f.err == nil {
				f.seen = at // whether LF follows is not known yet
				return 0, false
			}
			if next < f.end && f.buf[next] == '\n' {
				next++
			}
		}
		blank := at == f.line || f.first && string(f.buf[f.start:at]) == byteOrderMark
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

// read takes more of the stream into the buffer. That the stream ended is left in
// err: what was read with it comes first.
func (f *framer) read() error {
	if err := f.room(); err != nil {
		return err
	}
	for range emptyReads {
		n, err := f.r.Read(f.buf[f.end:])
		f.end += n
		if f.err = err; n > 0 || err != nil {
			return nil
		}
	}
	return io.ErrNoProgress
}

// room makes room in the buffer.
func (f *framer) room() error {
	if f.start > 0 {
		n := copy(f.buf, f.buf[f.start:f.end])
		f.line, f.seen, f.end = f.line-f.start, f.seen-f.start, n
		f.start = 0
	}
	switch {
	case f.end == 0 && len(f.buf) > keptBuffer:
		f.buf = make([]byte, firstBuffer)
	case f.end == len(f.buf) && f.end >= f.limit:
		return fault.New(fault.UpstreamFailed, "the upstream sent an event larger than %d bytes", f.limit)
	case f.end == len(f.buf):
		grown := make([]byte, min(2*len(f.buf), f.limit))
		copy(grown, f.buf)
		f.buf = grown
	}
	return nil
}

// parse reads the fields of one frame.
func (f *framer) parse(raw []byte) llm.Frame {
	frame := llm.Frame{Raw: raw}
	rest := raw
	if f.first && len(raw) >= len(byteOrderMark) && string(raw[:len(byteOrderMark)]) == byteOrderMark {
		rest = raw[len(byteOrderMark):]
	}
	for lines := 0; len(rest) > 0; {
		var line []byte
		line, rest = cutLine(rest)
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

// cutLine splits b after its first line; line is without its end.
func cutLine(b []byte) (line, rest []byte) {
	i := lineEnd(b)
	if i < 0 {
		return b, nil
	}
	line, rest = b[:i], b[i+1:]
	if b[i] == '\r' && len(rest) > 0 && rest[0] == '\n' {
		rest = rest[1:]
	}
	return line, rest
}

// field splits a line at its colon; one space after it is no part of the value.
func field(line []byte) (name, value []byte) {
	i := bytes.IndexByte(line, ':')
	if i < 0 {
		return line, nil
	}
	name, value = line[:i], line[i+1:]
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return name, value
}

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

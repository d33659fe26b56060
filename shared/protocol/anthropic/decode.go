package anthropic

import (
	"bytes"
	"errors"
	"net/http"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/protocol/jsonscan"
)

// Decode reads an answer: the events of a stream, or one whole body. Every frame
// becomes an event. A stream that ends before a Stop, Whole or Fail yields a
// fault.UpstreamCut last; so does an error of f, unless it is a fault already.
// What follows a Stop or Whole cannot spoil it.
func (Back) Decode(f llm.Frames) llm.Stream {
	return func(yield func(llm.Event, error) bool) {
		var d decoder
		complete := false
		for frame, err := range f {
			if err != nil {
				if !complete {
					yield(llm.Event{From: llm.Anthropic}, cut(err))
				}
				return
			}
			event := d.event(frame)
			if event.Kind == llm.Fail && fault.CodeOf(event.Err) == fault.UpstreamCut {
				// The vendor did not say that it failed: what it did nobody knows.
				yield(llm.Event{From: llm.Anthropic}, event.Err)
				return
			}
			complete = complete || event.Kind == llm.Stop || event.Kind == llm.Whole
			if !yield(event, nil) || event.Kind == llm.Fail {
				return
			}
		}
		if !complete {
			yield(llm.Event{From: llm.Anthropic}, fault.New(fault.UpstreamCut, "the model's vendor ended the answer before it was complete"))
		}
	}
}

// cut is an error of reading as a fault.
func cut(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return fault.Wrap(fault.UpstreamCut, err, "the answer of the model's vendor was cut off")
}

// decoder reads the events of one answer.
type decoder struct {
	usage usageReader
}

// event is a frame and what it means.
func (d *decoder) event(f llm.Frame) llm.Event {
	e := llm.Event{From: llm.Anthropic, Frame: f}
	name := f.Event
	if len(name) == 0 {
		name = typeOf(f.Data)
	}
	switch string(name) {
	case "content_block_delta":
		e.Kind, e.Generated = llm.Delta, generated(f.Data, "delta")
	case "content_block_start":
		if e.Generated = generated(f.Data, "content_block"); e.Generated > 0 {
			e.Kind = llm.Delta
		}
	case "message_start":
		e.Kind, e.Usage = llm.Start, d.nested(f.Data)
	case "message_delta":
		e.Kind, e.Usage = llm.Tally, d.top(f.Data)
	case "message_stop":
		e.Kind = llm.Stop
	case "ping":
		e.Kind = llm.Ping
	case "error":
		e.Kind, e.Err = llm.Fail, failure(f.Data)
	case "message":
		d.whole(&e)
	case "":
		d.nameless(&e)
	}
	return e
}

// whole is an answer in one piece. One that breaks off is no answer.
func (d *decoder) whole(e *llm.Event) {
	data := e.Frame.Data
	if !isObject(data) {
		e.Kind = llm.Fail
		e.Err = fault.New(fault.UpstreamCut, "the model's vendor sent an answer that is not complete")
		return
	}
	e.Kind, e.Usage, e.Generated = llm.Whole, d.top(data), generated(data, "content")
}

// nameless is a frame that does not say what it is: a comment, which vendors send
// to keep a connection open, or a body that is no message. The answer to a count
// is such a body; one that is no object at all was cut, so that another account
// may be asked.
func (d *decoder) nameless(e *llm.Event) {
	f := &e.Frame
	whole := len(f.Raw) == len(f.Data)
	switch {
	case !whole && len(f.Data) == 0 && bytes.HasPrefix(f.Raw, []byte(":")):
		e.Kind = llm.Ping
	case whole && isObject(f.Data):
		e.Kind = llm.Whole
	case whole:
		e.Kind = llm.Fail
		e.Err = fault.New(fault.UpstreamCut, "the model's vendor sent an answer that is not JSON")
	}
}

func isObject(data []byte) bool {
	scan := jsonscan.New(data)
	return scan.Peek() == jsonscan.Object && jsonscan.Valid(data) == nil
}

// errFound ends a walk that has what it was made for.
var errFound = errors.New("found")

// member is a scanner before the value of the first top-level member of that
// name, false when data has none.
func member(data []byte, name string) (jsonscan.Scanner, bool) {
	scan := jsonscan.New(data)
	err := scan.Object(func(at jsonscan.Span) error {
		if jsonscan.Is(at.Of(data), name) {
			return errFound
		}
		return scan.Skip()
	})
	return scan, errors.Is(err, errFound)
}

// typeOf is the content of the top-level member "type".
func typeOf(data []byte) []byte {
	scan, ok := member(data, "type")
	if !ok || scan.Peek() != jsonscan.String {
		return nil
	}
	at, err := scan.Value()
	if err != nil {
		return nil
	}
	return jsonscan.Text(at.Of(data))
}

// top is the usage of an event or body that has it at its top level.
func (d *decoder) top(data []byte) *llm.Usage {
	scan, ok := member(data, "usage")
	if !ok {
		return nil
	}
	u, err := d.usage.read(data, &scan)
	if err != nil {
		return nil
	}
	return u
}

// nested is the usage of the message within an event.
func (d *decoder) nested(data []byte) *llm.Usage {
	scan, ok := member(data, "message")
	if !ok || scan.Peek() != jsonscan.Object {
		return nil
	}
	var u *llm.Usage
	err := scan.Object(func(name jsonscan.Span) error {
		if !jsonscan.Is(name.Of(data), "usage") {
			return scan.Skip()
		}
		var err error
		u, err = d.usage.read(data, &scan)
		return err
	})
	if err != nil {
		return nil
	}
	return u
}

// generated is the number of bytes of generated content within a member of data,
// escapes as written. An event that cannot be read counts whole: an estimate must
// not be below what was seen.
func generated(data []byte, name string) int {
	scan, ok := member(data, name)
	if !ok {
		return 0
	}
	n, err := content(data, &scan)
	if err != nil {
		return len(data)
	}
	return n
}

// content adds up the generated content of a block, a delta or an array of blocks.
func content(data []byte, scan *jsonscan.Scanner) (n int, err error) {
	switch scan.Peek() {
	case jsonscan.Array:
		err = scan.Array(func() error {
			block, err := content(data, scan)
			n += block
			return err
		})
		return n, err
	case jsonscan.Object:
	default:
		return 0, scan.Skip()
	}
	err = scan.Object(func(name jsonscan.Span) error {
		at, err := scan.Value()
		if err != nil {
			return err
		}
		n += contentBytes(jsonscan.Text(name.Of(data)), at.Of(data))
		return nil
	})
	return n, err
}

// contentBytes is how much of a member of a block the model wrote. Signatures and
// citations are the vendor's; what a server tool found is input.
func contentBytes(name, value []byte) int {
	switch string(name) {
	case "text", "thinking", "partial_json", "content", "data":
		if value[0] == '"' {
			return len(value) - len(`""`)
		}
	case "input":
		if len(value) > len("{}") {
			return len(value)
		}
	}
	return 0
}

// failure is an error within an answer, or instead of it.
func failure(data []byte) error {
	kind, message := errorOf(data)
	switch kind {
	case "overloaded_error", "rate_limit_error":
		return fault.New(fault.UpstreamBusy, "the model's vendor is overloaded; try again shortly")
	case "invalid_request_error":
		e := fault.New(fault.UpstreamRefused, "%s", message)
		e.Status, e.Kind = http.StatusBadRequest, kind
		return e
	}
	e := fault.New(fault.UpstreamFailed, "the model's vendor failed while it answered")
	if kind != "" {
		e.Cause = errors.New(kind + ": " + message)
	}
	return e
}

// errorOf reads error.type and error.message.
func errorOf(data []byte) (kind, message string) {
	scan, ok := member(data, "error")
	if !ok || scan.Peek() != jsonscan.Object {
		return "", ""
	}
	err := scan.Object(func(name jsonscan.Span) error {
		switch string(jsonscan.Text(name.Of(data))) {
		case "type":
			return setText(data, &scan, &kind)
		case "message":
			return setText(data, &scan, &message)
		}
		return scan.Skip()
	})
	if err != nil {
		return "", ""
	}
	return kind, message
}

package anthropic

import (
	"bytes"
	"errors"

	"sluice/shared/llm"
	"sluice/shared/protocol/jsonscan"
)

// Encode yields the frames of an answer as they came. If the model was asked for
// under another name than the client used, the name in the answer is replaced by
// the client's; nothing else changes. An error of s ends the frames, and so does
// a Fail, as its Err: the caller writes it with ErrorFrame.
func (Front) Encode(s llm.Stream, asked, sent string) llm.Frames {
	return func(yield func(llm.Frame, error) bool) {
		for event, err := range s {
			if err == nil && event.Kind == llm.Fail {
				err = event.Err
			}
			if err != nil {
				yield(llm.Frame{}, err)
				return
			}
			frame := event.Frame
			if asked != sent && (event.Kind == llm.Start || event.Kind == llm.Whole) {
				frame = renamed(frame, event.Kind, asked)
			}
			if !yield(frame, nil) {
				return
			}
		}
	}
}

// renamed is the frame with the model that it names replaced.
func renamed(f llm.Frame, kind llm.Kind, model string) llm.Frame {
	at, ok := modelIn(f.Data, kind)
	if !ok || jsonscan.Is(at.Of(f.Data), model) {
		return f
	}
	data := jsonscan.Splice(f.Data, at, jsonscan.Quote(model))
	// Usually data is one line and a part of Raw; of several, Data is a copy.
	if i := bytes.Index(f.Raw, f.Data); i >= 0 {
		f.Raw = jsonscan.Splice(f.Raw, jsonscan.Span{Start: i, End: i + len(f.Data)}, data)
	} else {
		f.Raw = eventFrame(f.Event, data)
	}
	f.Data = data
	return f
}

// eventFrame writes an event anew.
func eventFrame(name, data []byte) []byte {
	var raw []byte
	if len(name) > 0 {
		raw = append(append(append(raw, "event: "...), name...), '\n')
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		raw = append(append(append(raw, "data: "...), line...), '\n')
	}
	return append(raw, '\n')
}

// modelIn is where an answer names its model: in its message, or at its top level
// when it is the message.
func modelIn(data []byte, kind llm.Kind) (jsonscan.Span, bool) {
	if kind == llm.Whole {
		scan, ok := member(data, "model")
		return stringAt(&scan, ok)
	}
	scan, ok := member(data, "message")
	if !ok || scan.Peek() != jsonscan.Object {
		return jsonscan.Span{}, false
	}
	err := scan.Object(func(name jsonscan.Span) error {
		if jsonscan.Is(name.Of(data), "model") {
			return errFound
		}
		return scan.Skip()
	})
	return stringAt(&scan, errors.Is(err, errFound))
}

// stringAt is the span of the string at the scanner.
func stringAt(scan *jsonscan.Scanner, found bool) (jsonscan.Span, bool) {
	if !found || scan.Peek() != jsonscan.String {
		return jsonscan.Span{}, false
	}
	at, err := scan.Value()
	return at, err == nil
}

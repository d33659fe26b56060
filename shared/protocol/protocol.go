// Package protocol defines a wire format from its two sides: a Front reads the
// requests of clients that speak it and writes their answers; a Back adapts
// bodies for, and reads the answers of, vendors that speak it.
//
// 2N codecs serve N×N pairs. An event keeps the frame it came from, so that
// relaying within one protocol is byte-faithful on the same path that translates.
package protocol

import (
	"net/http"

	"sluice/shared/llm"
)

// Front is a wire format as clients speak it to us.
type Front interface {
	Protocol() llm.Protocol
	// Routes are the ServeMux patterns of its calls, such as "POST /v1/messages".
	Routes() []string
	// ReadCall reads the envelope of a call; body is the decoded request body,
	// kept and never changed. It errs with fault.Invalid (field set) or NotFound.
	ReadCall(r *http.Request, body []byte) (*llm.Call, error)
	// Encode turns an answer into frames for the client. asked is the model name
	// that the client used; sent is what the vendor was asked for.
	Encode(s llm.Stream, asked, sent string) llm.Frames
	// WriteError answers a fault before commit, with its status and headers.
	WriteError(w http.ResponseWriter, err error)
	// ErrorFrame is a fault as a frame, for after commit.
	ErrorFrame(err error) []byte
	// Ping is a keep-alive frame, nil if the format has none.
	Ping() []byte
}

// Back is a wire format as a vendor speaks it.
type Back interface {
	Protocol() llm.Protocol
	// Retarget is the body with the model replaced; the very same slice when it
	// already names that model. Nothing else of the body changes.
	Retarget(body []byte, model string) ([]byte, error)
	// Decode reads an answer. A stream without its terminal event ends with a
	// fault.UpstreamCut.
	Decode(f llm.Frames) llm.Stream
}

// Counter is a Back whose vendors count the tokens of an input free of charge.
type Counter interface {
	// CountBody is the body that asks to count the input of a generating body.
	CountBody(body []byte) ([]byte, error)
	// ReadCount is the number of tokens that the answer to a count tells.
	ReadCount(answer []byte) (int64, error)
}

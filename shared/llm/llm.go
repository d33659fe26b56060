// Package llm is the vocabulary of the relay: a call, the frames and events of
// its answer, and what it used. Everything else imports it; it imports nothing
// of the project.
package llm

import (
	"iter"
	"net/http"
)

// Protocol names a wire format that clients and vendors speak.
type Protocol string

// The protocols.
const (
	Anthropic Protocol = "anthropic" // Anthropic Messages
)

// Op is what a call asks for.
type Op uint8

// The operations.
const (
	Generate    Op = iota // an answer of the model
	CountTokens           // the number of input tokens, free of charge
)

// Call is one request of a client, read no further than relaying needs.
type Call struct {
	ID        string // unique, sortable by time; see NewID
	Protocol  Protocol
	Op        Op
	Model     string // as the client named it
	Stream    bool
	MaxOutput int64  // tokens; 0 when the client set none
	Speed     string // asked for beyond the usual, such as "fast"; "" = the usual
	Fallbacks bool   // the body names further models that the vendor may use instead
	Region    string // where it asks to be processed; "" = any
	Session   string // what keeps to one account for the vendor's prompt cache; unscoped
	Input     Bound
	Body      []byte      // as received, decoded from any content encoding
	Header    http.Header // what the client sent, without credentials and hop-by-hop headers
	Query     string      // raw query to forward, without credentials
}

// Bound is what the body says about the largest input it can be billed for.
type Bound struct {
	Text     int64      // bytes of text, each at most one token; encoded media excluded
	Media    int64      // token maxima of the images and document pages that the body carries
	External bool       // names something outside itself (URL, file id, server tool): only the context window bounds it
	Cache    CacheClass // dearest cache write that the body can trigger
}

// CacheClass orders the classes of input by price.
type CacheClass uint8

// The classes, cheapest first.
const (
	NoCache CacheClass = iota // plain input
	Cache5m                   // written to a cache for 5 minutes
	Cache1h                   // written to a cache for an hour
)

// Frame is one unit of an answer on the wire: an SSE event, or the whole body of
// an answer that is not streamed. Its slices are valid until the next is pulled.
type Frame struct {
	Raw   []byte // every byte as it came, terminating blank line included
	Event []byte // the SSE event field; empty when there was none
	Data  []byte // the SSE data lines joined by \n, or the whole body
	More  bool   // a further complete frame is already buffered: no need to flush after this one
}

// Frames is an answer on the wire; single use, pulled by its reader.
type Frames = iter.Seq2[Frame, error]

// Kind says what an Event means to the relay.
type Kind uint8

// The kinds of event.
const (
	Other Kind = iota // carried, not understood
	Start             // first event of an answer; has usage of the input
	Delta             // generated content
	Ping              // keep-alive of the vendor
	Tally             // cumulative usage figures
	Stop              // terminal event of a complete answer
	Whole             // a complete answer in one piece (not streamed)
	Fail              // an error in the stream; Err is set; terminal
)

// Event is a Frame and what it means. Frame is written back untouched by an
// encoder of the protocol it came From.
type Event struct {
	Kind      Kind
	From      Protocol
	Frame     Frame
	Usage     *Usage // cumulative; nil when the event carries none
	Generated int    // bytes of generated content in the frame, escapes counted as written
	Err       error  // of a Fail
}

// Stream is an answer as events; single use, pulled by its reader.
type Stream = iter.Seq2[Event, error]

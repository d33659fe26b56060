package anthropic

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/protocol/jsonscan"
)

// maxModel is the length of a model's name in bytes that is still accepted: it is
// kept in records and used in keys of the ledger.
const maxModel = 256

// once are the members of a body that Sluice reads, or that change what a call
// costs. Each may occur only once: decoders disagree about which of two counts.
func once() []string {
	return []string{
		"model", "stream", "max_tokens", "messages", "system", "tools", "metadata", "cache_control",
		"container", "mcp_servers", "thread", "context_management", "service_tier", "speed", "inference_geo", "fallbacks",
	}
}

// ReadCall reads the envelope of a call in one pass over body, and validates all
// of it as JSON. It errs with fault.Invalid, the field or the offset named, and
// with fault.NotFound for a path that is no route of the format.
func (Front) ReadCall(r *http.Request, body []byte) (*llm.Call, error) {
	call := &llm.Call{Protocol: llm.Anthropic, Body: body}
	switch {
	case strings.HasSuffix(r.URL.Path, "/v1/messages"):
		call.Op = llm.Generate
	case strings.HasSuffix(r.URL.Path, "/v1/messages/count_tokens"):
		call.Op = llm.CountTokens
	default:
		return nil, fault.New(fault.NotFound, "there is no %s %s", r.Method, r.URL.Path)
	}
	e, err := readEnvelope(body, call)
	if err != nil {
		return nil, err
	}
	if err := e.complete(); err != nil {
		return nil, err
	}
	call.Input = e.bound()
	call.Session = e.session(r.Header)
	call.Header = forwarded(r.Header)
	call.Query = withoutKey(r.URL.RawQuery)
	return call, nil
}

// envelope is what the top level of a body says.
type envelope struct {
	walk
	call   *llm.Call
	once   jsonscan.Once
	tools  prefix
	system prefix
	userID jsonscan.Span // metadata.user_id, with its quotes
}

func readEnvelope(body []byte, call *llm.Call) (*envelope, error) {
	e := &envelope{call: call, walk: walk{body: body, scan: jsonscan.New(body)}}
	e.once.Names = once()
	if !utf8.Valid(body) {
		return nil, fault.New(fault.Invalid, "the request body is not valid UTF-8 at byte %d", invalidUTF8(body))
	}
	if e.scan.Peek() != jsonscan.Object {
		if err := jsonscan.Valid(body); err != nil {
			return nil, malformed(err)
		}
		return nil, fault.New(fault.Invalid, "the request body must be a JSON object")
	}
	if err := e.scan.Object(e.member); err != nil {
		return nil, malformed(err)
	}
	if err := e.scan.End(); err != nil {
		return nil, malformed(err)
	}
	return e, nil
}

// malformed is err as a fault; it may be one already.
func malformed(err error) error {
	if syntax, ok := errors.AsType[*jsonscan.SyntaxError](err); ok {
		return fault.New(fault.Invalid, "the request body is not valid JSON: %s", syntax)
	}
	return err
}

func invalidUTF8(body []byte) int {
	at := 0
	for {
		r, n := utf8.DecodeRune(body[at:])
		if r == utf8.RuneError && n <= 1 {
			return at
		}
		at += n
	}
}

// member reads one member of the top level.
func (e *envelope) member(name jsonscan.Span) error {
	known, again := e.once.Use(name.Of(e.body))
	if again {
		return fault.At(known, "the member occurs more than once")
	}
	switch known {
	case "model":
		return e.readModel()
	case "speed":
		return e.readText(&e.call.Speed)
	case "inference_geo":
		return e.readText(&e.call.Region)
	case "fallbacks":
		at, err := e.scan.Value()
		e.call.Fallbacks = err == nil && string(at.Of(e.body)) != "null"
		return err
	case "stream":
		return e.readStream()
	case "max_tokens":
		return e.readMaxTokens()
	case "messages":
		return e.messages()
	case "system":
		return e.prefixed(&e.system, e.block)
	case "tools":
		return e.prefixed(&e.tools, e.tool)
	case "metadata":
		return e.readMetadata()
	case "cache_control":
		return e.cacheControl()
	case "container", "mcp_servers", "thread":
		return e.reference()
	case "context_management":
		return e.contextManagement()
	case "":
		return e.unlisted(name)
	}
	return e.scan.Skip()
}

// unlisted passes over a member that is not read here, unless it differs only in
// case from one that is: a vendor that ignores case would take it for that one.
func (e *envelope) unlisted(name jsonscan.Span) error {
	text := jsonscan.Text(name.Of(e.body))
	for _, read := range []string{"model", "stream", "max_tokens"} {
		if bytes.EqualFold(text, []byte(read)) {
			return fault.At(read, "the name must be in lower case")
		}
	}
	return e.scan.Skip()
}

func (e *envelope) readModel() error {
	at, err := e.scan.Value()
	if err != nil {
		return err
	}
	raw := at.Of(e.body)
	if jsonscan.KindOf(raw[0]) != jsonscan.String {
		return fault.At("model", "must be a string")
	}
	model := jsonscan.Text(raw)
	switch {
	case len(model) == 0:
		return fault.At("model", "must not be empty")
	case len(model) > maxModel:
		return fault.At("model", "is %d bytes long; at most %d are allowed", len(model), maxModel)
	}
	e.call.Model = string(model)
	return nil
}

// readText reads a member that may be a string; the vendor judges what else it is.
func (e *envelope) readText(into *string) error {
	at, err := e.scan.Value()
	if err != nil {
		return err
	}
	if raw := at.Of(e.body); raw[0] == '"' && len(raw) <= maxModel {
		*into = string(jsonscan.Text(raw))
	}
	return nil
}

func (e *envelope) readStream() error {
	at, err := e.scan.Value()
	if err != nil {
		return err
	}
	switch string(at.Of(e.body)) {
	case "true":
		e.call.Stream = true
	case "false", "null":
	default:
		return fault.At("stream", "must be true or false")
	}
	return nil
}

// readMaxTokens accepts zero: it asks to fill the prompt cache without an answer.
func (e *envelope) readMaxTokens() error {
	at, err := e.scan.Value()
	if err != nil || e.call.Op == llm.CountTokens {
		return err
	}
	n, ok := jsonscan.Int(at.Of(e.body))
	if !ok || n < 0 {
		return fault.At("max_tokens", "must be an integer of at least 0")
	}
	e.call.MaxOutput = n
	return nil
}

func (e *envelope) readMetadata() error {
	if e.scan.Peek() != jsonscan.Object {
		return e.scan.Skip()
	}
	return e.scan.Object(func(name jsonscan.Span) error {
		at, err := e.scan.Value()
		if err == nil && jsonscan.Is(name.Of(e.body), "user_id") && e.body[at.Start] == '"' {
			e.userID = at
		}
		return err
	})
}

// complete errs when a member is missing that a call must have.
func (e *envelope) complete() error {
	switch {
	case !e.once.Has("model"):
		return fault.At("model", "is required")
	case e.call.Op == llm.Generate && !e.once.Has("max_tokens"):
		return fault.At("max_tokens", "is required")
	}
	return nil
}

package simulator

import (
	"encoding/json"
	"hash/maphash"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// request is what the simulator reads of a body, in one pass.
type request struct {
	model     string
	stream    bool
	maxTokens int64 // 0 = not given
	thinking  bool
	omitted   bool  // thinking is asked for, but not to be shown
	budget    int64 // thinking.budget_tokens, 0 = not given
	sampling  string
	toolList  []byte // as written; nil = not given
	lastUser  []byte // the last message of the user, as written
	systemRaw []byte

	cached                  time.Duration // top-level cache_control
	tools, system, messages []piece
}

// reader reads a request.
type reader struct {
	scanner
	request
	hash   maphash.Hash
	signer signer
	weight int64 // what media in the piece weighs more than its bytes
	err    *refusal
}

// mediaTokens is the weight of an encoded image or document, whatever its size.
const mediaTokens = 1500

// read reads a body as POST /v1/messages and count_tokens take it.
func (s *Simulator) read(body []byte) (*request, *refusal) {
	if !utf8.Valid(body) {
		return nil, refuse(http.StatusBadRequest, "The request body is not valid UTF-8")
	}
	d := &reader{scanner: scanner{b: body}, signer: s.signer}
	d.hash.SetSeed(s.hashing)
	err := d.object(d.member)
	if err == nil {
		err = d.end()
	}
	switch {
	case d.err != nil:
		return nil, d.err
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "The request body is not valid JSON: %v", err)
	case d.model == "":
		return nil, refuse(http.StatusBadRequest, "model: Field required")
	case len(d.messages) == 0:
		return nil, refuse(http.StatusBadRequest, "messages: at least one message is required")
	}
	return &d.request, nil
}

// reject ends the reading with a refusal of a well-formed body.
func (d *reader) reject(format string, args ...any) error {
	d.err = refuse(http.StatusBadRequest, format, args...)
	return errRejected
}

const errRejected = rejected("rejected")

type rejected string

func (r rejected) Error() string { return string(r) }

func (d *reader) member(key string) error {
	switch key {
	case "tools":
		return d.section(key, &d.toolList, d.toolsArray)
	case "system":
		return d.section(key, &d.systemRaw, func() error { return d.content("system", &d.system) })
	case "messages":
		if d.peek() != '[' {
			return d.reject("messages: Input should be a valid list")
		}
		d.messages = d.messages[:0]
		return d.array(d.message)
	}
	raw, err := d.skip()
	if err != nil {
		return err
	}
	return d.setting(key, raw)
}

// section reads a value and keeps it as written.
func (d *reader) section(key string, raw *[]byte, read func() error) error {
	if c := d.peek(); c != '[' && (c != '"' || key != "system") {
		return d.reject("%s: Input should be a valid list", key)
	}
	start := d.i
	err := read()
	*raw = d.b[start:d.i]
	return err
}

func (d *reader) toolsArray() error {
	d.tools = d.tools[:0]
	return d.array(func(int) error { return d.block(&d.tools, "") })
}

// setting takes over one of the small top-level members.
func (d *reader) setting(key string, raw []byte) error {
	var err error
	switch key {
	case "model":
		if err = json.Unmarshal(raw, &d.model); err != nil {
			return d.reject("model: Input should be a valid string")
		}
	case "stream":
		if err = json.Unmarshal(raw, &d.stream); err != nil {
			return d.reject("stream: Input should be a valid boolean")
		}
	case "max_tokens":
		if d.maxTokens, err = strconv.ParseInt(string(raw), 10, 64); err != nil {
			return d.reject("max_tokens: Input should be a valid integer")
		}
		if d.maxTokens < 1 {
			return d.reject("max_tokens: must be greater than or equal to 1")
		}
	case "temperature", "top_p", "top_k":
		d.sampling = key
	case "cache_control":
		d.cached, err = d.breakpoint(raw)
	case "thinking":
		return d.readThinking(raw)
	}
	return err
}

func (d *reader) readThinking(raw []byte) error {
	var t struct {
		Type    string `json:"type"`
		Display string `json:"display"`
		Budget  int64  `json:"budget_tokens"`
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return d.reject("thinking: Input should be a valid dictionary")
	}
	d.thinking = t.Type == "enabled" || t.Type == "adaptive"
	d.omitted = d.thinking && t.Display == "omitted"
	d.budget = t.Budget
	return nil
}

// breakpoint is the time for which a cache_control asks to keep a prefix.
func (d *reader) breakpoint(raw []byte) (time.Duration, error) {
	var c *struct {
		TTL string `json:"ttl"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return 0, d.reject("cache_control: Input should be a valid dictionary")
	}
	switch {
	case c == nil:
		return 0, nil
	case c.TTL == "" || c.TTL == "5m":
		return shortTTL, nil
	case c.TTL == "1h":
		return longTTL, nil
	}
	return 0, d.reject("cache_control.ttl: Input should be '5m' or '1h'")
}

// message reads one message: its content as pieces, then the rest of it as one.
func (d *reader) message(n int) error {
	start, role := 0, ""
	var rest piece
	d.peek()
	start = d.i
	err := d.object(func(key string) error {
		if key == "content" {
			return d.content("messages."+strconv.Itoa(n)+".content", &d.messages)
		}
		raw, err := d.skip()
		if err != nil {
			return err
		}
		if key == "role" {
			role = unescape(raw)
		}
		rest.bytes += int64(len(raw))
		rest.hash = mix(rest.hash, maphash.Bytes(d.hash.Seed(), raw))
		return nil
	})
	if err != nil {
		return err
	}
	switch role {
	case `"user"`:
		d.lastUser = d.b[start:d.i]
	case `"assistant"`, `"system"`:
	default:
		return d.reject("messages.%d.role: Input should be 'user' or 'assistant'", n)
	}
	d.messages = append(d.messages, rest)
	return nil
}

// content reads a string or an array of blocks into pieces.
func (d *reader) content(path string, to *[]piece) error {
	switch d.peek() {
	case '"':
		raw, err := d.text()
		*to = append(*to, piece{hash: maphash.Bytes(d.hash.Seed(), raw), bytes: int64(len(raw))})
		return err
	case '[':
		return d.array(func(n int) error { return d.block(to, path+"."+strconv.Itoa(n)) })
	}
	return d.reject("%s: Input should be a valid string or list", path)
}

// block reads a tool or a content block: what it weighs and is told apart by,
// without its cache marker, which clients move from turn to turn.
func (d *reader) block(to *[]piece, path string) error {
	var p piece
	var kind, thinking, signature []byte
	d.hash.Reset()
	d.weight = 0
	err := d.object(func(key string) error {
		d.peek()
		start := d.i
		err := d.weigh()
		raw := d.b[start:d.i]
		switch key {
		case "cache_control":
			if err == nil {
				p.ttl, err = d.breakpoint(raw)
			}
			return err
		case "type":
			kind = raw
		case "thinking":
			thinking = raw
		case "signature":
			signature = raw
		}
		_, _ = d.hash.WriteString(key) // a hash never errs
		_, _ = d.hash.Write(raw)
		p.bytes += int64(len(key) + len(raw))
		return err
	})
	if err != nil {
		return err
	}
	if path != "" && string(kind) == `"thinking"` && !d.genuine(thinking, signature) {
		return d.reject("%s: Invalid `signature` in `thinking` block", path)
	}
	p.hash = d.hash.Sum64()
	p.bytes = max(p.bytes+d.weight, 0)
	*to = append(*to, p)
	return nil
}

func (d *reader) genuine(thinking, signature []byte) bool {
	var text, sign string
	return json.Unmarshal(thinking, &text) == nil && json.Unmarshal(signature, &sign) == nil && d.signer.verify(text, sign)
}

// weigh consumes a value and sees to it that encoded media in it counts by the
// piece, not by its bytes.
func (d *reader) weigh() error {
	switch d.peek() {
	case '{':
		var encoded bool
		var data int
		err := d.object(func(key string) error {
			if key != "type" && key != "data" {
				return d.weigh()
			}
			raw, err := d.skip()
			if key == "type" {
				encoded = string(raw) == `"base64"`
			} else {
				data = len(raw)
			}
			return err
		})
		if encoded {
			d.weight += mediaTokens*bytesPerToken - int64(data)
		}
		return err
	case '[':
		return d.array(func(int) error { return d.weigh() })
	}
	_, err := d.skip()
	return err
}

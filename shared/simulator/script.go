package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Script says how one call is answered; the zero value answers well. A prompt
// gives it as [[sim key=value key=value …]] in the system text or in the last
// message of the user, a request as "x-sim: key=value key=value …"; where they
// differ the header wins, then the message. Keys stand beside their fields.
type Script struct {
	Output  int64         // output=N: tokens of the answer, thinking included; 0 = a short natural one
	Chunk   int           // chunk=N: bytes of a delta, or of a piece of a body that is not streamed; 0 = 20, or 256
	Delay   time.Duration // delay=DURATION: between frames or pieces
	First   time.Duration // first=DURATION: before the status line
	Unicode bool          // unicode=1: text of two, three and four bytes a character
	Big     int           // big=BYTES: one delta of this size, not held back by max_tokens
	NoPing  bool          // noping=1: no ping event
	Tool    string        // tool=NAME: use this tool, if it is offered
	Input   string        // input=JSON, query-escaped: the input of the tool; "" = made up from its schema
	Search  int64         // search=N: report N web searches
	Tier    string        // tier=NAME: the service tier reported; "" = standard

	Status     int    // status=N: answer this error status
	RetryAfter int64  // retry_after=SECONDS: beside an error status
	Error      string // error=TYPE: an error event as frame At; with Status, its error.type
	Message    string // message=TEXT, query-escaped: of the error; "" = the vendor's usual one
	HTML       int    // html=STATUS: an error page of a proxy
	Reset      bool   // reset=1: reset the connection before any answer
	Garbage    bool   // garbage=1: a 200 that is no JSON
	Empty      bool   // empty=1: a 200 without a body

	Break Break // cut=N, end=N, stall=N, error=TYPE: how the answer breaks off
	At    int   // the N of these, at=N for error: frames or pieces written before it does

	CRLF  bool // crlf=1: lines end in CR LF
	Split bool // split=1: flush a few bytes at a time, across frames and characters
	Gzip  bool // gzip=1: compress, if the client accepts it
}

// Break is a way in which an answer breaks off before its end.
type Break uint8

// The ways to break off.
const (
	Whole Break = iota // does not
	Fail               // by an error event
	Cut                // by closing the connection abruptly
	End                // by ending the body cleanly, without the terminal event
	Stall              // by silence until the client goes away
)

// Bounds of what a directive can ask for: it may come from anyone who can write
// a prompt.
const (
	maxOutput = 1 << 20
	maxBig    = 64 << 20
	maxWait   = time.Hour
)

// Parse reads "key=value key=value …" into the script. It errs on an unknown key
// and on a malformed value, naming it.
func (c *Script) Parse(directive string) error {
	for _, field := range strings.Fields(directive) {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			return fmt.Errorf("sim: %q is not key=value", field)
		}
		if err := c.set(key, value); err != nil {
			return fmt.Errorf("sim: %s: %w", field, err)
		}
	}
	return nil
}

func (c *Script) set(key, value string) (err error) {
	switch key {
	case "output":
		c.Output, err = number(value, maxOutput)
	case "big":
		err = whole(&c.Big, value, maxBig)
	case "chunk":
		err = whole(&c.Chunk, value, maxBig)
	case "search":
		c.Search, err = number(value, maxOutput)
	case "retry_after":
		c.RetryAfter, err = number(value, int64(maxWait/time.Second)*24)
	case "status":
		err = c.status(&c.Status, value)
	case "html":
		err = c.status(&c.HTML, value)
	case "delay":
		c.Delay, err = wait(value)
	case "first":
		c.First, err = wait(value)
	case "tool":
		c.Tool = value
	case "tier":
		c.Tier = value
	case "message":
		c.Message, err = url.QueryUnescape(value)
	case "input":
		if c.Input, err = url.QueryUnescape(value); err == nil && !json.Valid([]byte(c.Input)) {
			err = fmt.Errorf("not JSON")
		}
	case "error":
		c.Break, c.Error = Fail, value
	case "at":
		err = whole(&c.At, value, maxOutput)
	default:
		return c.setFault(key, value)
	}
	return err
}

// setFault sets the keys that break an answer off, and the flags.
func (c *Script) setFault(key, value string) (err error) {
	if how, ok := map[string]Break{"cut": Cut, "end": End, "stall": Stall}[key]; ok {
		c.Break = how
		return whole(&c.At, value, maxOutput)
	}
	flag, ok := map[string]*bool{
		"unicode": &c.Unicode, "noping": &c.NoPing, "reset": &c.Reset, "garbage": &c.Garbage,
		"empty": &c.Empty, "crlf": &c.CRLF, "split": &c.Split, "gzip": &c.Gzip,
	}[key]
	if !ok {
		return fmt.Errorf("no such key")
	}
	*flag, err = strconv.ParseBool(value)
	return err
}

func (c *Script) status(to *int, value string) error {
	if err := whole(to, value, 599); err != nil {
		return err
	}
	if *to < 400 {
		return fmt.Errorf("not an error status")
	}
	return nil
}

func number(value string, limit int64) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err == nil && (n < 0 || n > limit) {
		err = fmt.Errorf("not within 0 and %d", limit)
	}
	return n, err
}

func whole(to *int, value string, limit int64) error {
	n, err := number(value, limit)
	*to = int(n)
	return err
}

func wait(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err == nil && (d < 0 || d > maxWait) {
		err = fmt.Errorf("not within 0 and %v", maxWait)
	}
	return d, err
}

// directed collects the script of a call from wherever it is given.
func (s *Simulator) directed(r *http.Request, body []byte, q *request) (Script, error) {
	if s.script != nil {
		return s.script(r, body), nil
	}
	var c Script
	for _, text := range [...][]byte{q.systemRaw, q.lastUser} {
		if err := c.parseText(text); err != nil {
			return c, err
		}
	}
	return c, c.Parse(r.Header.Get("X-Sim"))
}

// parseText reads every directive in a text. None holds a character that JSON
// would escape, so the text is searched as it is written in the body.
func (c *Script) parseText(text []byte) error {
	for {
		_, rest, ok := bytes.Cut(text, []byte("[[sim "))
		if !ok {
			return nil
		}
		directive, after, ok := bytes.Cut(rest, []byte("]]"))
		if !ok {
			return fmt.Errorf("sim: a directive without ]]")
		}
		if err := c.Parse(string(directive)); err != nil {
			return err
		}
		text = after
	}
}

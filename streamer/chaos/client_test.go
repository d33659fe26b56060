package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"sluice/shared/llm"
)

// order is what a client is to ask for.
type order struct {
	kind   kind
	script string // of the vendor
	lines  int    // of a stream, after which a leaver leaves
	most   int    // max_tokens
}

// clientPatience is how long a client waits for the end of an answer.
const clientPatience = 30 * time.Second

// usual is an order of everyday: streams, plain calls, counts, and clients that leave
// while there is little left of the answer, or much more than is drained.
func usual(r *rand.Rand) order {
	o := order{kind: stream, most: 8000, script: fmt.Sprintf("output=%d delay=%dms", 40+r.IntN(200), 3+r.IntN(25))}
	switch roll := r.IntN(100); {
	case roll < 25:
		o.kind, o.most = plain, 1000
	case roll < 33:
		o.kind, o.most = count, 1000
	case roll < 50:
		o = leaving(r)
	}
	return o
}

// leaving is an order of a client that leaves. The answers end well within the time
// for which they are drained, or not by far: whether one was read to its end is then
// no matter of a moment.
func leaving(r *rand.Rand) order {
	o := order{kind: leaver, most: 8000, lines: 2 + r.IntN(12)}
	o.script = fmt.Sprintf("output=%d delay=%dms", 60+r.IntN(100), 5+r.IntN(10))
	if r.IntN(2) == 0 {
		o.script = "output=6000 delay=20ms"
	}
	return o
}

// lengthy is an order of a stream of some seconds, so that it runs when something
// breaks, or a usual one.
func lengthy(r *rand.Rand) order {
	if r.IntN(3) == 0 {
		return usual(r)
	}
	return order{kind: stream, most: 8000, script: fmt.Sprintf("output=%d delay=%dms", 150+r.IntN(250), 40+r.IntN(40))}
}

// place sends the order to a process and notes what its client gets to see.
func (a *arena) place(ctx context.Context, p *process, k key, o order, c *call) {
	c.Process, c.Kind, c.Model, c.Script = p.number, o.kind, model, o.script
	ctx, cancel := context.WithTimeout(ctx, clientPatience)
	defer cancel()
	path := "/v1/messages"
	if o.kind == count {
		path += "/count_tokens"
	}
	body := fmt.Sprintf(`{"model": %q, "max_tokens": %d, "stream": %t, "messages": [{"role": "user", "content": "[[sim %s]] Go on, %s."}]}`,
		model, o.most, o.kind == stream || o.kind == leaver, o.script, c.ID)
	if o.kind == count {
		body = fmt.Sprintf(`{"model": %q, "messages": [{"role": "user", "content": "How many, %s?"}]}`, model, c.ID)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.addr+path, strings.NewReader(body))
	if err != nil {
		c.Saw, c.Detail = broke, err.Error()
		return
	}
	for name, value := range map[string]string{
		"X-Api-Key": k.Secret, "Content-Type": "application/json", "Anthropic-Version": "2023-06-01", callHeader: c.ID,
	} {
		r.Header.Set(name, value)
	}
	res, err := a.clients.Do(r)
	if err != nil {
		c.Saw, c.Detail = broke, err.Error()
		return
	}
	defer func() { _ = res.Body.Close() }() // it was read, or is no longer wanted
	c.Status = res.StatusCode
	switch {
	case res.StatusCode != http.StatusOK:
		c.readError(res.Body)
	case o.kind == stream || o.kind == leaver:
		c.readStream(res.Body, o.lines)
	default:
		c.readWhole(res.Body)
	}
}

// readError reads an answer that is an error.
func (c *call) readError(body io.Reader) {
	text, err := io.ReadAll(body)
	var e struct {
		Error struct{ Type, Message string }
	}
	if err = errors.Join(err, json.Unmarshal(text, &e)); err != nil || e.Error.Type == "" {
		c.Saw, c.Detail = broke, fmt.Sprintf("no error of the protocol: %q, %v", text, err)
		return
	}
	c.Saw, c.Detail = typed, e.Error.Type+": "+e.Error.Message
}

// figures are the vendor's figures in an answer.
type figures struct {
	Input  *int64 `json:"input_tokens"`
	Output *int64 `json:"output_tokens"`
}

// readWhole reads an answer in one piece.
func (c *call) readWhole(body io.Reader) {
	text, err := io.ReadAll(body)
	var a struct {
		Usage *figures
		Input *int64 `json:"input_tokens"`
	}
	if err = errors.Join(err, json.Unmarshal(text, &a)); err != nil || a.Usage == nil && a.Input == nil {
		c.Saw, c.Detail = broke, fmt.Sprintf("%d bytes of an answer, %v", len(text), err)
		return
	}
	c.Saw = whole
	if a.Usage != nil {
		c.Read.Usage = llm.Usage{Input: a.Usage.Input, Output: a.Usage.Output}
	}
}

// frame is what a client looks at in an event of a stream.
type frame struct {
	Type    string
	Error   struct{ Type, Message string }
	Message struct{ Usage figures }
	Usage   figures
	Delta   struct{ Text string }
}

// readStream reads a stream to its end, or so many lines of it.
func (c *call) readStream(body io.Reader, most int) {
	lines := bufio.NewScanner(body)
	for n := 0; lines.Scan(); {
		n++
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		if isData && c.takes(data) {
			return
		}
		if most > 0 && n >= most {
			c.Saw = left
			return
		}
	}
	c.Saw, c.Detail = broke, fmt.Sprintf("the stream ended after %d bytes: %v", c.Read.Generated, lines.Err())
}

// takes reads an event, and says whether it was the last.
func (c *call) takes(data string) bool {
	var f frame
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		c.Saw, c.Detail = broke, fmt.Sprintf("%q is no event: %v", data, err)
		return true
	}
	c.Read.Usage.Merge(&llm.Usage{Input: f.Message.Usage.Input, Output: f.Message.Usage.Output})
	c.Read.Usage.Merge(&llm.Usage{Output: f.Usage.Output})
	c.Read.Generated += int64(len(f.Delta.Text))
	switch f.Type {
	case "message_stop":
		c.Saw = whole
		return true
	case "error":
		c.Saw, c.Detail = typed, f.Error.Type+": "+f.Error.Message
		return f.Error.Type != ""
	}
	return false
}

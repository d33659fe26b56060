package simulator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxBody       = 32 << 20  // bytes of a request body that the vendor takes
	contextWindow = 1_000_000 // tokens, of every model
	versionBare   = "2026-10-21"
)

// call is a request that was read and found in order.
type call struct {
	*request
	account string
	body    []byte
	script  Script
}

// messages answers POST /v1/messages.
func (s *Simulator) messages(w http.ResponseWriter, r *http.Request) {
	arrival := s.calls.Add(1)
	m := s.borrow()
	defer s.giveBack(m)
	c, no := s.receive(r, m)
	if no == nil {
		no = c.orderly(r)
	}
	if no != nil {
		no.write(w)
		return
	}
	if s.misbehave(w, r, c) {
		return
	}
	a := s.compose(c.request, &c.script, arrival)
	owner := maphash.String(s.hashing, c.account+" "+c.model)
	a.input = s.cache.charge(s.now(), owner, c.pieces())
	t := &transfer{
		s: s, w: w, rc: http.NewResponseController(w), ctx: r.Context(), script: &c.script, answer: a,
		scratch: m, sum: sha256.New(), speed: s.speed, arrival: arrival,
		charge: Charge{
			ID: a.id, RequestID: w.Header().Get("Request-Id"), Account: c.account, Model: c.model,
			Body: sha256.Sum256(c.body), Header: redacted(r.Header),
		},
	}
	t.run(c.stream, strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"))
}

// countTokens answers POST /v1/messages/count_tokens, free of charge.
func (s *Simulator) countTokens(w http.ResponseWriter, r *http.Request) {
	m := s.borrow()
	defer s.giveBack(m)
	c, no := s.receive(r, m)
	switch {
	case no != nil:
		no.write(w)
	case !s.misbehave(w, r, c):
		writeJSON(w, http.StatusOK, map[string]int64{"input_tokens": c.inputTokens()})
	}
}

// receive reads a request as far as both routes have it in common.
func (s *Simulator) receive(r *http.Request, m *scratch) (*call, *refusal) {
	account, no := s.account(r)
	if no != nil {
		return nil, no
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type: must be application/json")
	}
	buf := bytes.NewBuffer(m.body[:0])
	if n := r.ContentLength; n > 0 && n <= maxBody {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(r.Body, maxBody+1))
	m.body = buf.Bytes()
	switch {
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "The request body could not be read")
	case len(m.body) > maxBody:
		return nil, refuse(http.StatusRequestEntityTooLarge, "Request exceeds the maximum size")
	}
	q, no := s.read(m.body)
	if no != nil {
		return nil, no
	}
	if !known(q.model) {
		return nil, refuse(http.StatusNotFound, "model: %s", q.model)
	}
	script, err := s.directed(r, m.body, q)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	return &call{q, account, m.body, script}, nil
}

// orderly refuses what only a request for an answer can have wrong.
func (c *call) orderly(r *http.Request) *refusal {
	switch in := c.inputTokens(); {
	case c.maxTokens == 0:
		return refuse(http.StatusBadRequest, "max_tokens: Field required")
	case c.sampling != "" && r.Header.Get("Anthropic-Version") >= versionBare:
		return refuse(http.StatusBadRequest, "%s: Extra inputs are not permitted", c.sampling)
	case c.thinking && c.budget >= c.maxTokens:
		return refuse(http.StatusBadRequest, "`max_tokens` must be greater than `thinking.budget_tokens`")
	case in > contextWindow:
		return refuse(http.StatusBadRequest, "prompt is too long: %d tokens > %d maximum", in, contextWindow)
	}
	return nil
}

// misbehave answers in the stead of the model, if the script says so or if the
// client leaves before the answer begins.
func (s *Simulator) misbehave(w http.ResponseWriter, r *http.Request, call *call) bool {
	c := &call.script
	if c.First > 0 && !sleep(r.Context(), c.First) {
		return true
	}
	s.limits(w.Header(), c.Status == http.StatusTooManyRequests, time.Duration(max(c.RetryAfter, 1))*time.Second)
	switch {
	case c.Reset:
		reset(w)
	case c.HTML != 0:
		writeBody(w, c.HTML, "text/html; charset=UTF-8", []byte("<html>\r\n<head><title>"+http.StatusText(c.HTML)+
			"</title></head>\r\n<body>\r\n<center><h1>"+http.StatusText(c.HTML)+"</h1></center>\r\n</body>\r\n</html>\r\n"))
	case c.Status != 0:
		c.refusal(c.Status).write(retryAfter(w, c))
	case c.Empty:
		writeBody(w, http.StatusOK, contentType(call.stream), nil)
	case c.Garbage:
		writeBody(w, http.StatusOK, contentType(call.stream), []byte("\x00\x01 upstream connect error }{ "))
	case c.Break == Fail && c.At == 0 && call.stream:
		writeBody(w, http.StatusOK, contentType(true), c.errorEvent(w.Header().Get("Request-Id")))
	case c.Break == Fail && !call.stream:
		c.refusal(statusOf(c.Error)).write(retryAfter(w, c))
	default:
		return false
	}
	return true
}

func retryAfter(w http.ResponseWriter, c *Script) http.ResponseWriter {
	if c.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(c.RetryAfter, 10))
	}
	return w
}

// refusal is the error that a script asks for.
func (c *Script) refusal(status int) *refusal {
	e := &refusal{status: status, kind: c.Error, message: c.Message}
	if e.kind == "" {
		e.kind = kindOf(status)
	}
	if e.message == "" {
		e.message = messageOf(e.kind)
	}
	return e
}

// errorEvent is the error that a script asks for, in a stream.
func (c *Script) errorEvent(requestID string) []byte {
	body := c.refusal(statusOf(c.Error)).body(requestID)
	return slices.Concat([]byte("event: error\ndata: "), body, []byte("\n\n"))
}

func contentType(stream bool) string {
	if stream {
		return "text/event-stream; charset=utf-8"
	}
	return "application/json"
}

// reset ends a connection with a TCP reset, or its stream where it carries more.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetLinger(0)
	}
	if err = errors.Join(err, conn.Close()); err != nil {
		panic(http.ErrAbortHandler) // ends the connection in the other way left
	}
}

// sleep waits for d and says whether ctx lasted as long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

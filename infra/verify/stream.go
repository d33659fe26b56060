package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sluice/shared/secret"
	"sluice/shared/sse"
)

const (
	// answerTokens is the length of the answer that is timed: seconds, for any model.
	answerTokens = 400
	answerPrompt = "Write the numbers from one to two hundred in English words, one a line, and nothing else."
	// apart is how far apart two pieces of an answer must come to count as two.
	apart = 5 * time.Millisecond
	// spread is the least time that an answer of answerTokens takes from its first
	// event to its last if nothing holds it back; one that a gateway collects comes at once.
	spread = 300 * time.Millisecond
	// fewestPieces is how often at least such an answer comes.
	fewestPieces = 5
	// eventsPerPiece is how many events may come together on average. A vendor sends
	// a few at a time; a gateway that collects to a buffer's size sends dozens.
	eventsPerPiece = 10
)

// answer is what was seen of a streamed answer.
type answer struct {
	first  time.Duration // until the first event
	last   time.Duration // until the last
	events int
	pieces int // arrivals that were apart
	stop   bool
	broken error // why it ended without its terminal event
}

// whole says whether the answer ended as Anthropic's streams do.
func (a *answer) whole() bool { return a.stop && a.broken == nil }

// arrivals counts the pieces in which a body comes.
type arrivals struct {
	body   io.Reader
	pieces int
	last   time.Time
}

func (a *arrivals) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	if now := time.Now(); n > 0 && now.Sub(a.last) >= apart {
		a.pieces++
		a.last = now
	}
	return n, err
}

// stream asks for a streamed answer and times it; begun is told of its first event.
// It errs when no answer began: with a *refusal if one was answered.
func (c *client) stream(ctx context.Context, as secret.Value, model, prompt string, most int, begun func()) (*answer, error) {
	body, err := json.Marshal(map[string]any{
		"model": model, "max_tokens": most, "stream": true,
		"messages": []map[string]string{{"role": "user", "content": prompt}},
	})
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	res, err := c.send(ctx, http.MethodPost, messagesPath, as, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it was read as far as it goes
	if res.StatusCode != http.StatusOK {
		return nil, readRefusal(res)
	}
	return follow(res.Body, asked, begun), nil
}

// follow reads a streamed answer to its end.
func follow(body io.Reader, asked time.Time, begun func()) *answer {
	a, timed := new(answer), &arrivals{body: body}
	for frame, err := range sse.Frames(timed, sse.DefaultLimit) {
		switch {
		case err != nil:
			a.broken = err
		case bytes.Equal(frame.Event, []byte("error")):
			a.broken = parseRefusal(http.StatusOK, frame.Data)
		case bytes.Equal(frame.Event, []byte("message_stop")):
			a.stop = true
		case bytes.Equal(frame.Event, []byte("ping")), len(frame.Event) == 0:
			continue // a keep-alive says nothing about the answer
		}
		a.events++
		a.last = time.Since(asked)
		if a.events == 1 {
			a.first = a.last
			begun()
		}
	}
	if a.broken == nil && !a.stop {
		a.broken = errors.New("the stream ended without message_stop")
	}
	a.pieces = timed.pieces
	return a
}

// streaming tells whether the answer comes as it is made, or something between the
// model and this machine holds it back.
func (s *suite) streaming(ctx context.Context) finding {
	if f, ok := s.callable(); !ok {
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, longestAnswer)
	defer cancel()
	a, err := s.client.stream(ctx, s.key.Secret, s.o.model, answerPrompt, answerTokens, func() {})
	if err != nil {
		return fails("no answer of %s: %v", s.o.model, err)
	}
	figures := fmt.Sprintf("first event after %s, last after %s, %d events in %d pieces", round(a.first), round(a.last), a.events, a.pieces)
	switch stretch := a.last - a.first; {
	case !a.whole():
		return fails("%s, then: %v", figures, a.broken)
	case stretch < spread && a.last < 2*spread:
		s.answers++
		return skip("%s: too fast to tell; ask a larger model with --model", figures)
	case stretch < spread, a.pieces < max(fewestPieces, a.events/eventsPerPiece):
		s.answers++
		return fails("%s: it is held back on its way", figures)
	}
	s.answers++
	return works("%s", figures)
}

// longestAnswer bounds every answer that is streamed.
const longestAnswer = 15 * time.Minute

// callable says whether calls can be made; if not, the finding says why.
func (s *suite) callable() (finding, bool) {
	switch {
	case !s.signedIn:
		return notSignedIn(), false
	case s.key == nil:
		return skip("there is no key"), false
	case len(s.accounts) == 0:
		return skip("no account; add one with POST %s/accounts", adminPath), false
	}
	return finding{}, true
}

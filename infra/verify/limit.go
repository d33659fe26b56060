package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
)

const (
	// bodyOnFargate is what Sluice accepts by default (SLUICE_MAX_BODY).
	bodyOnFargate = 32 << 20
	// bodyOnLambda is the payload of a synchronous invocation (Lambda API reference,
	// Invoke: 6 MB). API Gateway takes 10 MB; what lies between is refused before the
	// relay sees it, and API Gateway's own 413 cannot be given another shape (API
	// Gateway developer guide, gateway response types: REQUEST_TOO_LARGE). A no of
	// this check on Lambda may stay; it tells what clients will see.
	bodyOnLambda = 6 << 20
	// beyond is how much larger than its limit a body is made.
	beyond = 1 << 20
	// sendAttempts is how often a body is sent: a server that answers before it has
	// read all of it may close the connection so early that the answer is lost.
	sendAttempts = 3
	tooLarge     = "request_too_large"
)

// bodyLimit sends a body over the limit of the host. It must be refused in the
// shape that clients understand; the answer of a gateway makes them fail strangely.
func (s *suite) bodyLimit(ctx context.Context) finding {
	if s.key == nil {
		return skip("there is no key")
	}
	ctx, cancel := context.WithTimeout(ctx, longestAnswer)
	defer cancel()
	size := s.o.bodyLimit + beyond
	err := s.oversize(ctx, size)
	r, refused := errors.AsType[*refusal](err)
	switch {
	case err == nil:
		return fails("%d MB are accepted, over the limit of %d MB", size>>20, s.o.bodyLimit>>20)
	case !refused:
		return fails("%d MB: no answer in %d attempts: %v", size>>20, sendAttempts, err)
	case r.status != http.StatusRequestEntityTooLarge || !r.shaped || r.kind != tooLarge:
		return fails("%d MB are not refused with a 413 %s of Anthropic's shape: %v", size>>20, tooLarge, r)
	}
	return works("%d MB are refused: %v", size>>20, r)
}

// oversize sends a call of a size, until it is answered.
func (s *suite) oversize(ctx context.Context, size int64) error {
	frame := fmt.Appendf(nil, `{"model":%q,"max_tokens":1,"messages":[{"role":"user","content":""}]}`, s.o.model)
	at := bytes.LastIndex(frame, []byte(`""`)) + 1
	body := make([]byte, 0, size)
	body = append(body, frame[:at]...)
	body = append(body, bytes.Repeat([]byte("x"), int(size)-len(frame))...)
	body = append(body, frame[at:]...)
	var err error
	for range sendAttempts {
		var res *http.Response
		if res, err = s.client.send(ctx, http.MethodPost, messagesPath, s.key.Secret, body); err != nil {
			continue
		}
		if res.StatusCode/100 != 2 {
			err = readRefusal(res)
		}
		return errors.Join(err, res.Body.Close())
	}
	return err
}

package host

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// RenewingBody is the body of r, for which a client has timeout for each chunk
// bytes: who sends nothing is cut off, who is slow but steady is not. The deadline
// is lifted at the end of the body. Hosts without deadlines (Lambda, which reads
// bodies itself) leave it at that.
func RenewingBody(w http.ResponseWriter, r *http.Request, chunk int, timeout time.Duration) io.ReadCloser {
	return &renewingBody{body: r.Body, ctl: http.NewResponseController(w), chunk: chunk, timeout: timeout}
}

type renewingBody struct {
	body    io.ReadCloser
	ctl     *http.ResponseController
	chunk   int
	timeout time.Duration
	left    int // bytes until the deadline is renewed
}

func (b *renewingBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		if err := b.deadline(time.Now().Add(b.timeout)); err != nil {
			return 0, err
		}
		b.left = b.chunk
	}
	n, err := b.body.Read(p)
	b.left -= n
	// After any other error the deadline stays: the server reads on to reuse the
	// connection, and that must not wait for ever either.
	if errors.Is(err, io.EOF) {
		if lifted := b.deadline(time.Time{}); lifted != nil {
			return n, lifted
		}
	}
	return n, err
}

func (b *renewingBody) deadline(t time.Time) error {
	if err := b.ctl.SetReadDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Close closes the body.
func (b *renewingBody) Close() error { return b.body.Close() }

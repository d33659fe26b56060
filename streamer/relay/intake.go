package relay

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"sluice/shared/fault"
	"sluice/shared/host"
	"sluice/shared/llm"
	"sluice/shared/secret"
)

const (
	bodyChunk    = 64 << 10         // the read deadline is renewed as often
	bodyPatience = 30 * time.Second // for one chunk of a request body
	maxWindow    = 8 << 20          // of a zstd frame
)

// presented is the secret that a request presents.
func presented(r *http.Request, queryKey bool) secret.Value {
	if s := presentedIn(r.Header); s != "" || !queryKey {
		return secret.New(s)
	}
	return secret.New(r.URL.Query().Get("key"))
}

// accept reads the body into memory and its envelope into a call.
func (rl *Relay) accept(x *exchange) (_ *llm.Call, err error) {
	defer x.stage("accept").done(&err)
	if rl.Ready.Draining() {
		return nil, fault.New(fault.Draining, "this instance is shutting down; send the request again").After(time.Second)
	}
	b, err := rl.bodies.read(host.RenewingBody(x.w, x.r, bodyChunk, bodyPatience), x.r, rl.Limits.Body)
	if err != nil {
		return nil, err
	}
	call, err := x.front.ReadCall(x.r, b.bytes())
	if err != nil {
		b.release()
		return nil, err
	}
	call.ID = llm.NewID("call_", x.started)
	call.Body = nil // x.body has it, and lets go of it
	x.body = b
	return call, nil
}

// bodies bounds the memory of all request bodies of the process.
type bodies struct {
	limit int64
	used  atomic.Int64
}

// reserve takes n bytes; it errs with fault.Busy when they are not there.
func (bs *bodies) reserve(n int64) error {
	if bs.used.Add(n) > bs.limit {
		bs.used.Add(-n)
		return fault.New(fault.Busy, "this instance holds as many request bodies as it can; try again").After(time.Second)
	}
	return nil
}

// body is a request body in memory, decoded. The transport of an attempt reads
// it; once the answer begins it is let go, though the request lives on.
type body struct {
	owner    *bodies
	reserved int64
	data     atomic.Pointer[[]byte]
	lent     *atomic.Pointer[[]byte] // what the last attempt sends
}

func (b *body) bytes() []byte {
	if p := b.data.Load(); p != nil {
		return *p
	}
	return nil
}

// release lets the body go. It may be called again.
func (b *body) release() {
	if b.data.Swap(nil) != nil {
		b.owner.used.Add(-b.reserved)
	}
	if b.lent != nil {
		b.lent.Store(nil)
	}
}

// lend makes req read sent in such a way that nothing holds on to it once it was
// read and the body released: a request lives as long as its answer.
func (b *body) lend(req *http.Request, sent []byte) {
	lent := new(atomic.Pointer[[]byte])
	lent.Store(&sent)
	b.lent = lent
	reader := func() (io.ReadCloser, error) {
		data := lent.Load()
		if data == nil {
			return nil, errors.New("the request body was released")
		}
		return &loan{rest: *data}, nil
	}
	req.Body, req.GetBody = &loan{rest: sent}, reader
}

// loan is a request body on its way to an upstream.
type loan struct{ rest []byte }

func (l *loan) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		l.rest = nil
		return 0, io.EOF
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *loan) Close() error { return nil }

// read reads and decodes a request body. It errs with fault.TooLarge, Unsupported,
// Invalid or Busy.
func (bs *bodies) read(from io.Reader, r *http.Request, limit int64) (*body, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	plain, err := decoder(from, r.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, err
	}
	defer plain.close()
	b := &body{owner: bs}
	data, err := b.fill(plain, r, limit)
	if err != nil {
		bs.used.Add(-b.reserved)
		return nil, readFault(err)
	}
	b.data.Store(&data)
	return b, nil
}

// fill reads to the end, reserving memory before it takes it.
func (b *body) fill(plain *plainReader, r *http.Request, limit int64) ([]byte, error) {
	size := int64(bodyChunk)
	if !plain.encoded && r.ContentLength >= 0 {
		size = r.ContentLength + bytes.MinRead // room to see the end without growing
	}
	if err := b.grow(size); err != nil {
		return nil, err
	}
	data := make([]byte, 0, size)
	for {
		if len(data) == cap(data) {
			if err := b.grow(int64(cap(data))); err != nil {
				return nil, err
			}
			data = append(make([]byte, 0, 2*cap(data)), data...)
		}
		n, err := plain.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > limit:
			return nil, tooLarge(limit)
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil && plain.encoded:
			return nil, fault.Wrap(fault.Invalid, err, "the body is not valid %s", plain.name)
		case err != nil:
			return nil, err
		}
	}
}

func (b *body) grow(n int64) error {
	if err := b.owner.reserve(n); err != nil {
		return err
	}
	b.reserved += n
	return nil
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "the request body is larger than %d MB", limit>>20)
}

// readFault is why a body could not be read.
func readFault(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	return fault.Wrap(fault.Invalid, err, "the request body ended early or came too slowly")
}

// plainReader reads a body without its content encoding.
type plainReader struct {
	io.Reader
	name    string
	encoded bool
	close   func()
}

// decoder undoes a Content-Encoding. Only one encoding at a time is accepted.
func decoder(from io.Reader, encoding string) (*plainReader, error) {
	p := &plainReader{name: strings.ToLower(strings.TrimSpace(encoding)), encoded: true, close: func() {}}
	switch p.name {
	case "", "identity":
		p.Reader, p.encoded = from, false
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(from)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "the body is not valid gzip")
		}
		p.Reader = z
	case "deflate":
		p.Reader = inflate(from)
	case "br":
		p.Reader = brotli.NewReader(from)
	case "zstd":
		z, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "the body is not valid zstd")
		}
		p.Reader, p.close = z, z.Close
	default:
		return nil, fault.New(fault.Unsupported, "the content encoding %q is not supported; use gzip, deflate, br, zstd or none", encoding)
	}
	return p, nil
}

// inflate reads deflate as RFC 9110 has it (zlib) and as many clients send it (raw).
func inflate(from io.Reader) io.Reader {
	var head [2]byte
	n, err := io.ReadFull(from, head[:])
	whole := io.MultiReader(bytes.NewReader(head[:n]), from)
	if err != nil {
		return whole
	}
	const method = 8
	if head[0]&0x0f == method && (int(head[0])<<8|int(head[1]))%31 == 0 {
		if z, err := zlib.NewReader(whole); err == nil {
			return z
		}
	}
	return flate.NewReader(whole)
}

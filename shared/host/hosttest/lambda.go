// Package hosttest has a stand-in for the Lambda service: the runtime API that the
// real runtime client of a function polls, and in front of it what invokes
// functions. Two are transports of an HTTP client: one turns requests into
// invocations as a Function URL does, one as a REST API of API Gateway whose
// integration streams. Their answers stream: what the function has written can be
// read before it writes more. Functions that are no HTTP are invoked with a
// payload.
package hosttest

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"
)

// Timeout is how long an invocation may take, unless SetTimeout says otherwise.
const Timeout = time.Minute

// payloadLimit is what an invocation carries at most, in bytes. Source:
// docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
const payloadLimit = 6 << 20

// Lambda is the stand-in. It is an http.RoundTripper, for a Function URL; one
// invocation is handed out for each time that the function asks for the next.
type Lambda struct {
	srv    *httptest.Server
	queue  chan *invocation
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	last    int
	open    map[string]*invocation // handed out, not answered
	timeout time.Duration
	init    error // why the function did not start
}

type invocation struct {
	id     string
	event  []byte
	take   func(*http.Request) (taken, error) // reads the beginning of the answer
	answer chan answer
}

// taken is an answer of which the beginning was read; rest takes what follows.
type taken struct {
	answer
	rest func()
}

type answer struct {
	response *http.Response
	payload  []byte
	err      error
}

// NewLambda starts a stand-in on a loopback port.
func NewLambda() *Lambda {
	l := &Lambda{queue: make(chan *invocation), closed: make(chan struct{}), open: make(map[string]*invocation), timeout: Timeout}
	const root = "/2018-06-01/runtime/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+root+"invocation/next", l.next)
	mux.HandleFunc("POST "+root+"invocation/{id}/response", l.response)
	mux.HandleFunc("POST "+root+"invocation/{id}/error", l.failure)
	mux.HandleFunc("POST "+root+"init/error", l.initFailure)
	l.srv = httptest.NewServer(mux)
	return l
}

// Addr is the value of AWS_LAMBDA_RUNTIME_API for the function.
func (l *Lambda) Addr() string { return l.srv.Listener.Addr().String() }

// SetTimeout sets how long the invocations that follow may take. The function is
// told when its time is over; it is not ended.
func (l *Lambda) SetTimeout(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timeout = d
}

// Close ends the stand-in. A function that polls it ends with an error.
func (l *Lambda) Close() {
	l.once.Do(func() { close(l.closed) })
	l.srv.CloseClientConnections()
	l.srv.Close()
}

// RoundTrip invokes the function with r, as a Function URL does. It returns when
// the function has begun its answer; a function that fails later shows as an error
// of the body.
func (l *Lambda) RoundTrip(r *http.Request) (*http.Response, error) {
	return transport{l, urlEvent, urlHead}.RoundTrip(r)
}

// REST invokes the function as RoundTrip does, but through a REST API with the one
// resource /{proxy+}, every body as binary, in a stage of the name of Stage: what
// API Gateway is documented to do with headers and with the form of answers is
// done here too.
func (l *Lambda) REST() http.RoundTripper { return transport{l, restEvent, restHead} }

// Invoke invokes the function with a payload, as Scheduler or a queue does, and
// returns what it answered, or its error.
func (l *Lambda) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	a := l.invoke(ctx, payload, func(r *http.Request) (taken, error) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = trailing(r)
		}
		return taken{answer{payload: b, err: err}, func() {}}, nil
	})
	return a.payload, a.err
}

// transport is a way from a request to an invocation, and from the head of an
// answer to a response.
type transport struct {
	l      *Lambda
	encode func(*http.Request, []byte) ([]byte, error)
	head   func(*bufio.Reader) (*http.Response, error)
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
		body = b
	}
	event, err := t.encode(r, body)
	if err != nil {
		return nil, err
	}
	a := t.l.invoke(r.Context(), event, func(from *http.Request) (taken, error) {
		buffered := bufio.NewReader(from.Body)
		res, err := t.head(buffered)
		if err != nil {
			return taken{}, err
		}
		reader, writer := io.Pipe()
		res.Body, res.Request = reader, r
		return taken{answer{response: res}, func() { pass(writer, buffered, from) }}, nil
	})
	return a.response, a.err
}

// pass hands the body of an answer on, and how it ended.
func pass(to *io.PipeWriter, body io.Reader, from *http.Request) {
	_, err := io.Copy(to, body)
	if errors.Is(err, io.ErrClosedPipe) {
		_, err = io.Copy(io.Discard, body) // Lambda lets a function finish when its client has left
	}
	if err == nil {
		err = trailing(from)
	}
	_ = to.CloseWithError(err) // never fails
}

// trailing is the error in the trailers of an answer: that of a function which
// failed after it had begun.
func trailing(r *http.Request) error {
	kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type")
	if kind == "" {
		return nil
	}
	text, err := base64.StdEncoding.DecodeString(r.Trailer.Get("Lambda-Runtime-Function-Error-Body"))
	if err != nil {
		return fmt.Errorf("hosttest: body of a function error: %w", err)
	}
	return fmt.Errorf("hosttest: the function failed: %s: %s", kind, text)
}

// invoke hands an event to the function and waits for the beginning of its answer.
func (l *Lambda) invoke(ctx context.Context, event []byte, take func(*http.Request) (taken, error)) answer {
	if len(event) > payloadLimit {
		return answer{err: fmt.Errorf("hosttest: an event of %d bytes: an invocation carries %d at most", len(event), payloadLimit)}
	}
	l.mu.Lock()
	l.last++
	inv := &invocation{id: "invocation-" + strconv.Itoa(l.last), event: event, take: take, answer: make(chan answer, 1)}
	err := l.init
	l.mu.Unlock()
	if err != nil {
		return answer{err: err}
	}
	select {
	case l.queue <- inv:
	case <-l.closed:
		return answer{err: net.ErrClosed}
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	}
	select {
	case a := <-inv.answer:
		return a
	case <-l.closed:
		return answer{err: net.ErrClosed}
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	}
}

func (l *Lambda) next(w http.ResponseWriter, r *http.Request) {
	select {
	case inv := <-l.queue:
		l.mu.Lock()
		l.open[inv.id] = inv
		deadline := time.Now().Add(l.timeout)
		l.mu.Unlock()
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(deadline.UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:000000000000:function:test")
		if _, err := w.Write(inv.event); err != nil {
			inv.answer <- answer{err: err}
		}
	case <-l.closed:
		panic(http.ErrAbortHandler)
	case <-r.Context().Done():
	}
}

// answered is the invocation that an answer is for; nil for one that is not open.
func (l *Lambda) answered(w http.ResponseWriter, r *http.Request) *invocation {
	l.mu.Lock()
	defer l.mu.Unlock()
	inv := l.open[r.PathValue("id")]
	delete(l.open, r.PathValue("id"))
	if inv == nil {
		http.Error(w, "no such invocation", http.StatusBadRequest)
	}
	return inv
}

func (l *Lambda) response(w http.ResponseWriter, r *http.Request) {
	inv := l.answered(w, r)
	if inv == nil {
		return
	}
	t, err := inv.take(r)
	if err != nil {
		inv.answer <- answer{err: err}
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	inv.answer <- t.answer
	t.rest()
	w.WriteHeader(http.StatusAccepted)
}

func (l *Lambda) failure(w http.ResponseWriter, r *http.Request) {
	inv := l.answered(w, r)
	if inv == nil {
		return
	}
	inv.answer <- answer{err: readError(r)}
	w.WriteHeader(http.StatusAccepted)
}

func (l *Lambda) initFailure(w http.ResponseWriter, r *http.Request) {
	err := readError(r)
	l.mu.Lock()
	l.init = err
	l.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
}

func readError(r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return fmt.Errorf("hosttest: the function failed: %s", b)
}

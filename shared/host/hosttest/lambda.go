// Package hosttest has a stand-in for the Lambda service: the runtime API that the
// real runtime client of a function polls, and in front of it an HTTP client's
// transport that turns requests into invocations as a Function URL does. Answers
// stream: what the function has written can be read before it writes more.
package hosttest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// Deadline is how long an invocation may take.
const Deadline = time.Minute

// Lambda is the stand-in. It is an http.RoundTripper; one invocation is handed out
// for each time that the function asks for the next.
type Lambda struct {
	srv    *httptest.Server
	queue  chan *invocation
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	last int
	open map[string]*invocation // handed out, not answered
	init error                  // why the function did not start
}

type invocation struct {
	id      string
	event   []byte
	request *http.Request
	answer  chan answer
}

type answer struct {
	response *http.Response
	err      error
}

// NewLambda starts a stand-in on a loopback port.
func NewLambda() *Lambda {
	l := &Lambda{queue: make(chan *invocation), closed: make(chan struct{}), open: make(map[string]*invocation)}
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

// Close ends the stand-in. A function that polls it ends with an error.
func (l *Lambda) Close() {
	l.once.Do(func() { close(l.closed) })
	l.srv.CloseClientConnections()
	l.srv.Close()
}

// RoundTrip invokes the function with r. It returns when the function has begun
// its answer; a function that fails later shows as an error of the body.
func (l *Lambda) RoundTrip(r *http.Request) (*http.Response, error) {
	event, err := encode(r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.last++
	inv := &invocation{id: "invocation-" + strconv.Itoa(l.last), event: event, request: r, answer: make(chan answer, 1)}
	err = l.init
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case l.queue <- inv:
	case <-l.closed:
		return nil, net.ErrClosed
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	select {
	case a := <-inv.answer:
		return a.response, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// encode is a request as the event of a Function URL.
func encode(r *http.Request) ([]byte, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		if err = r.Body.Close(); err != nil {
			return nil, err
		}
	}
	event := events.LambdaFunctionURLRequest{
		Version: "2.0", RawPath: r.URL.EscapedPath(), RawQueryString: r.URL.RawQuery,
		Headers: map[string]string{"host": "function.test"}, Body: base64.StdEncoding.EncodeToString(body), IsBase64Encoded: true,
	}
	for name, values := range r.Header {
		if name == "Cookie" {
			event.Cookies = strings.Split(strings.Join(values, "; "), "; ")
			continue
		}
		event.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	if len(body) > 0 {
		event.Headers["content-length"] = strconv.Itoa(len(body))
	}
	event.RequestContext.DomainName = "function.test"
	event.RequestContext.HTTP = events.LambdaFunctionURLRequestContextHTTPDescription{
		Method: r.Method, Path: r.URL.Path, Protocol: "HTTP/1.1", SourceIP: "192.0.2.1", UserAgent: r.UserAgent(),
	}
	return json.Marshal(event)
}

func (l *Lambda) next(w http.ResponseWriter, r *http.Request) {
	select {
	case inv := <-l.queue:
		l.mu.Lock()
		l.open[inv.id] = inv
		l.mu.Unlock()
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(Deadline).UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:000000000000:function:test")
		if _, err := w.Write(inv.event); err != nil {
			inv.answer <- answer{err: err}
		}
	case <-l.closed:
		panic(http.ErrAbortHandler)
	case <-r.Context().Done():
	}
}

// take is the invocation that an answer is for; nil for one that is not open.
func (l *Lambda) take(w http.ResponseWriter, r *http.Request) *invocation {
	l.mu.Lock()
	defer l.mu.Unlock()
	inv := l.open[r.PathValue("id")]
	delete(l.open, r.PathValue("id"))
	if inv == nil {
		http.Error(w, "no such invocation", http.StatusBadRequest)
	}
	return inv
}

// response takes an answer: a JSON prelude, eight NULs, the body, and trailers
// when the function failed after it began.
func (l *Lambda) response(w http.ResponseWriter, r *http.Request) {
	inv := l.take(w, r)
	if inv == nil {
		return
	}
	from := bufio.NewReader(r.Body)
	res, err := prelude(from)
	if err != nil {
		inv.answer <- answer{err: err}
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reader, writer := io.Pipe()
	res.Body, res.Request = reader, inv.request
	inv.answer <- answer{response: res}
	if _, err = io.Copy(writer, from); errors.Is(err, io.ErrClosedPipe) {
		_, err = io.Copy(io.Discard, from) // Lambda lets a function finish when its client has left
	}
	if err == nil && r.Trailer.Get("Lambda-Runtime-Function-Error-Type") != "" {
		err = functionError(r.Trailer.Get("Lambda-Runtime-Function-Error-Type"), r.Trailer.Get("Lambda-Runtime-Function-Error-Body"))
	}
	_ = writer.CloseWithError(err) // never fails
	w.WriteHeader(http.StatusAccepted)
}

func functionError(kind, body string) error {
	text, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return fmt.Errorf("hosttest: body of a function error: %w", err)
	}
	return fmt.Errorf("hosttest: the function failed: %s: %s", kind, text)
}

func prelude(from *bufio.Reader) (*http.Response, error) {
	var head []byte
	end := make([]byte, 8)
	for !bytes.HasSuffix(head, end) {
		b, err := from.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("hosttest: an answer without a prelude: %w", err)
		}
		head = append(head, b)
	}
	var p struct {
		StatusCode int               `json:"statusCode"`
		Headers    map[string]string `json:"headers"`
		Cookies    []string          `json:"cookies"`
	}
	if err := json.Unmarshal(bytes.TrimSuffix(head, end), &p); err != nil {
		return nil, fmt.Errorf("hosttest: prelude: %w", err)
	}
	res := &http.Response{
		Status: http.StatusText(p.StatusCode), StatusCode: p.StatusCode, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), ContentLength: -1,
	}
	for name, value := range p.Headers {
		res.Header.Set(name, value)
	}
	for _, cookie := range p.Cookies {
		res.Header.Add("Set-Cookie", cookie)
	}
	return res, nil
}

func (l *Lambda) failure(w http.ResponseWriter, r *http.Request) {
	inv := l.take(w, r)
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

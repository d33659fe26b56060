// Package trace records requests as AWS X-Ray segments: one segment a request, a
// subsegment for each stage of it, and annotations by which they can be found.
//
// It uses the X-Ray SDK to make and number segments, and nothing of what surrounds
// them there. The SDK's HTTP handler hides the deadlines of the connection and
// begins traces of its own under Lambda; its sender prints a line for each datagram
// that no daemon took. So the handler here wraps no ResponseWriter, the datagrams
// are written here, and the SDK's own log has nothing to say.
//
// Whether a request is traced is decided before anything is made for it: as the
// trace header says, else one request a second and 5 % of the others. Under Lambda
// the service decides, and the request is a subsegment of the function's segment.
//
// A trace holds ids, names, times and status. It holds no body, no query string,
// no header but the user agent, and of an error the code only: messages may quote
// what a client sent.
//
// The SDK reads the environment by itself: AWS_XRAY_SDK_DISABLED=true turns every
// trace off, AWS_XRAY_TRACING_NAME renames segments, and a malformed
// AWS_XRAY_DAEMON_ADDRESS stops the process before main.
package trace

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-xray-sdk-go/v2/strategy/sampling"
	"github.com/aws/aws-xray-sdk-go/v2/xray"

	"sluice/shared/fault"
)

// defaultDaemon is where the X-Ray daemon listens unless told otherwise; as a
// sidecar of a Fargate task it shares the task's loopback interface.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-daemon.html
const defaultDaemon = "127.0.0.1:2000"

// rule is what X-Ray samples by default: a request a second, and 5 % beyond it.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-console-sampling.html
const rule = `{"version":2,"default":{"fixed_target":1,"rate":0.05},"rules":[]}`

// Options make a Tracer.
type Options struct {
	Name   string           // of the segments: what the service is called in the trace map
	Daemon string           // host:port of the daemon, or the value of AWS_XRAY_DAEMON_ADDRESS; "" = 127.0.0.1:2000
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Tracer decides which requests are traced and sends their segments. It is safe
// for concurrent use and has no goroutine of its own.
type Tracer struct {
	name     string
	sampling sampling.Strategy
	sender   *sender
}

// New is a Tracer that sends to a daemon, which need not be there. It errs with
// fault.Invalid for a name or an address that cannot be used.
func New(o Options) (*Tracer, error) {
	if o.Name == "" {
		return nil, fault.At("name", "segments need a name (want e.g. sluice)")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	strategy, err := sampling.NewLocalizedStrategyFromJSONBytes([]byte(rule))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the sampling rule of traces is malformed")
	}
	s, err := dial(cmp.Or(o.Daemon, defaultDaemon), o.Now, o.Logger)
	if err != nil {
		return nil, err
	}
	return &Tracer{name: o.Name, sampling: strategy, sender: s}, nil
}

// Close ends the sending. There is nothing to wait for: each segment was sent when
// its request ended, and those that end later are lost.
func (t *Tracer) Close() error { return t.sender.conn.Close() }

// Handler traces the requests that h serves. The ResponseWriter that h gets is the
// one of the host.
func (t *Tracer) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := t.begin(r)
		if q == nil {
			h.ServeHTTP(w, r)
			return
		}
		returned := false
		defer func() { q.end(returned) }()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, q)))
		returned = true
	})
}

type requestKey struct{}

// From is the traced request that ctx belongs to; nil, which is usable, when it is
// not traced.
func From(ctx context.Context) *Request {
	q, _ := ctx.Value(requestKey{}).(*Request)
	return q
}

// begin is the trace of a request; nil when it shall have none.
func (t *Tracer) begin(r *http.Request) *Request {
	// aws-lambda-go puts the header of the invocation here (lambda/invoke_loop.go).
	// It decides even when it is empty: outside the function's trace there is none.
	if function, ok := r.Context().Value(xray.LambdaTraceHeaderKey).(string); ok {
		if readHeader(function).sampled != yes {
			return nil
		}
		return t.within(r)
	}
	h := readHeader(r.Header.Get(xray.TraceIDHeaderKey))
	switch h.sampled {
	case no:
		return nil
	case open:
		if !t.sampling.ShouldTrace(&sampling.Request{}).Sample {
			return nil
		}
	}
	return t.segment(r, h)
}

package trace

import (
	"context"
	"net/http"
	"unicode/utf8"

	"github.com/aws/aws-xray-sdk-go/v2/header"
	"github.com/aws/aws-xray-sdk-go/v2/xray"

	"sluice/shared/fault"
)

const (
	// maxStages and maxText bound a segment, which may have 64 KB and travels in
	// one datagram.
	// https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
	maxStages = 100
	maxText   = 250
)

// Request is the trace of one request. A nil Request is one that is not traced:
// its methods do nothing. It belongs to the goroutine that serves the request.
type Request struct {
	courier courier
	steps   []step // under way, outermost first; the first is the request itself
	stages  int    // begun so far
}

// step is a segment or subsegment that is under way.
type step struct {
	ctx context.Context // by which the SDK finds it as a parent
	seg *xray.Segment
}

// segment begins the segment of a request.
func (t *Tracer) segment(r *http.Request, h traceHeader) *Request {
	q := &Request{courier: courier{sender: t.sender}}
	ctx, seg := xray.NewSegmentFromHeader(q.configured(r.Context()), t.name, r, &header.Header{
		TraceID: h.root, ParentID: h.parent, SamplingDecision: header.Sampled,
	})
	return q.began(ctx, seg, r)
}

// within begins a request as a subsegment of the function that serves it.
func (t *Tracer) within(r *http.Request) *Request {
	q := &Request{courier: courier{sender: t.sender}}
	ctx, seg := xray.BeginSubsegment(q.configured(r.Context()), t.name)
	return q.began(ctx, seg, r)
}

// configured is a context by which the SDK finds where to send.
func (q *Request) configured(ctx context.Context) context.Context {
	return context.WithValue(ctx, xray.RecorderContextKey{}, &xray.Config{Emitter: &q.courier})
}

func (q *Request) began(ctx context.Context, seg *xray.Segment, r *http.Request) *Request {
	q.courier.whole = seg
	q.steps = append(make([]step, 0, 4), step{ctx, seg})
	seg.Lock()
	defer seg.Unlock()
	request := seg.GetHTTP().GetRequest()
	request.Method, request.UserAgent = clip(r.Method), clip(r.UserAgent())
	scheme := "http://"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https://"
	}
	request.URL = scheme + clip(r.Host) + clip(r.URL.Path) // never the query: a key may be in it
	return q
}

// Stage begins a stage within the one that is under way. What it returns ends the
// stage, with an error if it failed.
func (q *Request) Stage(name string) (end func(error)) {
	if q == nil || q.stages == maxStages {
		return ignore
	}
	q.stages++
	depth := len(q.steps)
	ctx, seg := xray.BeginSubsegment(q.steps[depth-1].ctx, name)
	q.steps = append(q.steps, step{ctx, seg})
	return func(err error) { q.leave(depth, err) }
}

func ignore(error) {}

// leave ends the stage at a depth, and what is still under way below it.
func (q *Request) leave(depth int, err error) {
	for len(q.steps) > depth {
		top := len(q.steps) - 1
		seg := q.steps[top].seg
		mark(seg, err)
		q.courier.stage = nil
		// This gives it to the courier, which keeps it for the parent. The SDK's Close
		// would send the whole each time, once the client has left.
		seg.CloseAndStream(nil)
		q.steps = q.steps[:top]
		if q.courier.stage == nil {
			continue // the SDK is turned off
		}
		parent := q.steps[top-1].seg
		parent.Lock()
		parent.Subsegments = append(parent.Subsegments, q.courier.stage)
		parent.Unlock()
	}
}

// Note annotates the request, so that it can be found by the value. The key has
// letters, digits and underscores; an empty value is left out.
func (q *Request) Note(key, value string) {
	if q == nil || value == "" {
		return
	}
	_ = q.steps[0].seg.AddAnnotation(key, clip(value)) // it fails for types other than these
}

// Answered says with which status the client was answered, and what went wrong, if
// anything did: a stream may fail behind a status of 200.
func (q *Request) Answered(status int, err error) {
	if q == nil {
		return
	}
	seg := q.steps[0].seg
	_ = seg.AddAnnotation("status", status) // as above
	seg.Lock()
	seg.GetHTTP().GetResponse().Status = status
	seg.Unlock()
	mark(seg, err)
}

// end sends the request. One that did not return was ended by a panic: its answer
// was cut off.
func (q *Request) end(returned bool) {
	q.leave(1, nil)
	seg := q.steps[0].seg
	if !returned {
		seg.Lock()
		seg.Fault = true
		seg.Unlock()
	}
	seg.Close(nil)
}

// mark sets the flags of a segment that ended with err: throttle and error for
// what the caller met, fault for what failed here or behind us.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-errors
func mark(seg *xray.Segment, err error) {
	if err == nil {
		return
	}
	code := fault.CodeOf(err)
	_ = seg.AddAnnotation("fault", string(code)) // as above
	seg.Lock()
	defer seg.Unlock()
	switch code {
	case fault.BudgetSpent, fault.BudgetHeld, fault.RateLimited, fault.Concurrency:
		seg.Error, seg.Throttle = true, true
	case fault.Unauthenticated, fault.Forbidden, fault.Invalid, fault.NotFound, fault.Conflict, fault.TooLarge,
		fault.Unsupported, fault.NotImplemented, fault.NoAccount, fault.UpstreamRefused, fault.Gone:
		seg.Error = true
	default:
		seg.Fault = true
	}
}

// clip is text short enough for a segment.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

package anthropic

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"sluice/shared/fault"
)

// requestIDHeader is the header in which the relay gives a call its id, and from
// which an error repeats it.
const requestIDHeader = "Request-Id"

// meaning is how the format says a fault: its status and error.type.
type meaning struct {
	status int
	kind   string
}

// meaningOf maps every code. A status of 4xx other than 429 ends a client's
// attempts; 429, 503 and 529 make it wait and try again.
func meaningOf(e *fault.Error) meaning {
	switch e.Code {
	case fault.Unauthenticated:
		return meaning{http.StatusUnauthorized, "authentication_error"}
	case fault.Forbidden:
		return meaning{http.StatusForbidden, "permission_error"}
	case fault.Invalid:
		return meaning{http.StatusBadRequest, "invalid_request_error"}
	case fault.Unsupported:
		return meaning{http.StatusUnsupportedMediaType, "invalid_request_error"}
	case fault.Conflict:
		return meaning{http.StatusConflict, "invalid_request_error"}
	case fault.NotFound, fault.NoAccount:
		return meaning{http.StatusNotFound, "not_found_error"}
	case fault.TooLarge:
		return meaning{http.StatusRequestEntityTooLarge, "request_too_large"}
	case fault.NotImplemented:
		return meaning{http.StatusNotImplemented, "not_supported_error"}
	case fault.BudgetSpent:
		return meaning{http.StatusTooManyRequests, "billing_error"}
	case fault.BudgetHeld, fault.RateLimited, fault.Concurrency:
		return meaning{http.StatusTooManyRequests, "rate_limit_error"}
	case fault.Busy, fault.Draining, fault.StoreDown:
		return meaning{http.StatusServiceUnavailable, "api_error"}
	case fault.UpstreamRefused:
		return refused(e)
	}
	if e.Code == fault.UpstreamBusy && e.Status == http.StatusTooManyRequests {
		return meaning{e.Status, "rate_limit_error"}
	}
	return failed(e.Code)
}

// failed is the meaning of what went wrong behind the relay or within it.
func failed(code fault.Code) meaning {
	switch code {
	case fault.UpstreamBusy:
		return meaning{529, "overloaded_error"} // the vendor's own status, not registered
	case fault.UpstreamFailed, fault.UpstreamCut:
		return meaning{http.StatusBadGateway, "api_error"}
	case fault.UpstreamTimeout, fault.TooLong:
		return meaning{http.StatusGatewayTimeout, "timeout_error"}
	case fault.Gone:
		return meaning{499, "api_error"} // nginx's status for a client that left: for logs, nobody reads it
	}
	return meaning{http.StatusInternalServerError, "api_error"}
}

// refused is what the vendor said of the caller's request.
func refused(e *fault.Error) meaning {
	m := meaning{e.Status, e.Kind}
	if m.status < 400 || m.status > 599 {
		m.status = http.StatusBadRequest
	}
	if m.kind == "" {
		m.kind = "invalid_request_error"
	}
	return m
}

// errorBody is the envelope of an error, as the vendor writes it.
type errorBody struct {
	Type      string      `json:"type"`
	Error     errorDetail `json:"error"`
	RequestID string      `json:"request_id,omitempty"`
}

type errorDetail struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// WriteError answers err with its status, headers and the vendor's error body.
// The request's id is repeated from the header request-id if w has it already.
// The cause of a fault is not told.
func (f Front) WriteError(w http.ResponseWriter, err error) {
	e := fault.From(err)
	m := meaningOf(e)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(wholeSeconds(e.RetryAfter), 10))
	}
	if e.Final() {
		h.Set("X-Should-Retry", "false")
	}
	if e.Code == fault.BudgetSpent {
		f.writeSpent(h, e.RetryAfter)
	}
	body := errorJSON(e, m.kind, h.Get(requestIDHeader))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(m.status)
	_, _ = w.Write(body) // a client that left cannot be told so
}

// writeSpent tells Claude Code of a spent budget in the way that makes it show
// the message as it is: with status and reset, without claim and overage.
func (f Front) writeSpent(h http.Header, after time.Duration) {
	h.Set("Anthropic-Ratelimit-Unified-Status", "rejected")
	if after <= 0 {
		return
	}
	now := time.Now
	if f.Now != nil {
		now = f.Now
	}
	h.Set("Anthropic-Ratelimit-Unified-Reset", strconv.FormatInt(now().Unix()+wholeSeconds(after), 10))
}

// wholeSeconds rounds up, so that nobody comes back too early.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// ErrorFrame is err as the event that ends a stream.
func (Front) ErrorFrame(err error) []byte {
	e := fault.From(err)
	frame := []byte("event: error\ndata: ")
	frame = append(frame, errorJSON(e, meaningOf(e).kind, "")...)
	return append(frame, "\n\n"...)
}

func errorJSON(e *fault.Error, kind, requestID string) []byte {
	message := e.Message
	if e.Field != "" {
		message = e.Field + ": " + message
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // messages are read by people in logs as well
	err := enc.Encode(errorBody{Type: "error", Error: errorDetail{kind, message}, RequestID: requestID})
	if err != nil {
		panic("anthropic: strings always marshal: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// refusal is an error as Anthropic answers it.
type refusal struct {
	status  int
	kind    string // error.type
	message string
}

// refuse is a refusal of the type that belongs to its status.
func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, kind: kindOf(status), message: fmt.Sprintf(format, args...)}
}

// statusOverloaded is Anthropic's own status for a vendor at capacity.
const statusOverloaded = 529

// kindOf is the error.type of an HTTP status.
func kindOf(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	case statusOverloaded:
		return "overloaded_error"
	}
	if status >= http.StatusInternalServerError {
		return "api_error"
	}
	return "invalid_request_error"
}

// statusOf is the HTTP status of an error.type, 500 for one unknown.
func statusOf(kind string) int {
	for _, status := range []int{400, 401, 402, 403, 404, 413, 429, 504, statusOverloaded} {
		if kindOf(status) == kind {
			return status
		}
	}
	return http.StatusInternalServerError
}

// messageOf is what the vendor says with an error.type when a script does not.
func messageOf(kind string) string {
	switch kind {
	case "overloaded_error":
		return "Overloaded"
	case "api_error":
		return "Internal server error"
	case "rate_limit_error":
		return "This request would exceed your organization's rate limit of 4,000 requests per minute"
	case "authentication_error":
		return "invalid x-api-key"
	case "permission_error":
		return "Your credential does not have permission to use the specified resource"
	case "billing_error":
		return "Your credit balance is too low to access the Anthropic API"
	}
	return "The simulator was told to answer " + kind
}

// body is the refusal in the vendor's envelope.
func (e *refusal) body(requestID string) []byte {
	b, err := json.Marshal(envelope{Type: "error", Error: envelopeError{e.kind, e.message}, RequestID: requestID})
	if err != nil {
		panic(err) // strings always marshal
	}
	return b
}

type envelope struct {
	Type      string        `json:"type"`
	Error     envelopeError `json:"error"`
	RequestID string        `json:"request_id"`
}

type envelopeError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func (e *refusal) write(w http.ResponseWriter) {
	if e.status == http.StatusUnauthorized {
		w.Header().Set("X-Should-Retry", "false")
	}
	writeBody(w, e.status, "application/json", e.body(w.Header().Get("Request-Id")))
}

// writeJSON answers with v, which must marshal.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // every value given is plain data
	}
	writeBody(w, status, "application/json", b)
}

// writeBody answers in one piece. A client that left is nobody's loss: what is
// written here is never charged.
func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// limits sets the rate-limit headers that every authenticated answer carries, as
// if a bucket of requests and two of tokens were full, or empty until reset.
func (s *Simulator) limits(h http.Header, spent bool, reset time.Duration) {
	at := s.now().Add(reset).UTC().Format(time.RFC3339)
	for _, bucket := range [...]struct{ name, limit string }{
		{"Requests", "4000"}, {"Input-Tokens", "2000000"}, {"Output-Tokens", "400000"}, {"Tokens", "2400000"},
	} {
		name := "Anthropic-Ratelimit-" + bucket.name
		remaining := bucket.limit
		if spent {
			remaining = "0"
		}
		h.Set(name+"-Limit", bucket.limit)
		h.Set(name+"-Remaining", remaining)
		h.Set(name+"-Reset", at)
	}
}

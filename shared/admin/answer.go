package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"

	"sluice/shared/fault"
)

// status is the one mapping of codes to HTTP.
func status(code fault.Code) int {
	switch code {
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound, fault.NoAccount:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Unsupported:
		return http.StatusUnsupportedMediaType
	case fault.NotImplemented:
		return http.StatusNotImplemented
	case fault.BudgetSpent, fault.BudgetHeld, fault.RateLimited, fault.Concurrency:
		return http.StatusTooManyRequests
	case fault.Busy, fault.Draining, fault.StoreDown, fault.UpstreamBusy:
		return http.StatusServiceUnavailable
	case fault.UpstreamRefused, fault.UpstreamFailed, fault.UpstreamCut:
		return http.StatusBadGateway
	case fault.UpstreamTimeout, fault.TooLong:
		return http.StatusGatewayTimeout
	case fault.Gone:
		return statusClientClosed
	default:
		return http.StatusInternalServerError
	}
}

// statusClientClosed is what proxies log for a client that left; nobody reads it.
const statusClientClosed = 499

// overridden is a fault whose status says more than its code.
type overridden struct {
	fault  *fault.Error
	status int
}

// Error is that of the fault.
func (o *overridden) Error() string { return o.fault.Error() }

// Unwrap is the fault.
func (o *overridden) Unwrap() error { return o.fault }

// envelope is the body of an error.
type envelope struct {
	Error problem `json:"error"`
}

type problem struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
	Field   string     `json:"field,omitempty"`
}

// fail answers with an error. Its cause goes to the log when it is not the
// caller's.
func (a *api) fail(c *call, err error) {
	if c.r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		err = fault.Wrap(fault.Gone, err, "the client left")
	}
	f := fault.From(err)
	code := status(f.Code)
	if o, ok := errors.AsType[*overridden](err); ok {
		code = o.status
	}
	if code >= http.StatusInternalServerError && f.Code != fault.NotImplemented {
		a.Logger.ErrorContext(c.r.Context(), "admin request failed",
			slog.String("request_id", c.id), slog.String("method", c.r.Method), slog.String("path", c.r.URL.Path), slog.Any("error", f))
	}
	if c.wrote {
		return
	}
	if f.RetryAfter > 0 {
		seconds := int64(math.Ceil(f.RetryAfter.Seconds()))
		c.w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	message := f.Message
	if f.Field != "" {
		message = f.Field + ": " + message // for whoever shows the message alone
	}
	if err := c.json(code, envelope{problem{f.Code, message, f.Field}}); err != nil {
		a.Logger.DebugContext(c.r.Context(), "admin error was not delivered", "request_id", c.id, "error", err)
	}
}

// json answers with a value.
func (c *call) json(status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // it is never read as HTML
	if err := enc.Encode(v); err != nil {
		return fault.Wrap(fault.Internal, err, "the answer cannot be encoded")
	}
	c.wrote = true
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	if _, err := c.w.Write(b.Bytes()); err != nil {
		return fault.Wrap(fault.Gone, err, "the answer was not delivered")
	}
	return nil
}

// none answers that it is done and there is nothing to say.
func (c *call) none() error {
	c.wrote = true
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// etag is the entity tag of a version of a record.
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// tag sets the ETag of the answer.
func (c *call) tag(version int64) { c.w.Header().Set("ETag", etag(version)) }

// conditional says whether the request has If-Match.
func (c *call) conditional() bool { return c.r.Header.Get("If-Match") != "" }

// match errs with 412 unless If-Match, if there is one, names the version.
func (c *call) match(version int64) error {
	if !c.conditional() {
		return nil
	}
	for _, line := range c.r.Header.Values("If-Match") {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || tag == etag(version) {
				return nil
			}
		}
	}
	return &overridden{
		fault.New(fault.Conflict, "the record is of version %s, which If-Match does not name; read it again", etag(version)),
		http.StatusPreconditionFailed,
	}
}

// page is the body of a list.
type page[V any] struct {
	Data []V     `json:"data"`
	Next *string `json:"next_cursor"` // null = this is the last
}

// newPage is the body of a list with the cursor of the next page, "" for none.
func newPage[V any](data []V, next string) page[V] {
	p := page[V]{Data: data}
	if data == nil {
		p.Data = []V{}
	}
	if next != "" {
		p.Next = &next
	}
	return p
}

package host

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// RequestID is the header of an answer that names its request in the log.
const RequestID = "X-Sluice-Request-Id"

// Contain keeps a panic of h to the request that it happened in. It is logged with
// its stack; the client gets a 500 when nothing was written yet, else its answer
// is cut off, so that nobody takes it for complete. A handler that panics with
// http.ErrAbortHandler wants just that, and nothing is logged.
func Contain(h http.Handler, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &tracked{ResponseWriter: w}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(http.ErrAbortHandler)
			}
			logger.ErrorContext(r.Context(), "panic", "request_id", w.Header().Get(RequestID), "method", r.Method,
				"path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if t.wrote {
				panic(http.ErrAbortHandler)
			}
			internal(w)
		}()
		h.ServeHTTP(t, r)
	})
}

func internal(w http.ResponseWriter) {
	h := w.Header()
	h.Del("Content-Length")
	h.Del("Content-Encoding")
	h.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write([]byte(`{"error":{"code":"internal","message":"an internal error occurred"}}` + "\n")) // who left needs no answer
}

// tracked knows whether anything of an answer went out.
type tracked struct {
	http.ResponseWriter
	wrote bool
}

// Unwrap gives http.ResponseController what else the writer can do.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *tracked) WriteHeader(status int) {
	t.wrote = t.wrote || status >= http.StatusOK // before it there are only hints
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(p []byte) (int, error) {
	t.wrote = true
	return t.ResponseWriter.Write(p)
}

// FlushError flushes, which sends the headers if that was not done.
func (t *tracked) FlushError() error {
	err := http.NewResponseController(t.ResponseWriter).Flush()
	t.wrote = t.wrote || !errors.Is(err, http.ErrNotSupported)
	return err
}

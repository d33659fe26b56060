package host

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// runLambda takes requests of a Function URL or of a REST API of API Gateway, both
// with streamed answers, from the Lambda runtime. It returns only if the runtime
// does.
func runLambda(ctx context.Context, logger *slog.Logger, h http.Handler) error {
	lambda.StartWithOptions(invoker(h, logger), lambda.WithContext(ctx))
	return errors.New("host: the Lambda runtime ended")
}

// invoker serves invocations with h, in the way of lambdaurl of aws-lambda-go, and
// beyond it: an answer that was cut off is reported as such instead of ending
// cleanly, a panic does not end the process, and the next invocation waits until h
// has returned, so that what h settles at its end is not frozen half-way. An
// invocation that is no request is answered 400.
func invoker(h http.Handler, logger *slog.Logger) func(context.Context, event) (*events.APIGatewayProxyStreamingResponse, error) {
	return func(ctx context.Context, e event) (*events.APIGatewayProxyStreamingResponse, error) {
		ctx, cancel := context.WithCancel(ctx)
		r, err := e.request(ctx)
		if err != nil {
			cancel()
			logger.WarnContext(ctx, "malformed invocation", "error", err)
			return &events.APIGatewayProxyStreamingResponse{StatusCode: http.StatusBadRequest}, nil
		}
		reader, writer := io.Pipe()
		w := &lambdaWriter{head: r.Method == http.MethodHead, body: writer, header: make(http.Header), begun: make(chan struct{})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer cancel()
			_ = writer.CloseWithError(w.serve(h, r)) // never fails
		}()
		<-w.begun
		res := e.answer(w.status, w.sent, &lambdaBody{PipeReader: reader, cancel: cancel, done: done})
		if n := bytesOf(res); e.rest() && n > gatewayHeader {
			logger.WarnContext(ctx, "API Gateway does not take an answer with so large a header", "bytes", n, "limit", gatewayHeader, "path", r.URL.Path)
		}
		return res, nil
	}
}

// lambdaBody is the answer as the runtime reads it. Closing it before the end is
// how the runtime says that nobody reads on; it waits for the handler.
type lambdaBody struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   <-chan struct{}
}

func (b *lambdaBody) Close() error {
	err := b.PipeReader.Close()
	b.cancel()
	<-b.done
	return err
}

// lambdaWriter is the ResponseWriter of an invocation. Each write is delivered by
// itself, so that there is nothing to flush.
type lambdaWriter struct {
	head   bool // answers a HEAD request: without a body
	body   *io.PipeWriter
	header http.Header
	begun  chan struct{} // closed when status and sent are set
	status int
	sent   http.Header
}

// serve runs h and returns why its answer is not complete.
func (w *lambdaWriter) serve(h http.Handler, r *http.Request) (cut error) {
	defer func() {
		v := recover()
		if v != nil {
			cut = errors.New("host: the answer was cut off")
			if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				cut = errors.New("host: the handler panicked")
			}
			if w.status == 0 {
				w.WriteHeader(http.StatusBadGateway)
			}
		}
		w.WriteHeader(http.StatusOK)
	}()
	h.ServeHTTP(w, r)
	return nil
}

// Header is the header of the answer.
func (w *lambdaWriter) Header() http.Header { return w.header }

// WriteHeader begins the answer; hints (1xx) have no way to the client.
func (w *lambdaWriter) WriteHeader(status int) {
	if w.status != 0 || status < http.StatusOK {
		return
	}
	w.status, w.sent = status, w.header.Clone()
	close(w.begun)
}

// Write delivers p to the client.
func (w *lambdaWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		if w.header.Get("Content-Type") == "" && w.header.Get("Content-Encoding") == "" && len(p) > 0 {
			w.header.Set("Content-Type", http.DetectContentType(p))
		}
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.status == http.StatusNoContent || w.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case w.head:
		return len(p), nil
	}
	return w.body.Write(p)
}

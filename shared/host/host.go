// Package host runs an http.Handler: as a server of its own that drains before it
// stops, or under Lambda with streamed answers. The handler cannot tell which.
//
// A server stops in two steps. First it says so on /readyz and lets requests in
// flight run on; new ones are still handed to the handler, which refuses them in a
// way that its clients understand. When those in flight have ended, or time is up,
// or a second signal came, what is left is cancelled, gets a few seconds to put
// its affairs in order, and is cut.
package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sluice/shared/fault"
)

// Options say how a handler is run.
type Options struct {
	Addr      string          // host:port to listen on
	Listener  net.Listener    // used instead of Addr when set; Run closes it
	Listening func(net.Addr)  // called once the server listens; may be nil
	Idle      time.Duration   // a connection without a request is kept; 0 = 16 min
	Drain     time.Duration   // requests in flight may run on once ctx is done; 0 = not at all
	Grace     time.Duration   // cancelled requests have to return; 0 = 3 s
	Abort     context.Context // its end cuts the drain short; nil = never
	Ready     *Readiness      // turned to draining once ctx is done; may be nil
	Logger    *slog.Logger    // nil = slog.Default
	Lambda    bool            // run under the Lambda runtime instead, for a Function URL or a REST API; only Logger applies then
}

const (
	// DefaultIdle is above the longest idle timeout of a balancer in front (ALB,
	// 900 s): the end that reuses connections must be the first to close them.
	DefaultIdle    = 16 * time.Minute
	defaultGrace   = 3 * time.Second
	headerTimeout  = 10 * time.Second
	maxHeaderBytes = 64 << 10
)

func (o Options) filled() Options {
	o.Idle = cmp.Or(o.Idle, DefaultIdle)
	o.Grace = cmp.Or(o.Grace, defaultGrace)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Ready = cmp.Or(o.Ready, new(Readiness))
	if o.Abort == nil {
		o.Abort = context.Background()
	}
	return o
}

// Run runs h until ctx is done, and then until its requests have ended. It returns
// nil when all of them ended by themselves, and an error when the server could not
// run or requests had to be cancelled; their contexts then end with fault.Draining
// as the cause. A panic of h ends its request only. Under Lambda it never returns:
// the runtime ends the process.
func Run(ctx context.Context, o Options, h http.Handler) error {
	o = o.filled()
	h = Contain(h, o.Logger)
	if o.Lambda {
		return runLambda(context.WithoutCancel(ctx), o.Logger, h)
	}
	listener := o.Listener
	if listener == nil {
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", o.Addr); err != nil {
			return fmt.Errorf("host: %w", err)
		}
	}
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	s := &server{o: o, flight: newFlight(), cancel: cancel}
	s.http = s.configure(base, h)
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(listener) }()
	if o.Listening != nil {
		o.Listening(listener.Addr())
	}
	select {
	case err := <-ended:
		return fmt.Errorf("host: %w", err)
	case <-ctx.Done():
	}
	err := s.stop()
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("host: %w", served))
	}
	return err
}

// server is a running http.Server and the requests within it.
type server struct {
	o      Options
	http   *http.Server
	flight *flight
	cancel context.CancelCauseFunc // of every request
}

func (s *server) configure(base context.Context, h http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           s.flight.count(h),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       s.o.Idle,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         &protocols,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelWarn),
	}
}

// stop drains and closes the server. It errs when requests had to be cancelled.
func (s *server) stop() error {
	s.o.Ready.Drain()
	s.http.SetKeepAlivesEnabled(false) // who comes again shall come to another process
	if s.drained() && s.shut() {
		return nil
	}
	left := s.flight.running()
	s.cancel(fault.New(fault.Draining, "this instance is shutting down; try again"))
	s.shut()
	if err := s.http.Close(); err != nil {
		return fmt.Errorf("host: closing: %w", err)
	}
	return fmt.Errorf("host: stopped with %d requests in flight, %d of them did not return within %s", left, s.flight.running(), s.o.Grace)
}

// drained waits for the requests that were in flight when the drain began, for as
// long as they may take.
func (s *server) drained() bool {
	timeout := time.NewTimer(s.o.Drain)
	defer timeout.Stop()
	idle := s.flight.drain()
	select {
	case <-idle:
		return true
	default:
	}
	select {
	case <-idle:
		return true
	case <-timeout.C:
	case <-s.o.Abort.Done():
	}
	return false
}

// shut closes the listener and waits for the last requests, up to the grace. It
// says whether all returned. Connections without a request do not count: the
// server itself would wait five seconds for one that is new.
func (s *server) shut() bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Grace)
	defer cancel()
	if err := s.http.Shutdown(ctx); err == nil {
		return true
	}
	if s.flight.running() > 0 {
		return false
	}
	return s.http.Close() == nil
}

package host

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Signals gives two contexts: drain ends with the first SIGINT or SIGTERM, abort
// with the second; a third one has its usual effect. drain ends with parent, too.
// stop gives the signals back and ends both.
func Signals(parent context.Context) (drain, abort context.Context, stop func()) {
	drain, endDrain := context.WithCancel(parent)
	abort, endAbort := context.WithCancel(context.WithoutCancel(parent))
	received := make(chan os.Signal, 2)
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	over := make(chan struct{})
	go func() {
		defer signal.Stop(received)
		for _, end := range []context.CancelFunc{endDrain, endAbort} {
			select {
			case <-received:
				end()
			case <-over:
				return
			}
		}
	}()
	return drain, abort, sync.OnceFunc(func() {
		close(over)
		endDrain()
		endAbort()
	})
}

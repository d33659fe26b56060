package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/store"
)

// reply is an error reply of a server.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestFault(t *testing.T) {
	known := fault.New(fault.Conflict, "known")
	for _, err := range []error{nil, redis.Nil, context.Canceled, known, reply("ERR no such thing"), reply("WRONGTYPE it is a hash"), fmt.Errorf("read: %w", redis.Nil)} {
		if got := store.Fault(err); got != err { //nolint:errorlint // it must be the very same error
			t.Errorf("Fault(%v) = %v, want it as it is", err, got)
		}
	}
	for _, err := range []error{
		io.EOF, context.DeadlineExceeded, redis.ErrPoolTimeout, redis.ErrClosed, errors.New("any other"),
		reply("READONLY You can't write"), reply("CLUSTERDOWN The cluster is down"), reply("LOADING Redis is loading"), reply("-OOM command not allowed"),
		reply("ERR max number of clients reached"), reply("NOAUTH Authentication required."), reply("MOVED 1 127.0.0.1:1"),
	} {
		if got := store.Fault(err); fault.CodeOf(got) != fault.StoreDown || !errors.Is(got, err) {
			t.Errorf("Fault(%v) = %v, want store_down with its cause", err, got)
		}
	}
}

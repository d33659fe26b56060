package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
)

// retryAfter is what a client is told while the store is down.
const retryAfter = time.Second

// Fault turns an error of a command into what its caller handles: nil, redis.Nil
// and a cancelled context as they are; a server that cannot be reached, does not
// answer in time or cannot take the command now as a fault.StoreDown with the
// cause; every other reply, such as an error raised by a script, as it is.
func Fault(err error) error {
	if err == nil || errors.Is(err, redis.Nil) || errors.Is(err, context.Canceled) {
		return err
	}
	if _, known := errors.AsType[*fault.Error](err); known {
		return err
	}
	if reply, ok := errors.AsType[redis.Error](err); ok && !unavailable(reply.Error()) {
		return err
	}
	return storeDown(err)
}

func storeDown(cause error) error {
	return fault.Wrap(fault.StoreDown, cause, "the ledger does not answer; try again").After(retryAfter)
}

// unavailable says whether an error reply speaks of the server's state and not
// of the command. A script reports such a refusal of one of its commands with
// the same first word.
func unavailable(reply string) bool {
	word, _, _ := strings.Cut(strings.TrimPrefix(reply, "-"), " ")
	switch word {
	case "READONLY", "CLUSTERDOWN", "LOADING", "OOM", "MASTERDOWN", "TRYAGAIN", "NOREPLICAS",
		"MISCONF", "BUSY", "MOVED", "ASK", "NOAUTH", "WRONGPASS", "NOPERM":
		return true
	default:
		return strings.HasPrefix(reply, "ERR max number of clients")
	}
}

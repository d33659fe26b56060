package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

var errClosed = errors.New("embedded: the store is closed")

// hook runs commands outside the moments of copying and notes the keys they may
// change.
type hook struct{ store *Store }

func (hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if reads(cmd) {
			return next(ctx, cmd)
		}
		if err := h.store.begin(ctx, cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		defer h.store.commands.RUnlock()
		return next(context.WithoutCancel(ctx), cmd)
	}
}

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if reads(cmds...) {
			return next(ctx, cmds)
		}
		if err := h.store.begin(ctx, cmds...); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		defer h.store.commands.RUnlock()
		return next(context.WithoutCancel(ctx), cmds)
	}
}

// reads says whether commands change nothing. They need no lock, and must take
// none: the handshake of a connection that a locked command opens is among them,
// and would wait for a copy that waits for the command.
func reads(cmds ...redis.Cmder) bool {
	return !slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return changes(c.Name()) != nothing })
}

// begin takes the lock of commands, shared, and notes their keys. After an error
// the lock is not held. A command that begins runs to its end whatever becomes
// of its context: cut off, it might still run while keys are copied.
func (s *Store) begin(ctx context.Context, cmds ...redis.Cmder) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.commands.RLock()
	if s.closed {
		s.commands.RUnlock()
		return errClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cmd := range cmds {
		if err := s.note(cmd); err != nil {
			s.commands.RUnlock()
			return err
		}
	}
	return nil
}

// note adds the keys that a command may change to the dirty ones.
func (s *Store) note(cmd redis.Cmder) error {
	args := cmd.Args()
	switch name := cmd.Name(); changes(name) {
	case nothing:
		return nil
	case firstKey:
		if len(args) < 2 {
			return nil
		}
		if name == "set" && expires(args) {
			return errors.New("embedded: set with an expiry is not supported")
		}
		args = args[1:2]
	case allKeys:
		args = args[1:]
	case scriptKeys:
		if len(args) < 3 {
			return nil
		}
		n, err := strconv.Atoi(text(args[2]))
		if err != nil || n < 0 || n > len(args)-3 {
			return fmt.Errorf("embedded: %s with a wrong number of keys", name)
		}
		args = args[3 : 3+n]
	default:
		return fmt.Errorf("embedded: command %s is not supported", name)
	}
	for _, a := range args {
		s.dirty[text(a)] = struct{}{}
	}
	return nil
}

// change is which keys a command may change.
type change int

const (
	unknown change = iota // refused: its change might not reach the file
	nothing
	firstKey
	allKeys
	scriptKeys
)

func changes(command string) change {
	switch command {
	case "auth", "client", "cluster", "command", "dbsize", "echo", "exec", "exists", "get", "hello", "hexists", "hget", "hgetall",
		"hkeys", "hlen", "hmget", "hvals", "info", "keys", "llen", "lrange", "mget", "multi", "ping", "scan", "scard", "script", "select",
		"sismember", "smembers", "smismember", "strlen", "time", "type", "watch", "unwatch", "xlen", "xrange", "xrevrange",
		"zcard", "zcount", "zlexcount", "zmscore", "zrange", "zrangebylex", "zrangebyscore", "zrank", "zrevrange",
		"zrevrangebylex", "zrevrangebyscore", "zscore":
		return nothing
	case "append", "decr", "decrby", "getdel", "getset", "hdel", "hincrby", "hset", "hsetnx", "hmset", "incr", "incrby", "lpop",
		"lpush", "lrem", "lset", "ltrim", "rpop", "rpush", "sadd", "set", "setnx", "spop", "srem", "xadd", "xdel", "xtrim", "zadd",
		"zincrby", "zpopmax", "zpopmin", "zrem", "zremrangebylex", "zremrangebyrank", "zremrangebyscore":
		return firstKey
	case "del", "unlink":
		return allKeys
	case "eval", "evalsha":
		return scriptKeys
	default:
		return unknown
	}
}

// expires says whether a SET gives its key a TTL.
func expires(set []any) bool {
	for _, a := range set[min(3, len(set)):] {
		switch strings.ToLower(text(a)) {
		case "ex", "px", "exat", "pxat":
			return true
		}
	}
	return false
}

// text is an argument as it is sent.
func text(arg any) string {
	switch a := arg.(type) {
	case string:
		return a
	case []byte:
		return string(a)
	default:
		return fmt.Sprint(a)
	}
}

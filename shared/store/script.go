package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"

	"github.com/redis/go-redis/v9"
)

// Script is a Lua script that runs by its digest. It is immutable.
type Script struct {
	name    string
	plain   code
	guarded code
}

// code is one text of a script and the SHA-1 by which the server caches it.
type code struct{ source, sha string }

// NewScript is a script with a name for errors and traces.
func NewScript(name, source string) *Script {
	return &Script{name: name, plain: newCode(source), guarded: newCode(guard + source)}
}

func newCode(source string) code {
	sum := sha1.Sum([]byte(source)) // the digest Redis defines; nothing rests on its strength
	return code{source: source, sha: hex.EncodeToString(sum[:])}
}

// Name is the script's name.
func (s *Script) Name() string { return s.name }

// Call is one run of a script. Keys are of one slot, and every key that the
// script touches. Args are strings, byte slices or numbers.
type Call struct {
	Script *Script
	Keys   []string
	Args   []any
}

// Result is the outcome of one call of RunAll.
type Result struct {
	Value any
	Err   error
}

// Run runs one script: one wait, two when the server does not know it yet. A
// null reply is redis.Nil; other errors are those of Fault. A call may run
// twice when its reply is lost, so a script is idempotent.
func (c *Client) Run(ctx context.Context, call Call) (any, error) {
	cmd := c.command(ctx, call)
	err := c.rdb.Process(ctx, cmd)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		cmd = c.withSource(ctx, call, cmd)
		err = c.rdb.Process(ctx, cmd)
	}
	if err != nil {
		return nil, Fault(err)
	}
	return cmd.Val(), nil
}

// RunAll runs the scripts in one pipeline, in order where they share a slot:
// one wait, two when the server does not know some of them yet. The results are
// in the order of the calls, each with its own error as of Run.
func (c *Client) RunAll(ctx context.Context, calls ...Call) []Result {
	cmds := make([]*redis.Cmd, len(calls))
	pipe := c.rdb.Pipeline()
	for i, call := range calls {
		cmds[i] = c.command(ctx, call)
		queue(ctx, pipe, cmds[i])
	}
	exec(ctx, pipe)
	for i, call := range calls {
		if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
			cmds[i] = c.withSource(ctx, call, cmds[i])
			queue(ctx, pipe, cmds[i])
		}
	}
	exec(ctx, pipe)
	results := make([]Result, len(calls))
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			results[i].Err = Fault(err)
			continue
		}
		results[i].Value = cmd.Val()
	}
	return results
}

// queue adds a command to a pipeline, which cannot fail: its error is the
// command's own, set by exec.
func queue(ctx context.Context, pipe redis.Pipeliner, cmd redis.Cmder) { _ = pipe.Process(ctx, cmd) }

// exec sends what is queued, if anything. Exec returns the first error of its
// commands; each command holds its own, and those are read.
func exec(ctx context.Context, pipe redis.Pipeliner) {
	if pipe.Len() > 0 {
		_, _ = pipe.Exec(ctx)
	}
}

// command is the EVALSHA of a call.
func (c *Client) command(ctx context.Context, call Call) *redis.Cmd {
	args := make([]any, 0, 3+len(call.Keys)+len(call.Args))
	args = append(args, "evalsha", c.code(call.Script).sha, len(call.Keys))
	for _, key := range call.Keys {
		args = append(args, key)
	}
	return redis.NewCmd(ctx, append(args, call.Args...)...)
}

// withSource is a refused EVALSHA as an EVAL of the same call.
func (c *Client) withSource(ctx context.Context, call Call, refused *redis.Cmd) *redis.Cmd {
	args := refused.Args()
	args[0], args[1] = "eval", c.code(call.Script).source
	return redis.NewCmd(ctx, args...)
}

func (c *Client) code(s *Script) code {
	if c.guard {
		return s.guarded
	}
	return s.plain
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/store/storetest"
)

const (
	exactest = 1<<53 - 1           // the largest integer that Lua counts exactly
	fortune  = 100_000_000_000_000 // $100,000 in nano-dollars, which Lua prints as 1e+14
)

var (
	add   = store.NewScript("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
	read  = store.NewScript("read", "return redis.call('GET', KEYS[1])")
	fail  = store.NewScript("fail", "return redis.error_reply('BROKEN on purpose')")
	times = store.NewScript("times", "return {KEYS[1], ARGV[1], tonumber(ARGV[1]) * 2, false, {'a', 1}}")
)

func TestRun(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		ctx := t.Context()
		got, err := c.Run(ctx, store.Call{Script: times, Keys: []string{"k"}, Args: []any{21}})
		if diff := cmp.Diff([]any{"k", "21", int64(42), nil, []any{"a", int64(1)}}, got); diff != "" || err != nil {
			t.Errorf("Run: %v (-want +got):\n%s", err, diff)
		}
		if v, err := c.Run(ctx, store.Call{Script: read, Keys: []string{"none"}}); v != nil || !errors.Is(err, redis.Nil) {
			t.Errorf("a null reply = %v, %v, want redis.Nil", v, err)
		}
		_, err = c.Run(ctx, store.Call{Script: fail, Keys: []string{"k"}})
		if err == nil || !strings.HasPrefix(err.Error(), "BROKEN on purpose") || fault.CodeOf(err) == fault.StoreDown {
			t.Errorf("an error of the script: %v, want it as it is", err)
		}
		if add.Name() != "add" {
			t.Errorf("Name = %q", add.Name())
		}
	})
}

func TestRunAll(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		var calls []store.Call
		for p := range 20 { // of many slots
			calls = append(calls, store.Call{Script: add, Keys: []string{store.Usage(p)}, Args: []any{p}})
		}
		calls = append(calls,
			store.Call{Script: fail, Keys: []string{"k"}},
			store.Call{Script: read, Keys: []string{"none"}},
			store.Call{Script: add, Keys: []string{store.Usage(7)}, Args: []any{exactest - 7}},
		)
		results := c.RunAll(t.Context(), calls...)
		for p := range 20 {
			if r := results[p]; r.Err != nil || r.Value != int64(p) {
				t.Errorf("call %d = %+v", p, r)
			}
		}
		if err := results[20].Err; err == nil || !strings.HasPrefix(err.Error(), "BROKEN") {
			t.Errorf("a failing call: %v", err)
		}
		if err := results[21].Err; !errors.Is(err, redis.Nil) {
			t.Errorf("a null reply: %v", err)
		}
		if r := results[22]; r.Err != nil || r.Value != int64(exactest) {
			t.Errorf("the last call = %+v, want it after the one of the same key", r)
		}
		if r := c.RunAll(t.Context()); len(r) != 0 {
			t.Errorf("no calls gave %v", r)
		}
	})
}

// A server that was restarted, or a node that took over, does not know a script.
func TestUnknownScripts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		ctx := t.Context()
		script := store.NewScript("fresh", fmt.Sprintf("return redis.call('INCR', KEYS[1]) -- %d", time.Now().UnixNano()))
		call := store.Call{Script: script, Keys: []string{"n"}}
		forget := func() {
			if err := c.Redis().ScriptFlush(ctx).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for want := int64(1); want < 5; want += 2 {
			forget()
			if v, err := c.Run(ctx, call); err != nil || v != want {
				t.Errorf("Run = %v, %v, want %d", v, err, want)
			}
			forget()
			if r := c.RunAll(ctx, call, store.Call{Script: read, Keys: []string{"none"}}); r[0].Err != nil || r[0].Value != want+1 {
				t.Errorf("RunAll = %+v, want %d", r, want+1)
			}
		}
	})
}

func TestWaits(t *testing.T) {
	single := storetest.Single(t)
	p := storetest.NewProxy(t, single.Addr)
	c := p.Client(t)
	calls := make([]store.Call, 30)
	for i := range calls {
		calls[i] = store.Call{Script: add, Keys: []string{fmt.Sprint("k", i)}, Args: []any{1}}
	}
	waits := func(f func()) int {
		p.Reset()
		f()
		return p.Waits()
	}
	all := func() {
		for _, r := range c.RunAll(t.Context(), calls...) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
	}
	one := func() {
		if _, err := c.Run(t.Context(), calls[0]); err != nil {
			t.Error(err)
		}
	}
	one() // opens the connection and makes the script known
	if n := waits(one); n != 1 {
		t.Errorf("Run took %d waits", n)
	}
	if n := waits(all); n != 1 {
		t.Errorf("RunAll took %d waits", n)
	}
	c.Redis().ScriptFlush(t.Context())
	if n := waits(all); n != 2 {
		t.Errorf("RunAll of an unknown script took %d waits, want 2", n)
	}
}

// Amounts survive where scripts keep them as text or integers, on every server.
func TestLargeAmounts(t *testing.T) {
	keep := store.NewScript("keep", `
redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[1], 'm')
redis.call('HSET', KEYS[1], 'text', string.format('%d', tonumber(ARGV[1])))
return {redis.call('HINCRBY', KEYS[1], 'n', 0), redis.call('HGET', KEYS[1], 'text'), tonumber(ARGV[1])}`)
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		for _, amount := range []int64{fortune, exactest, -exactest, -fortune, 1, 0} {
			keys := []string{fmt.Sprintf("h{%d}", amount), fmt.Sprintf("z{%d}", amount)}
			got, err := c.Run(t.Context(), store.Call{Script: keep, Keys: keys, Args: []any{amount}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{amount, fmt.Sprint(amount), amount}, got); diff != "" {
				t.Errorf("%d (-want +got):\n%s", amount, diff)
			}
			if score := c.Redis().ZScore(t.Context(), keys[1], "m").Val(); score != float64(amount) {
				t.Errorf("score = %v, want %d", score, amount)
			}
		}
	})
}

func TestGuard(t *testing.T) {
	tests := []struct {
		name, script, want string
		keys               []string
		args               []any
	}{
		{name: "declared", script: "return redis.call('SET', KEYS[1], '1')", keys: []string{"a"}},
		{name: "declared by its name", script: "return redis.call('set', 'a', '1')", keys: []string{"a"}},
		{name: "pcall", script: "return redis.pcall('GET', KEYS[2])", keys: []string{"{a}", "b{a}"}},
		{name: "all of several", script: "return redis.call('DEL', KEYS[1], KEYS[2])", keys: []string{"{a}", "b{a}"}},
		{name: "time", script: "return #redis.call('TIME')", keys: []string{"a"}},
		{name: "other functions", script: "return redis.status_reply('fine') and redis.sha1hex('') ", keys: []string{"a"}},
		{name: "undeclared", script: "return redis.call('GET', 'b')", keys: []string{"a"}, want: "undeclared key b of GET"},
		{name: "undeclared in pcall", script: "return redis.pcall('GET', 'b')", keys: []string{"a"}, want: "undeclared key b"},
		{name: "second undeclared", script: "return redis.call('DEL', KEYS[1], 'b{a}')", keys: []string{"{a}"}, want: "undeclared key b{a} of DEL"},
		{name: "derived", script: "return redis.call('HGET', KEYS[1] .. ':x', 'f')", keys: []string{"a"}, want: "undeclared key a:x of HGET"},
		{name: "no keys", script: "return 1", want: "without KEYS"},
		{name: "unknown command", script: "return redis.call('KEYS', '*')", keys: []string{"a"}, want: "KEYS is not known"},
		{name: "no argument", script: "return redis.call('GET')", keys: []string{"a"}, want: "GET without a key"},
		{name: "exact", script: "return redis.call('HINCRBY', KEYS[1], 'f', ARGV[1])", keys: []string{"a"}, args: []any{exactest}},
		{name: "exact number", script: "return redis.call('INCRBY', KEYS[1], 100000000000000)", keys: []string{"a"}},
		{name: "inexact", script: "return redis.call('HINCRBY', KEYS[1], 'f', ARGV[1])", keys: []string{"a"}, args: []any{exactest + 1}, want: "inexact number 9007199254740992"},
		{name: "negative", script: "return redis.call('INCRBY', KEYS[1], ARGV[1])", keys: []string{"a"}, args: []any{-exactest - 1}, want: "inexact number"},
		{name: "exponent", script: "return redis.call('INCRBY', KEYS[1], ARGV[1])", keys: []string{"a"}, args: []any{"1e+14"}, want: "inexact number 1e+14"},
		{name: "fraction", script: "return redis.call('INCRBY', KEYS[1], 0.5)", keys: []string{"a"}, want: "inexact number"},
		{name: "no number", script: "return redis.call('HINCRBY', KEYS[1], 'f', 'x')", keys: []string{"a"}, want: "inexact number x"},
		{name: "formatted", script: "return redis.call('HSET', KEYS[1], 'f', ARGV[1])", keys: []string{"a"}, args: []any{"2.5e+14"}, want: "formatted number 2.5e+14"},
	}
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		for _, tt := range tests {
			for _, k := range tt.keys {
				c.Redis().Del(t.Context(), k)
			}
			_, err := c.Run(t.Context(), store.Call{Script: store.NewScript(tt.name, tt.script), Keys: tt.keys, Args: tt.args})
			if errors.Is(err, redis.Nil) {
				err = nil
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
		}
	})
}

// Without the guard the same script is allowed: it is for tests.
func TestNoGuard(t *testing.T) {
	c, err := store.Open(t.Context(), store.Options{URL: storetest.Single(t).URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	script := store.NewScript("other", "return redis.call('SET', 'b', 1)")
	if v, err := c.Run(t.Context(), store.Call{Script: script, Keys: []string{"a"}}); v != "OK" || err != nil {
		t.Errorf("Run = %v, %v", v, err)
	}
}

func BenchmarkRun(b *testing.B) {
	benchmark(b, func(ctx context.Context, c *store.Client, call store.Call) error {
		_, err := c.Run(ctx, call)
		return err
	})
}

func BenchmarkRunAll(b *testing.B) {
	benchmark(b, func(ctx context.Context, c *store.Client, call store.Call) error {
		return c.RunAll(ctx, call, call)[1].Err
	})
}

func benchmark(b *testing.B, run func(context.Context, *store.Client, store.Call) error) {
	c, err := store.Open(b.Context(), store.Options{URL: storetest.Single(b).URL()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	call := store.Call{Script: add, Keys: []string{store.Usage(1)}, Args: []any{1}}
	b.ReportAllocs()
	for b.Loop() {
		if err := run(b.Context(), c, call); err != nil {
			b.Fatal(err)
		}
	}
}

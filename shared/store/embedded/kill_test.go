package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/store"
	"sluice/shared/store/embedded"
)

// transferScript changes six keys of five types, so that a copy taken between two
// commands is told apart from one taken within.
var transferScript = store.NewScript("transfer", `
redis.call('HINCRBY', KEYS[1], 'sum', -tonumber(ARGV[1]))
redis.call('XADD', KEYS[2], '*', 'amount', ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[1], ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
redis.call('HINCRBY', KEYS[5], 'sum', ARGV[1])
return redis.call('INCR', KEYS[6])`)

func transfer(amount int) store.Call {
	return store.Call{Script: transferScript, Keys: []string{"a", "log", "scores", "amounts", "b", "count"}, Args: []any{amount}}
}

// transfers is the number of transfers, all of whose keys must agree.
func transfers(t *testing.T, c *store.Client) int64 {
	t.Helper()
	ctx := t.Context()
	number := func(s string, err error) int64 {
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a, b := number(c.Redis().HGet(ctx, "a", "sum").Result()), number(c.Redis().HGet(ctx, "b", "sum").Result())
	count := number(c.Redis().Get(ctx, "count").Result())
	entries := c.Redis().XRange(ctx, "log", "-", "+").Val()
	var sum int64
	for _, e := range entries {
		sum += number(e.Values["amount"].(string), nil)
	}
	if a != -b || sum != b || int64(len(entries)) != count {
		t.Errorf("not one moment: a %d, b %d, log of %d entries with sum %d, count %d", a, b, len(entries), sum, count)
	}
	if z, s := c.Redis().ZCard(ctx, "scores").Val(), c.Redis().SCard(ctx, "amounts").Val(); z != s {
		t.Errorf("not one moment: %d scores, %d amounts", z, s)
	}
	return count
}

// load writes as fast as it can until it is killed, and says twenty times a second
// how many transfers were answered.
func load(dir string) error {
	ctx := context.Background()
	s, err := embedded.Open(ctx, dir, nil)
	if err != nil {
		return err
	}
	c, err := store.Open(ctx, s.Options())
	if err != nil {
		return err
	}
	var answered atomic.Int64
	failed := make(chan error)
	for w := range 4 {
		go func() {
			for n := w; ; n += 4 {
				if _, err := c.Run(ctx, transfer(n%1000)); err != nil {
					failed <- err
					return
				}
				answered.Add(1)
			}
		}()
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-failed:
			return err
		case <-tick.C:
			fmt.Println(answered.Load())
		}
	}
}

func TestKill(t *testing.T) {
	const (
		runs     = 2
		duration = 2500 * time.Millisecond
		// A second is promised; a machine that runs other tests gets another.
		mayLose = 2 * time.Second
	)
	dir := t.TempDir()
	var before int64
	for range runs {
		answered, atLeast := killed(t, dir, duration, mayLose)
		s, c := open(t, dir)
		got := transfers(t, c) - before
		if got < atLeast || got > answered+1000 {
			t.Errorf("%d transfers were kept of %d, want %d at least", got, answered, atLeast)
		}
		t.Logf("kept %d of %d answered; %d were answered %v before the end", got, answered, atLeast, mayLose)
		before += got
		shut(t, s, c)
	}
}

// killed runs the load and kills it: how many transfers were answered at the end
// and some time before.
func killed(t *testing.T, dir string, duration, earlier time.Duration) (answered, before int64) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceValue(cmd.Process.Kill)
	t.Cleanup(func() { _ = kill() })
	var start time.Time
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			t.Fatalf("the load says %q", lines.Text())
		}
		if start.IsZero() {
			start = time.Now()
		}
		answered = n
		if time.Since(start) <= duration-earlier {
			before = n
		}
		if time.Since(start) >= duration {
			break
		}
	}
	if err := kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // that it was killed is no news
	return answered, before
}

package storetest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/storetest"
)

// within repeats f until it is content.
func within(t *testing.T, d time.Duration, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within %v", what, d)
		}
	}
}

func TestEachServerIsEmptyAndWrites(t *testing.T) {
	seen := 0
	test := func(t *testing.T, c *store.Client) {
		seen++
		ctx := t.Context()
		if n := c.Redis().Exists(ctx, "k").Val(); n != 0 {
			t.Error("a key of an earlier test is there")
		}
		if err := c.Redis().Set(ctx, "k", "1", 0).Err(); err != nil {
			t.Error(err)
		}
	}
	storetest.Each(t, test)
	storetest.Each(t, test)
	if want := 2 * 3; seen < want {
		t.Errorf("%d servers were tested, want %d", seen, want)
	}
}

func TestClustersRefuseKeysOfTwoSlots(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *storetest.Server{"shard": storetest.SingleShard, "cluster": storetest.Cluster} {
		t.Run(name, func(t *testing.T) {
			c := start(t).Client(t)
			if !c.Cluster() {
				t.Error("it was not seen to be a cluster")
			}
			script := store.NewScript("two", "return redis.call('MGET', KEYS[1], KEYS[2])")
			_, err := c.Run(t.Context(), store.Call{Script: script, Keys: []string{"a", "b"}})
			if err == nil || !strings.Contains(err.Error(), "slot") {
				t.Errorf("keys of two slots: %v", err)
			}
		})
	}
}

func TestOwnServerDiesAndComesBack(t *testing.T) {
	s := storetest.Own(t)
	c := s.Client(t)
	ctx := t.Context()
	if err := c.Redis().Set(ctx, "k", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := c.Redis().Get(ctx, "k").Err(); err == nil {
		t.Error("a killed server answers")
	}
	s.Restart(t)
	if err := c.Redis().Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("after a restart: %v, want nothing kept", err)
	}
	s.Pause(t)
	answered := make(chan error, 1)
	go func() { answered <- c.Redis().Ping(ctx).Err() }()
	select {
	case err := <-answered:
		t.Errorf("a paused server answers: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	s.Resume(t)
	if err := <-answered; err != nil {
		t.Errorf("after Resume: %v", err)
	}
}

func TestProxyCountsCommandsAndWaits(t *testing.T) {
	p := storetest.NewProxy(t, storetest.Single(t).Addr)
	c := p.Client(t)
	ctx := t.Context()
	p.Reset()
	if err := c.Redis().Set(ctx, "k", "two words", 0).Err(); err != nil {
		t.Fatal(err)
	}
	pipe := c.Redis().Pipeline()
	pipe.Get(ctx, "k")
	all := pipe.HGetAll(ctx, "none")
	pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"set", "k", "two words"}, {"get", "k"}, {"hgetall", "none"}, {"time"}}
	if diff := cmp.Diff(want, p.Commands()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	if p.Waits() != 2 || len(all.Val()) != 0 {
		t.Errorf("%d waits, want 2", p.Waits())
	}
}

// A command whose reply is lost ran, and go-redis runs it again.
func TestProxyDropsReplies(t *testing.T) {
	p := storetest.NewProxy(t, storetest.Single(t).Addr)
	c := p.Client(t)
	p.DropReply(func(cmd []string) bool { return cmd[0] == "incr" && p.Dropped() == 0 })
	n, err := c.Redis().Incr(t.Context(), "n").Result()
	if err != nil || n != 2 || p.Dropped() != 1 {
		t.Errorf("INCR with a lost reply = %d, %v, %d replies dropped; want it to have run twice", n, err, p.Dropped())
	}
}

func TestProxyDelaysAndCuts(t *testing.T) {
	p := storetest.NewProxy(t, storetest.Single(t).Addr)
	c := p.Client(t)
	ctx := t.Context()
	const delay = 50 * time.Millisecond
	p.Delay(delay)
	start := time.Now()
	if err := c.Redis().Ping(ctx).Err(); err != nil || time.Since(start) < delay {
		t.Errorf("a delayed PING: %v after %v", err, time.Since(start))
	}
	p.Delay(0)
	p.Down(true)
	if err := c.Redis().Ping(ctx).Err(); err == nil {
		t.Error("PING through a proxy that is down succeeds")
	}
	p.Down(false)
	within(t, 5*time.Second, "an answer", func() bool { return c.Redis().Ping(ctx).Err() == nil })
}

// Only what the deployment allows is allowed where its user is tested.
func TestTheUserOfADeployment(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "..", "..", "infra", "store.go"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"mayOnServer": storetest.Permissions, "storeName": storetest.User} {
		if declared := fmt.Sprintf("%s = %q", name, value); !strings.Contains(strings.Join(strings.Fields(string(source)), " "), declared) {
			t.Errorf("infra/store.go does not declare %s", declared)
		}
	}
	ctx := t.Context()
	for name, s := range map[string]*storetest.Server{"shard": storetest.SingleShard(t), "TLS": storetest.TLS(t, false), "TLS shard": storetest.TLS(t, true)} {
		t.Run(name, func(t *testing.T) {
			c := s.Client(t).Redis()
			if err := c.Set(ctx, "k", "1", 0).Err(); err != nil {
				t.Error(err)
			}
			for _, cmd := range [][]any{{"flushall"}, {"keys", "*"}, {"config", "get", "port"}, {"acl", "list"}} {
				if err := c.Do(ctx, cmd...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
					t.Errorf("%v: %v", cmd, err)
				}
			}
		})
	}
	secure := storetest.TLS(t, false)
	anonymous := secure.Options()
	anonymous.URL = secret.New("rediss://" + secure.Addr)
	if c, err := store.Open(ctx, anonymous); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("the default user: %v, %v", c, err)
	}
}

package storetest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/store"
	"sluice/shared/store/storetest"
)

// slow is how long a cluster may take to promote a replica and to tell its clients.
const slow = 20 * time.Second

// A replica that is promoted has what reached it, and lacks what was kept from it
// though the client was told that it was written.
func TestFailOverLosesWhatReplicasWereStarvedOf(t *testing.T) {
	r := storetest.Replicated(t, 3, "one", "two")
	c := storetest.Open(t, store.Options{URL: r.URL("one")})
	ctx := t.Context()
	if err := c.Redis().Set(ctx, "{a}kept", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	const shard = 2 // of the slot of {a}, 15495
	was := r.Primary(t, shard)
	r.Synced(t)
	r.Proxies[was].Starve(true)
	if err := c.Redis().Set(ctx, "{a}lost", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r.FailOver(t, shard)
	c = storetest.Open(t, store.Options{URL: r.URL("one")}) // it learns who is the primary now
	if got := c.Redis().Get(ctx, "{a}kept").Val(); got != "1" {
		t.Errorf("what reached the replica: %q", got)
	}
	if err := c.Redis().Get(ctx, "{a}lost").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("what was kept from the replica: %v, want it lost", err)
	}
	r.Heal(t)
	if now := r.Primary(t, shard); now == was {
		t.Error("the killed node is the primary again")
	}

	other := storetest.Open(t, store.Options{URL: r.URL("two")})
	for _, p := range r.Proxies {
		p.Banish("one", true)
	}
	if err := c.Redis().Get(ctx, "{a}kept").Err(); err == nil {
		t.Error("a banished user reads")
	}
	if got := other.Redis().Get(ctx, "{a}kept").Val(); got != "1" {
		t.Errorf("another user reads %q", got)
	}
	for _, p := range r.Proxies {
		p.Banish("one", false)
	}
	within(t, slow, "the user reads again", func() bool { return c.Redis().Get(ctx, "{a}kept").Val() == "1" })
}

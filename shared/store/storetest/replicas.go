package storetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/secret"
)

// slots of a Redis Cluster.
const slots = 16384

// Replicas is a cluster of a test's own in which every shard has a primary and a
// replica, and every node a Proxy that is all that clients and replicas see of it:
// the nodes announce the ports of their proxies. The bus by which the nodes watch
// each other goes past the proxies, so that what a proxy does to clients promotes
// nobody.
type Replicas struct {
	Proxies []*Proxy // of each node, in the order of the nodes
	nodes   []*node
	shards  int
}

// Replicated is a cluster of so many shards with a replica each. users are names
// that a client may sign in with, by any password, beside the default user: a proxy
// can tell them apart.
func Replicated(t testing.TB, shards int, users ...string) *Replicas {
	t.Helper()
	r := &Replicas{shards: shards}
	t.Cleanup(func() {
		for _, n := range r.nodes {
			n.stop()
		}
	})
	dir := t.TempDir()
	for i := range 2 * shards {
		if err := r.add(t, filepath.Join(dir, strconv.Itoa(i)), users); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.join(); err != nil {
		t.Fatal(err)
	}
	if err := r.settle(); err != nil {
		t.Fatal(err)
	}
	return r
}

// add starts a node behind a proxy.
func (r *Replicas) add(t testing.TB, dir string, users []string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	p := NewProxy(t, addr)
	_, announced, _ := net.SplitHostPort(p.Addr)
	n := &node{addr: addr, dir: dir, args: []string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0",
		"--cluster-announce-port", announced, "--cluster-announce-bus-port", busPort(addr),
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
	}}
	for _, u := range users {
		n.args = append(n.args, "--user", u, "on", "nopass", "~*", "&*", "+@all")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := n.start(); err != nil {
		return err
	}
	r.nodes, r.Proxies = append(r.nodes, n), append(r.Proxies, p)
	return nil
}

// busPort is the port at which a node talks to the others.
func busPort(addr string) string {
	const offset = 10_000
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port) // of an address that was listened at
	return strconv.Itoa(n + offset)
}

// join makes a cluster of the nodes: primaries first, then a replica of each.
func (r *Replicas) join() error {
	ctx := context.Background()
	for i := range r.nodes {
		err := r.on(i, func(c *redis.Client) error {
			var err error
			if i < r.shards {
				err = c.ClusterAddSlotsRange(ctx, i*slots/r.shards, (i+1)*slots/r.shards-1).Err()
			}
			err = errors.Join(err, c.Do(ctx, "cluster", "set-config-epoch", i+1).Err())
			if i > 0 {
				host, port, _ := net.SplitHostPort(r.nodes[0].addr)
				err = errors.Join(err, c.Do(ctx, "cluster", "meet", host, port, busPort(r.nodes[0].addr)).Err())
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := r.complete(); err != nil {
		return err
	}
	for i := r.shards; i < len(r.nodes); i++ {
		var id string
		err := r.on(i-r.shards, func(c *redis.Client) (err error) {
			id, err = c.ClusterMyID(ctx).Result()
			return err
		})
		if err == nil {
			err = r.on(i, func(c *redis.Client) error { return c.ClusterReplicate(ctx, id).Err() })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// complete waits until every node sees every other and all slots.
func (r *Replicas) complete() error {
	for i := range r.nodes {
		err := eventually(func() error {
			return r.on(i, func(c *redis.Client) error {
				info, err := c.ClusterInfo(context.Background()).Result()
				if err == nil && (!strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(len(r.nodes))+"\r")) {
					err = fmt.Errorf("storetest: the cluster is not complete at node %d", i)
				}
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settle waits until the cluster is complete and every replica follows its primary.
func (r *Replicas) settle() error {
	if err := r.complete(); err != nil {
		return err
	}
	return eventually(func() error {
		primaries := 0
		for i := range r.nodes {
			role, linked, err := r.role(i)
			switch {
			case err != nil:
				return err
			case role == "master":
				primaries++
			case !linked:
				return fmt.Errorf("storetest: node %d does not follow its primary", i)
			}
		}
		if primaries != r.shards {
			return fmt.Errorf("storetest: %d primaries of %d shards", primaries, r.shards)
		}
		return nil
	})
}

// role is what a node is (master or slave), and whether a replica has its link.
func (r *Replicas) role(i int) (role string, linked bool, err error) {
	err = r.on(i, func(c *redis.Client) error {
		info, err := c.Info(context.Background(), "replication").Result()
		for line := range strings.SplitSeq(info, "\r\n") {
			if value, ok := strings.CutPrefix(line, "role:"); ok {
				role = value
			}
			linked = linked || line == "master_link_status:up"
		}
		return err
	})
	return role, linked, err
}

// on runs f with a client of one node, past its proxy.
func (r *Replicas) on(i int, f func(*redis.Client) error) error {
	c := redis.NewClient(&redis.Options{Addr: r.nodes[i].addr, MaxRetries: -1})
	return errors.Join(f(c), c.Close())
}

// URL is where to connect, as a user; "" = the default user.
func (r *Replicas) URL(user string) secret.Value {
	var hosts []string
	for _, p := range r.Proxies {
		hosts = append(hosts, p.Addr)
	}
	if user != "" {
		user += ":any@"
	}
	return secret.New("redis://" + user + strings.Join(hosts, ","))
}

// Direct is a client that goes past the proxies, closed when the test ends: for a
// test that looks at what is stored while the proxies are at work.
func (r *Replicas) Direct(t testing.TB) *redis.ClusterClient {
	t.Helper()
	behind := make(map[string]string, len(r.nodes))
	var announced []string
	for i, p := range r.Proxies {
		behind[p.Addr] = r.nodes[i].addr
		announced = append(announced, p.Addr)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: announced, ClusterStateReloadInterval: time.Second,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, behind[addr])
		},
	})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Primary is the node that is the primary of a shard now, Replica the other one.
// The nodes of shard i are i and i + the number of shards.
func (r *Replicas) Primary(t testing.TB, shard int) int {
	t.Helper()
	for _, i := range []int{shard, shard + r.shards} {
		if role, _, err := r.role(i); err == nil && role == "master" {
			return i
		}
	}
	t.Fatalf("storetest: shard %d has no primary", shard)
	return 0
}

// Synced waits until every replica has all that its primary was told so far.
func (r *Replicas) Synced(t testing.TB) {
	t.Helper()
	for shard := range r.shards {
		at := r.Primary(t, shard)
		err := eventually(func() error {
			return r.on(at, func(c *redis.Client) error {
				info, err := c.Info(context.Background(), "replication").Result()
				_, offset, _ := strings.Cut(info, "master_repl_offset:")
				offset, _, _ = strings.Cut(offset, "\r")
				if err == nil && !strings.Contains(info, "offset="+offset+",lag=") {
					err = fmt.Errorf("storetest: the replica of shard %d lags", shard)
				}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// FailOver kills the primary of a shard, as kill -9 does, and waits until its
// replica is the primary for every other node. Heal brings the killed node back.
func (r *Replicas) FailOver(t testing.TB, shard int) {
	t.Helper()
	killed := r.Primary(t, shard)
	other := shard + r.shards
	if killed == other {
		other = shard
	}
	r.nodes[killed].stop()
	_, port, _ := net.SplitHostPort(r.Proxies[other].Addr)
	for i, n := range r.nodes {
		if n.cmd == nil {
			continue
		}
		err := eventually(func() error {
			return r.on(i, func(c *redis.Client) error { return owns(c, int64(shard*slots/r.shards), port) })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// owns errs unless a node sees the primary that announces the port as the owner of a
// slot. It reads CLUSTER SLOTS, which is what clients go by.
func owns(c *redis.Client, slot int64, port string) error {
	ranges, err := c.Do(context.Background(), "cluster", "slots").Slice()
	for _, r := range ranges {
		span, _ := r.([]any)
		if len(span) < 3 {
			continue
		}
		first, _ := span[0].(int64)
		last, _ := span[1].(int64)
		primary, _ := span[2].([]any)
		if first <= slot && slot <= last && len(primary) > 1 && fmt.Sprint(primary[1]) == port {
			return nil
		}
	}
	return errors.Join(err, errors.New("storetest: nobody was promoted"))
}

// Heal starts the nodes that were killed, ends what the proxies do, and waits until
// every shard has its replica again.
func (r *Replicas) Heal(t testing.TB) {
	t.Helper()
	for i, n := range r.nodes {
		p := r.Proxies[i]
		p.Down(false)
		p.Delay(0)
		p.DropReply(nil)
		p.Starve(false)
		if n.cmd == nil {
			if err := n.start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.settle(); err != nil {
		t.Fatal(err)
	}
}

// Pause stops every node without ending it, until Resume.
func (r *Replicas) Pause(t testing.TB) { r.signal(t, syscall.SIGSTOP) }

// Resume continues what Pause stopped.
func (r *Replicas) Resume(t testing.TB) { r.signal(t, syscall.SIGCONT) }

func (r *Replicas) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	s := Server{nodes: r.nodes}
	s.signal(t, sig)
}

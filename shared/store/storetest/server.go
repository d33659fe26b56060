// Package storetest runs real redis-servers for tests: a single node, a cluster
// of one shard (which refuses keys of different slots), a cluster of three, and
// the embedded store. It also has a proxy that loses replies and counts what goes
// over the wire.
//
// Clients of the cluster of one shard are the user of a deployment: whatever is
// tested there, is tested with its permissions, too. A server with TLS is started
// for a test of its own.
//
// Servers are started once for a test binary and emptied for each test; Main
// stops them.
package storetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/secret"
	"sluice/shared/store"
)

// patience is how long a server may take to start.
const patience = 20 * time.Second

// Server is one redis-server, or a cluster of them.
type Server struct {
	Addr  string // of the first node
	CA    string // path of the certificate that its own is signed with; "" = no TLS
	user  string // in URL, with its password and an @; "" = the default user
	nodes []*node
}

type node struct {
	addr string
	dir  string
	args []string
	tls  *tls.Config // of a client; nil = none
	cmd  *exec.Cmd
}

// shared are the servers of this test binary: starting one takes from 100 ms to
// seconds, so that tests share them, and Main has to find them.
var shared struct {
	mu      sync.Mutex
	servers map[string]*Server
	dir     string
}

// Main runs the tests of a package and stops the servers that they started. It
// calls after before it exits.
func Main(m *testing.M, after ...func()) {
	code := m.Run()
	stopAll()
	for _, f := range after {
		f()
	}
	os.Exit(code)
}

func stopAll() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, s := range shared.servers {
		for _, n := range s.nodes {
			n.stop()
		}
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir) // a leftover in the temporary directory harms nothing
	}
}

// Single is a single node, emptied for this test.
func Single(t testing.TB) *Server { return emptied(t, "single", startSingle) }

// SingleShard is a cluster of one node: it enforces slots, and starts fast. Its URL
// is that of a user with the permissions of a deployment.
func SingleShard(t testing.TB) *Server { return emptied(t, "shard", startShard) }

// Cluster is a cluster of three masters.
func Cluster(t testing.TB) *Server { return emptied(t, "cluster", startCluster) }

// Own is a single node of this test's own, which it may kill, with further
// arguments of redis-server.
func Own(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := startNodes(t.TempDir(), 1, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.nodes[0].stop() })
	return s
}

func emptied(t testing.TB, kind string, start func(dir string) (*Server, error)) *Server {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	s, ok := shared.servers[kind]
	if !ok {
		var err error
		if shared.dir == "" {
			if shared.dir, err = os.MkdirTemp("", "sluice-storetest"); err != nil {
				t.Fatal(err)
			}
		}
		if s, err = start(filepath.Join(shared.dir, kind)); err != nil {
			t.Fatal(err)
		}
		if shared.servers == nil {
			shared.servers = make(map[string]*Server)
		}
		shared.servers[kind] = s
	}
	s.Flush(t)
	return s
}

// Flush empties the server.
func (s *Server) Flush(t testing.TB) {
	t.Helper()
	for _, n := range s.nodes {
		c := n.client()
		err := errors.Join(c.FlushAll(context.Background()).Err(), c.Close())
		if err != nil {
			t.Fatalf("storetest: emptying %s: %v", n.addr, err)
		}
	}
}

// URL is where to connect.
func (s *Server) URL() secret.Value {
	if s.CA != "" {
		return secret.New("rediss://" + s.user + s.Addr)
	}
	return secret.New("redis://" + s.user + s.Addr)
}

// Options are those of a client that trusts the server.
func (s *Server) Options() store.Options { return store.Options{URL: s.URL(), TLS: s.nodes[0].tls} }

// Client is a new guarded client, closed when the test ends.
func (s *Server) Client(t testing.TB) *store.Client {
	t.Helper()
	return Open(t, s.Options())
}

// client is the default user, who may do anything.
func (n *node) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: n.addr, TLSConfig: n.tls, MaxRetries: -1})
}

// Open is a guarded client with the given options, closed when the test ends.
func Open(t testing.TB, o store.Options) *store.Client {
	t.Helper()
	o.Guard = true
	c, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Kill ends the server as kill -9 does.
// A killed server may be started again with Restart.
func (s *Server) Kill() {
	for _, n := range s.nodes {
		n.stop()
	}
}

// Restart starts the nodes again where they were, empty.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	for _, n := range s.nodes {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
	}
}

// Pause stops the server's processes without ending them, until Resume.
func (s *Server) Pause(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Resume continues what Pause stopped.
func (s *Server) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	for _, n := range s.nodes {
		if err := n.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
}

func startSingle(dir string) (*Server, error) { return startNodes(dir, 1) }

func startShard(dir string) (*Server, error) {
	s, err := startMasters(dir, 1, append([]string{"--user", User, "nopass"}, strings.Fields(Permissions)...)...)
	if err != nil {
		return nil, err
	}
	s.user = User + ":" + AnyPassword + "@"
	return s, nil
}

func startCluster(dir string) (*Server, error) { return startMasters(dir, 3) }

func startMasters(dir string, count int, args ...string) (*Server, error) {
	s, err := startNodes(dir, count, append([]string{"--cluster-enabled", "yes"}, args...)...)
	if err != nil {
		return nil, err
	}
	if err := s.assignSlots(); err != nil {
		s.Kill()
		return nil, err
	}
	return s, nil
}

func startNodes(dir string, count int, args ...string) (*Server, error) {
	s := &Server{}
	for i := range count {
		if err := s.add(&node{dir: filepath.Join(dir, strconv.Itoa(i)), args: args}); err != nil {
			s.Kill()
			return nil, err
		}
	}
	return s, nil
}

// add starts another node.
func (s *Server) add(n *node) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	if err := n.start(); err != nil {
		return err
	}
	s.nodes = append(s.nodes, n)
	s.Addr = s.nodes[0].addr
	return nil
}

// start runs the node on a free port, again on the same one if it ran before. The
// port may be taken between being found and being used: then another is tried.
func (n *node) start() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("storetest: redis-server is not in PATH: run `make test`, which installs it, or `apt-get install redis-server`")
	}
	const attempts = 5
	for range attempts {
		addr := n.addr
		if addr == "" {
			if addr, err = freeAddr(); err != nil {
				return err
			}
		}
		_, port, _ := net.SplitHostPort(addr)
		plain, secure := port, "0"
		if n.tls != nil {
			plain, secure = "0", port // no command can go around TLS
		}
		args := append([]string{
			"--port", plain, "--tls-port", secure, "--bind", "127.0.0.1", "--dir", n.dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
			"--cluster-node-timeout", "2000",
		}, n.args...)
		n.cmd = exec.Command(path, args...)
		n.cmd.SysProcAttr = dieWithParent()
		if err = n.cmd.Start(); err != nil {
			return err
		}
		before := n.addr
		n.addr = addr
		if err = n.answers(); err == nil {
			return nil
		}
		n.addr = before
		n.stop()
	}
	return fmt.Errorf("storetest: redis-server did not start: %w", err)
}

func (n *node) stop() {
	if n.cmd == nil || n.cmd.Process == nil {
		return
	}
	_ = n.cmd.Process.Kill() // it may have ended by itself
	_ = n.cmd.Wait()         // reaps it; that it was killed is no news
	n.cmd = nil
}

// freeAddr is a free port below 55536, so that a cluster's bus port fits above it.
func freeAddr() (string, error) {
	const busOffset, highest = 10_000, 65_535
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := l.Addr().(*net.TCPAddr)
		if err := l.Close(); err != nil {
			return "", err
		}
		if addr.Port+busOffset <= highest {
			return addr.String(), nil
		}
	}
}

// answers waits until the server answers, if only that it wants a password.
func (n *node) answers() error {
	c := n.client()
	defer func() { _ = c.Close() }() // nothing was written through it
	return eventually(func() error {
		err := c.Ping(context.Background()).Err()
		if redis.HasErrorPrefix(err, "NOAUTH") {
			return nil
		}
		return err
	})
}

// assignSlots makes a cluster of the nodes and waits until all of them say so.
func (s *Server) assignSlots() error {
	ctx := context.Background()
	for i, n := range s.nodes {
		c := n.client()
		first, last := i*slots/len(s.nodes), (i+1)*slots/len(s.nodes)-1
		host, port, _ := net.SplitHostPort(s.Addr)
		err := errors.Join(
			c.ClusterAddSlotsRange(ctx, first, last).Err(),
			c.Do(ctx, "cluster", "set-config-epoch", i+1).Err(),
		)
		if i > 0 {
			err = errors.Join(err, c.ClusterMeet(ctx, host, port).Err())
		}
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	for _, n := range s.nodes {
		c := n.client()
		err := eventually(func() error {
			info, err := c.ClusterInfo(ctx).Result()
			switch {
			case err != nil:
				return err
			case !strings.Contains(info, "cluster_state:ok"), !strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(len(s.nodes))):
				return errors.New("the cluster is not complete")
			}
			return nil
		})
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	return nil
}

// eventually repeats f until it succeeds or patience is over.
func eventually(f func() error) error {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}

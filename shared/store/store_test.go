package store_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/storetest"
)

const password = "test-password"

// nowhere is an address at which nobody listens.
func nowhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestOpenSeesClusters(t *testing.T) {
	for name, tt := range map[string]struct {
		server func(testing.TB) *storetest.Server
		want   bool
	}{"single": {storetest.Single, false}, "shard": {storetest.SingleShard, true}, "cluster": {storetest.Cluster, true}} {
		t.Run(name, func(t *testing.T) {
			c := tt.server(t).Client(t)
			if c.Cluster() != tt.want {
				t.Errorf("Cluster = %v, want %v", c.Cluster(), tt.want)
			}
			for p := range 64 { // one address, all slots
				if err := c.Redis().Set(t.Context(), store.Usage(p), p, 0).Err(); err != nil {
					t.Fatalf("partition %d: %v", p, err)
				}
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	protected := storetest.Own(t, "--requirepass", password)
	single, shard := storetest.Single(t), storetest.SingleShard(t)
	dead := nowhere(t)
	tests := map[string]struct {
		url, want string
		code      fault.Code
	}{
		"nobody there":       {"redis://:" + password + "@" + dead, dead, fault.StoreDown},
		"wrong password":     {"redis://:not-the-password@" + protected.Addr, "WRONGPASS", fault.StoreDown},
		"no password":        {"redis://" + protected.Addr, "NOAUTH", fault.StoreDown},
		"database":           {"redis://" + shard.Addr + "/3", "database 0 only", fault.StoreDown},
		"several, one alone": {"redis://" + single.Addr + "," + dead, "not a cluster", fault.StoreDown},
		"no such database":   {"redis://" + single.Addr + "/4000", "DB index", fault.StoreDown},
		"no URL":             {"", "begin with redis://", fault.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			c, err := store.Open(t.Context(), store.Options{URL: secret.New(tt.url), DialTimeout: 300 * time.Millisecond})
			if err == nil {
				_ = c.Close()
				t.Fatal("Open succeeded")
			}
			if fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %s and %q", err, tt.code, tt.want)
			}
			if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "not-the-password") {
				t.Errorf("the error tells the password: %v", err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("Open took %v", took)
			}
		})
	}
}

func TestOpenWithPasswordDatabaseAndSeveralAddresses(t *testing.T) {
	protected, shard := storetest.Own(t, "--requirepass", password), storetest.SingleShard(t)
	for _, url := range []string{
		"redis://:" + password + "@" + protected.Addr + "/2",
		"redis://default:" + password + "@" + protected.Addr,
		"redis://" + nowhere(t) + "," + shard.Addr,
	} {
		c := storetest.Open(t, store.Options{URL: secret.New(url)})
		if err := c.Redis().Set(t.Context(), "k", "1", 0).Err(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	protected := storetest.Own(t, "--requirepass", password)
	asked := 0
	c := storetest.Open(t, store.Options{
		URL:         secret.New("redis://" + protected.Addr),
		Credentials: func(context.Context) (string, string, error) { asked++; return "default", password, nil },
	})
	if err := c.Redis().Ping(t.Context()).Err(); err != nil || asked == 0 {
		t.Errorf("PING: %v, asked %d times", err, asked)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	addr := terminate(t, server.TLS.Certificates, storetest.Single(t).Addr)
	open := func(roots *x509.CertPool) (*store.Client, error) {
		o := store.Options{URL: secret.New("rediss://" + addr)}
		if roots != nil {
			o.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		}
		return store.Open(t.Context(), o)
	}
	c, err := open(roots)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if c, err := open(nil); err == nil {
		t.Error("a certificate of nobody known is taken")
		_ = c.Close()
	}
}

// terminate speaks TLS before a server.
func terminate(t *testing.T, certificates []tls.Certificate, target string) (addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = client.Close() }()
				server, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				wg.Go(func() {
					_, _ = io.Copy(client, server) // ends with either side
					_ = client.Close()
				})
				_, _ = io.Copy(server, client)
				_ = server.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// counter is a hook that counts commands.
type counter struct{ commands int }

func (*counter) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.commands++; return next(ctx, cmd) }
}
func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.commands += len(cmds); return next(ctx, cmds) }
}

func TestHookLoggerAndDialer(t *testing.T) {
	var logged bytes.Buffer
	hook, dialled := &counter{}, ""
	single := storetest.Single(t)
	c := storetest.Open(t, store.Options{
		URL: secret.New("redis://:" + password + "@elsewhere.invalid:1"), Hook: hook, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		Credentials: func(context.Context) (string, string, error) { return "", "", nil },
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialled = addr
			return new(net.Dialer).DialContext(ctx, network, single.Addr)
		},
	})
	before := hook.commands
	if _, err := c.Run(t.Context(), store.Call{Script: times, Keys: []string{"k"}, Args: []any{1}}); err != nil {
		t.Fatal(err)
	}
	if hook.commands == before || dialled != "elsewhere.invalid:1" {
		t.Errorf("the hook saw %d commands, the dialer was asked for %q", hook.commands-before, dialled)
	}
	if log := logged.String(); !strings.Contains(log, "elsewhere.invalid:1") || strings.Contains(log, password) {
		t.Errorf("logged: %s", log)
	}
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	s := storetest.Own(t)
	c := storetest.Open(t, store.Options{URL: s.URL(), ReadTimeout: 50 * time.Millisecond, Retries: -1})
	call := store.Call{Script: add, Keys: []string{"k"}, Args: []any{1}}
	down := func(what string, errs ...error) {
		t.Helper()
		for _, err := range errs {
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Code != fault.StoreDown || f.RetryAfter <= 0 || f.Cause == nil {
				t.Errorf("%s: %#v, want store_down with its cause and a time to try again", what, err)
			}
		}
	}
	both := func(what string) {
		t.Helper()
		_, err := c.Run(t.Context(), call)
		results := c.RunAll(t.Context(), call, call)
		down(what, err, results[0].Err, results[1].Err)
	}
	s.Pause(t)
	both("paused")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := c.Run(ctx, call)
	down("a deadline", err)
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if _, err := c.Run(cancelled, call); !errors.Is(err, context.Canceled) || fault.CodeOf(err) == fault.StoreDown {
		t.Errorf("cancelled: %v, want context.Canceled as it is", err)
	}
	s.Resume(t)
	s.Kill()
	both("killed")
	s.Restart(t)
	if err := eventually(func() error { _, err := c.Run(t.Context(), call); return err }); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := c.Redis().ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	both("full")
}

func TestReplica(t *testing.T) {
	s := storetest.Own(t, "--replicaof", strings.ReplaceAll(nowhere(t), ":", " "))
	c := s.Client(t)
	_, err := c.Run(t.Context(), store.Call{Script: add, Keys: []string{"k"}, Args: []any{1}})
	if fault.CodeOf(err) != fault.StoreDown || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("a write on a replica: %v, want store_down", err)
	}
}

func eventually(f func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); ; <-tick.C {
		if err := f(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// A server that is not there yet is waited for.
func TestOpenIsPatient(t *testing.T) {
	s := storetest.Own(t)
	s.Kill()
	began := time.Now()
	if _, err := store.Open(t.Context(), store.Options{URL: s.URL(), Patience: 500 * time.Millisecond}); fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("opened, or %v", err)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("gave up after %s", took)
	}
	opened := make(chan error, 1)
	go func() {
		c, err := store.Open(t.Context(), store.Options{URL: s.URL(), Patience: time.Minute})
		if err == nil {
			err = c.Close()
		}
		opened <- err
	}()
	s.Restart(t)
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

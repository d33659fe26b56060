// Package store is the connection to Redis: it opens a client that fits the
// server, names the keys and runs the Lua scripts in which every change to the
// ledger, the accounts and the records happens.
//
// A script touches only the keys in KEYS, all of one slot, so that the same
// script runs on a single node, on Redis Cluster and on ElastiCache Serverless;
// tests open their clients with Options.Guard, which makes a script that breaks
// this rule fail on every server. The adapters that own the scripts live in the
// folders below; package embedded offers the same server inside the process.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"sluice/shared/fault"
	"sluice/shared/secret"
)

// Defaults of Options.
const (
	DefaultDialTimeout = time.Second // to connect, TLS included
	DefaultTimeout     = time.Second // to write a command, to read its reply
	// DefaultPoolTimeout is how long a command may wait for a free connection: a
	// burst of calls is no sign that the server is down.
	DefaultPoolTimeout = 3 * time.Second
)

const (
	connLifetime = 11 * time.Hour       // an IAM-authenticated connection is cut after 12 h
	connJitter   = connLifetime / 20    // spreads the reconnects of a fleet, in both directions
	minBackoff   = 4 * time.Millisecond // between the repeats of a command
	maxBackoff   = 64 * time.Millisecond
	minPool      = 32 // connections
)

// StartPatience is Options.Patience for a process that starts.
const StartPatience = 10 * time.Second

// Options say which server to open and how. Only URL is required.
type Options struct {
	// URL is redis:// or rediss:// (TLS) with optional user, password and
	// database number, and one or more host:port separated by commas.
	URL secret.Value
	// Credentials, when set, gives user and password for each new connection
	// (such as an IAM token) in place of those in URL.
	Credentials func(ctx context.Context) (user, password string, err error)
	// TLS replaces the default client settings of rediss.
	TLS *tls.Config
	// Guard makes every script fail that touches a key outside KEYS, calls a
	// command the guard does not know, or increments by an inexact number. It
	// is for tests.
	Guard bool
	// Hook, when set, sees every command.
	Hook redis.Hook
	// Logger receives what an operator should know; nil discards it.
	Logger *slog.Logger
	// Dialer replaces the network. With rediss it returns a connection that
	// already speaks TLS.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

	DialTimeout  time.Duration // 0 = DefaultDialTimeout
	ReadTimeout  time.Duration // 0 = DefaultTimeout, negative = none
	WriteTimeout time.Duration // 0 = DefaultTimeout, negative = none
	PoolTimeout  time.Duration // 0 = DefaultPoolTimeout
	PoolSize     int           // connections per node; 0 = 10 × GOMAXPROCS, at least 32
	Retries      int           // repeats of a command whose reply was lost; 0 = 3, negative = none

	// Patience is how long Open goes on trying while nobody answers: a store that
	// fails over, or a start on a busy machine, takes a moment. 0 = it tries once.
	Patience time.Duration
}

// Client is an open connection pool. It is safe for concurrent use.
type Client struct {
	rdb     redis.UniversalClient
	addr    string // for errors: hosts and ports, no password
	guard   bool
	cluster bool
}

// Open connects to the server, asks it whether it is a cluster (one address may
// be) and returns the client that fits. It returns a fault.Invalid for a bad
// URL and a fault.StoreDown that names the address when the server does not
// answer or refuses the credentials.
func Open(ctx context.Context, o Options) (*Client, error) {
	until := time.Now().Add(o.Patience)
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		c, err := open(ctx, o)
		if err == nil || fault.CodeOf(err) != fault.StoreDown || answered(err) || time.Now().Add(wait).After(until) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}

const firstWait, longestWait = 100 * time.Millisecond, time.Second // between two tries of Open

// answered says whether an error is what a server said: it will say so again.
func answered(err error) bool {
	_, reply := errors.AsType[redis.Error](err)
	return reply
}

func open(ctx context.Context, o Options) (*Client, error) {
	at, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	settings := at.universal(o)
	c := &Client{addr: strings.Join(at.hosts, ","), guard: o.Guard}
	if c.cluster, err = probe(ctx, settings); err != nil {
		return nil, openError(c.addr, err)
	}
	switch {
	case c.cluster && at.db != 0:
		return nil, openError(c.addr, errors.New("a cluster has database 0 only"))
	case !c.cluster && len(at.hosts) > 1:
		return nil, openError(c.addr, errors.New("several addresses are given, but the server is not a cluster"))
	}
	c.rdb = connect(settings, c.cluster)
	if o.Hook != nil {
		c.rdb.AddHook(o.Hook)
	}
	if err := c.rdb.Ping(ctx).Err(); err != nil {
		return nil, openError(c.addr, errors.Join(err, c.rdb.Close()))
	}
	if o.Logger != nil {
		o.Logger.InfoContext(ctx, "store opened", "address", c.addr, "cluster", c.cluster)
	}
	return c, nil
}

// connect is the client of a single server or of a cluster.
func connect(u *redis.UniversalOptions, cluster bool) redis.UniversalClient {
	if !cluster {
		return redis.NewClient(u.Simple())
	}
	o := u.Cluster()
	// A dead primary says nothing of the one that took its place: the others are
	// asked, often enough that open calls outlive a failover.
	o.ClusterStateReloadInterval = topologyEvery
	return redis.NewClusterClient(o)
}

// topologyEvery is how often the nodes of a cluster are asked for.
const topologyEvery = 5 * time.Second

// LogTo hands what go-redis itself has to say to a logger; without it, lines of its
// own go to standard error. It is a setting of the whole process: for mains, before
// they open a store.
func LogTo(l *slog.Logger) { redis.SetLogger(lines{l}) }

// lines are what go-redis says. It formats addresses and causes, no command.
type lines struct{ log *slog.Logger }

func (l lines) Printf(ctx context.Context, format string, v ...any) {
	l.log.WarnContext(ctx, "redis client", "message", fmt.Sprintf(format, v...))
}

// Close closes every connection.
func (c *Client) Close() error { return c.rdb.Close() }

// Redis is the client itself, for plain commands. Errors of its commands are
// turned into faults by Fault.
func (c *Client) Redis() redis.UniversalClient { return c.rdb }

// EachNode calls fn for every node that has keys of its own, one at a time, until
// it errs: a scan sees the keys of one node only.
func (c *Client) EachNode(ctx context.Context, fn func(ctx context.Context, node redis.Cmdable) error) error {
	cluster, is := c.rdb.(*redis.ClusterClient)
	if !is {
		return fn(ctx, c.rdb)
	}
	var mu sync.Mutex // ForEachMaster calls for all at once
	return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		return fn(ctx, node)
	})
}

// Cluster says whether the server is a cluster.
func (c *Client) Cluster() bool { return c.cluster }

func openError(addr string, cause error) error {
	return storeDown(fmt.Errorf("open %s: %w", addr, cause))
}

// universal is the settings of go-redis for an address and options.
func (a address) universal(o Options) *redis.UniversalOptions {
	u := &redis.UniversalOptions{
		Addrs: a.hosts, DB: a.db, Username: a.user, Password: a.password,
		CredentialsProviderContext: o.Credentials,
		Dialer:                     o.Dialer,
		DialTimeout:                orDefault(o.DialTimeout, DefaultDialTimeout),
		ReadTimeout:                orDefault(o.ReadTimeout, DefaultTimeout),
		WriteTimeout:               orDefault(o.WriteTimeout, DefaultTimeout),
		PoolTimeout:                orDefault(o.PoolTimeout, DefaultPoolTimeout),
		ContextTimeoutEnabled:      true,
		// A failed dial is repeated with its command, not within the pool.
		DialerRetries:         1,
		MaxRetries:            orDefault(o.Retries, 3),
		MinRetryBackoff:       minBackoff,
		MaxRetryBackoff:       maxBackoff,
		PoolSize:              orDefault(o.PoolSize, max(10*runtime.GOMAXPROCS(0), minPool)),
		PipelinePoolSize:      -1, // pipelines share the pool: half the idle connections
		ConnMaxLifetime:       connLifetime,
		ConnMaxLifetimeJitter: connJitter,
		DisableIdentity:       true, // a command less for each new connection
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if a.tls {
		u.TLSConfig = o.TLS
		if u.TLSConfig == nil {
			u.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	return u
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// probe asks the first address that answers whether it is a cluster.
func probe(ctx context.Context, u *redis.UniversalOptions) (cluster bool, err error) {
	for _, host := range u.Addrs {
		one := u.Simple()
		one.Addr, one.PoolSize = host, 1
		one.DB = 0 // a cluster refuses to select another, which is told apart later
		cluster, err = isCluster(ctx, one)
		if err == nil {
			return cluster, nil
		}
	}
	return false, err
}

func isCluster(ctx context.Context, one *redis.Options) (cluster bool, err error) {
	rdb := redis.NewClient(one)
	defer func() { err = errors.Join(err, rdb.Close()) }()
	if err := rdb.Ping(ctx).Err(); err != nil {
		return false, err
	}
	info, err := rdb.Info(ctx, "cluster").Result()
	if err == nil && strings.Contains(info, "cluster_enabled:") {
		return strings.Contains(info, "cluster_enabled:1"), nil
	}
	state, err := rdb.ClusterInfo(ctx).Result()
	if err == nil {
		return strings.Contains(state, "cluster_state:"), nil
	}
	if _, reply := errors.AsType[redis.Error](err); reply {
		// A server that has no such command, or has it disabled, is no cluster.
		return false, nil
	}
	return false, err
}

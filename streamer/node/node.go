// Package node is one process of Sluice: relay, admin API and jobs over a store.
// The mains above it choose what they stand on: an embedded store and files on a
// developer's machine, ElastiCache, KMS and S3 on AWS.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"sluice/shared/admin"
	"sluice/shared/admission"
	"sluice/shared/config"
	"sluice/shared/credential"
	"sluice/shared/egress"
	"sluice/shared/emf"
	"sluice/shared/host"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/pricing"
	"sluice/shared/protocol"
	"sluice/shared/protocol/anthropic"
	"sluice/shared/provider/all"
	"sluice/shared/secret"
	"sluice/shared/store"
	"sluice/shared/store/accounts"
	"sluice/shared/store/ledger"
	"sluice/shared/store/records"
	"sluice/shared/store/rollup"
	"sluice/shared/vault"
	"sluice/streamer/relay"
)

// Options make a Node. All up to Logger are required, but one of AdminToken and
// AdminSum.
type Options struct {
	Settings  *config.Config
	Store     store.Options
	Master    vault.Wrapper // seals credentials and the config log
	ConfigLog ConfigLog
	Late      Late
	// Archive takes usage records for good, and has this process roll them up; nil =
	// another one does both.
	Archive rollup.Archive
	// AdminToken opens the admin API, or the token whose SHA-256 in hex is AdminSum.
	AdminToken secret.Value
	AdminSum   string
	Logger     *slog.Logger

	Metrics io.Writer                         // takes figures for CloudWatch, each SLUICE_EMF_EVERY
	Traced  func(http.Handler) http.Handler   // around the relay; nil = not traced
	Trace   func(context.Context) relay.Trace // of a request that Traced let through; nil = none
}

// Late is the queue of settlements that the store did not take.
type Late interface {
	relay.Late
	// Drain applies what is queued and says how much that was. It stops at an error
	// of apply that is fault.StoreDown.
	Drain(ctx context.Context, apply func(context.Context, admission.Settlement) error) (int, error)
}

const (
	// metricNamespace and metricService are what metrics in CloudWatch are found by;
	// the deployment scales on one of them.
	metricNamespace, metricService = "Sluice", "relay"
)

// Node is a process's parts, opened.
type Node struct {
	o       Options
	ready   *host.Readiness
	closers []func() error // run in reverse

	records  *records.Store
	sealer   *credential.Source
	relay    *relay.Relay
	sweeper  *ledger.Sweeper
	accounts *accounts.Store
	ledger   *ledger.Ledger
	emitter  *emf.Emitter   // nil = none
	roller   *rollup.Roller // nil = none
}

// Open connects to the store and wires the parts.
func Open(ctx context.Context, o Options) (_ *Node, err error) {
	n := &Node{o: o, ready: new(host.Readiness)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	client, err := store.Open(ctx, o.Store)
	if err != nil && !o.Settings.RedisURL.Empty() {
		return nil, fmt.Errorf("SLUICE_REDIS_URL: %w", err)
	}
	if err != nil {
		return nil, err
	}
	n.closers = append(n.closers, client.Close)
	prices, err := readPrices(o.Settings.Prices)
	if err != nil {
		return nil, err
	}
	ways := egress.New(egress.Options{})
	n.closers = append(n.closers, func() error { ways.CloseIdle(); return nil })

	sealing := vault.New(vault.Options{Wrapper: o.Master})
	n.records = records.New(records.Options{Client: client, Vault: sealing, Log: o.ConfigLog})
	n.sealer = credential.New(sealing)
	n.ledger, n.accounts = ledger.New(client), accounts.New(client)
	n.sweeper = ledger.NewSweeper(n.ledger, n.accounts, o.Logger)
	if o.Archive != nil {
		n.roller = rollup.New(rollup.Options{Client: client, Archive: o.Archive, Logger: o.Logger})
	}
	n.relay = n.newRelay(prices, ways)
	if o.Settings.EMFEvery > 0 {
		n.emitter, err = newEmitter(n.relay, o.Metrics)
	}
	return n, err
}

// newEmitter writes those gauges of the relay that have a name in CloudWatch.
func newEmitter(rl *relay.Relay, to io.Writer) (*emf.Emitter, error) {
	var gauges []emf.Gauge
	for _, g := range rl.Gauges() {
		if g.CloudWatch != "" {
			gauges = append(gauges, emf.Gauge{Name: g.CloudWatch, Unit: emf.Unit(g.Unit), Read: g.Read})
		}
	}
	return emf.New(to, metricNamespace, metricService, time.Now, gauges...)
}

func (n *Node) newRelay(prices *pricing.Table, ways *egress.Transports) *relay.Relay {
	c := n.o.Settings
	return relay.New(relay.Options{
		Fronts: []protocol.Front{anthropic.Front{}},
		Backs:  map[llm.Protocol]protocol.Back{llm.Anthropic: anthropic.Back{}},
		Gate:   admission.New(admission.Options{Store: n.ledger, Sweep: n.sweeper.Partition, Logger: n.o.Logger}),
		Router: pool.New(pool.Options{
			Store: n.accounts, Providers: all.Providers(), Family: prices.Family, Attempts: c.Attempts, Logger: n.o.Logger,
		}),
		Closer: n.ledger, Ledger: reader{n.ledger, n.records.Usage()}, Credentials: n.sealer, Clients: ways,
		Prices: prices, Ready: n.ready, QueryKey: c.QueryKey, Logger: n.o.Logger, Trace: n.o.Trace, Late: n.o.Late,
		Limits: relay.Limits{
			Body: c.MaxBody, BodyMemory: c.BodyMemory, Headers: c.HeaderTimeout, Idle: c.StreamIdle,
			Stream: c.StreamMax, Drain: orNone(c.DrainTimeout), Ping: orNone(c.PingEvery),
		},
	})
}

// Close gives everything back, last opened first.
func (n *Node) Close() error {
	var err error
	for i := len(n.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, n.closers[i]())
	}
	return err
}

// Records are the keys, users, teams and accounts.
func (n *Node) Records() *records.Store { return n.records }

// Sealer seals the credentials of accounts.
func (n *Node) Sealer() *credential.Source { return n.sealer }

// Serve runs handlers and jobs until drain ends and the requests in flight have,
// too; abort cuts that short. listening is told the address; it may be nil.
func (n *Node) Serve(drain, abort context.Context, listening func(net.Addr)) error {
	listener, err := new(net.ListenConfig).Listen(drain, "tcp", n.o.Settings.Listen)
	if err != nil {
		return fmt.Errorf("SLUICE_LISTEN=%s: %w", n.o.Settings.Listen, err)
	}
	jobs := []func(context.Context){n.sweeper.Run}
	if n.roller != nil {
		jobs = append(jobs, n.roller.Run)
	}
	stop, err := n.start(drain, jobs...)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer stop()
	n.o.Logger.InfoContext(drain, "listening", "address", listener.Addr().String())
	return host.Run(drain, host.Options{
		Listener: listener, Listening: listening,
		Drain: n.o.Settings.ShutdownTimeout, Abort: abort, Ready: n.ready, Logger: n.o.Logger,
	}, n.Handler(onLoopback(listener.Addr())))
}

// onLoopback says whether only this machine reaches an address.
func onLoopback(at net.Addr) bool {
	tcp, ok := at.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// ServeLambda takes requests from the Lambda runtime. It returns only if that ends.
// Jobs run while a request does; the sweep has a function of its own. SLUICE_LISTEN
// means nothing here: requests are for whatever name the function is reached by.
func (n *Node) ServeLambda(ctx context.Context) error {
	stop, err := n.start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return host.Run(ctx, host.Options{Lambda: true, Logger: n.o.Logger}, n.Handler(false))
}

// start runs the jobs, with further ones, and serves the metrics, until stop.
func (n *Node) start(ctx context.Context, more ...func(context.Context)) (stop func(), err error) {
	closeMetrics, err := n.serveMetrics()
	if err != nil {
		return nil, err
	}
	jobs, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	for _, job := range append(more, n.relay.Run, n.measure, n.drain) {
		running.Go(func() { job(jobs) })
	}
	return func() {
		cancel()
		running.Wait()
		closeMetrics()
	}, nil
}

// drain applies late settlements, each beat, until ctx ends.
func (n *Node) drain(ctx context.Context) {
	tick := time.NewTicker(admission.BeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		applied, err := n.o.Late.Drain(ctx, n.ledger.Settle)
		if applied > 0 {
			n.o.Logger.InfoContext(ctx, "late settlements were made", "calls", applied)
		}
		if err != nil && ctx.Err() == nil {
			n.o.Logger.WarnContext(ctx, "late settlements wait", "error", err)
		}
	}
}

// measure writes metrics until ctx ends.
func (n *Node) measure(ctx context.Context) {
	if n.emitter == nil {
		return
	}
	if err := n.emitter.Run(ctx, n.o.Settings.EMFEvery); err != nil {
		n.o.Logger.WarnContext(ctx, "metrics not written", "error", err)
	}
}

// Handler is everything that is served to clients and operators. On loopback the
// admin API answers to names of this machine only.
func (n *Node) Handler(loopback bool) http.Handler {
	mux := http.NewServeMux()
	probes := host.Probes(n.ready)
	mux.Handle("GET /healthz", probes)
	mux.Handle("GET /readyz", probes)
	mux.Handle(admin.Prefix+"/", n.admin(loopback))
	mux.Handle("/", n.traced(n.relay.Handler()))
	return mux
}

// readPrices reads the price file of the settings, or the built-in prices.
func readPrices(path string) (_ *pricing.Table, err error) {
	if path == "" {
		return pricing.Default()
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("SLUICE_PRICES: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return pricing.Load(f)
}

// orNone is a setting as a limit of the relay, where zero would be the default.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func (n *Node) traced(h http.Handler) http.Handler {
	if n.o.Traced == nil {
		return h
	}
	return n.o.Traced(h)
}

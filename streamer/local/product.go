package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice/shared/admin"
	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/config"
	"sluice/shared/credential"
	"sluice/shared/egress"
	"sluice/shared/host"
	"sluice/shared/llm"
	"sluice/shared/pool"
	"sluice/shared/pricing"
	"sluice/shared/protocol"
	"sluice/shared/protocol/anthropic"
	"sluice/shared/provider/all"
	"sluice/shared/secret"
	"sluice/shared/simulator"
	"sluice/shared/store"
	"sluice/shared/store/accounts"
	"sluice/shared/store/embedded"
	"sluice/shared/store/ledger"
	"sluice/shared/store/records"
	"sluice/shared/vault"
	"sluice/streamer/relay"
)

// product is everything that the process opened.
type product struct {
	settings *config.Config
	log      *slog.Logger
	ready    *host.Readiness
	closers  []func() error // run in reverse

	records    *records.Store
	sealer     *credential.Source
	relay      *relay.Relay
	sweeper    *ledger.Sweeper
	accounts   *accounts.Store
	ledger     *ledger.Ledger
	adminToken secret.Value // only when it was made just now, or set; else empty
	adminSum   string       // digest of the admin token
	simulator  string       // base URL; "" = none
}

// open wires the product.
func open(ctx context.Context, c *config.Config, log *slog.Logger) (_ *product, err error) {
	p := &product{settings: c, log: log, ready: new(host.Readiness)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("SLUICE_DATA_DIR: %w", err)
	}
	client, err := p.store(ctx)
	if err != nil {
		return nil, err
	}
	master, err := vault.OpenLocal(filepath.Join(c.DataDir, "master.key"))
	if err != nil {
		return nil, err
	}
	sealing := vault.New(vault.Options{Wrapper: master})
	changes, err := archive.OpenFile(filepath.Join(c.DataDir, "config"))
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, changes.Close)
	if torn := changes.Torn(); torn > 0 {
		log.WarnContext(ctx, "the config log ended within an entry that was never acknowledged; it was removed", "bytes", torn)
	}
	prices, err := readPrices(c.Prices)
	if err != nil {
		return nil, err
	}
	ways := egress.New(egress.Options{})
	p.closers = append(p.closers, func() error { ways.CloseIdle(); return nil })

	p.records = records.New(records.Options{Client: client, Vault: sealing, Log: changes})
	p.sealer = credential.New(sealing)
	p.ledger, p.accounts = ledger.New(client), accounts.New(client)
	p.sweeper = ledger.NewSweeper(p.ledger, p.accounts, log)
	p.relay = relay.New(relay.Options{
		Fronts: []protocol.Front{anthropic.Front{}},
		Backs:  map[llm.Protocol]protocol.Back{llm.Anthropic: anthropic.Back{}},
		Gate:   admission.New(admission.Options{Store: p.ledger, Sweep: p.sweeper.Partition, Logger: log}),
		Router: pool.New(pool.Options{
			Store: p.accounts, Providers: all.Providers(), Family: prices.Family, Attempts: c.Attempts, Logger: log,
		}),
		Closer: p.ledger, Ledger: reader{p.ledger, p.records.Usage()}, Credentials: p.sealer, Clients: ways,
		Prices: prices, Ready: p.ready, QueryKey: c.QueryKey, Logger: log,
		Limits: relay.Limits{
			Body: c.MaxBody, BodyMemory: c.BodyMemory, Headers: c.HeaderTimeout, Idle: c.StreamIdle,
			Stream: c.StreamMax, Drain: orNone(c.DrainTimeout), Ping: orNone(c.PingEvery),
		},
	})
	return p, p.simulate(ctx)
}

// store opens the store that the settings name.
func (p *product) store(ctx context.Context) (*store.Client, error) {
	o := store.Options{URL: p.settings.RedisURL, Logger: p.log}
	if p.settings.RedisURL.Empty() {
		e, err := embedded.Open(ctx, p.settings.DataDir, p.log)
		if err != nil {
			return nil, err
		}
		p.closers = append(p.closers, e.Close)
		o = e.Options()
	}
	client, err := store.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, client.Close)
	return client, nil
}

// simulate starts the stand-in vendor on a port of its own.
func (p *product) simulate(ctx context.Context) error {
	if !p.settings.Simulator {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	srv := &http.Server{Handler: simulator.New(simulator.Options{Speed: simulatorSpeed}), ReadHeaderTimeout: headerTimeout}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("simulator stopped", "error", err)
		}
	})
	p.simulator = "http://" + l.Addr().String()
	p.closers = append(p.closers, func() error {
		err := srv.Close()
		serving.Wait()
		return err
	})
	return nil
}

// close gives everything back, last opened first.
func (p *product) close() error {
	var err error
	for i := len(p.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, p.closers[i]())
	}
	return err
}

// serve runs the handlers and the jobs until drain ends and the requests in flight
// have, too; abort cuts that short.
func (p *product) serve(drain, abort context.Context, listening func(net.Addr)) error {
	jobs, stop := context.WithCancel(context.WithoutCancel(drain))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { p.relay.Run(jobs) })
	running.Go(func() { p.sweeper.Run(jobs) })
	closeMetrics, err := p.serveMetrics()
	if err != nil {
		return err
	}
	defer closeMetrics()
	return host.Run(drain, host.Options{
		Addr: p.settings.Listen, Listening: listening,
		Drain: p.settings.ShutdownTimeout, Abort: abort, Ready: p.ready, Logger: p.log,
	}, p.handler())
}

// handler is everything that is served on SLUICE_LISTEN.
func (p *product) handler() http.Handler {
	mux := http.NewServeMux()
	probes := host.Probes(p.ready)
	mux.Handle("GET /healthz", probes)
	mux.Handle("GET /readyz", probes)
	mux.Handle(admin.Prefix+"/", p.admin())
	mux.Handle("/", p.relay.Handler())
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

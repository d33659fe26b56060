package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice/shared/archive"
	"sluice/shared/config"
	"sluice/shared/late"
	"sluice/shared/secret"
	"sluice/shared/simulator"
	"sluice/shared/store"
	"sluice/shared/store/embedded"
	"sluice/shared/vault"
	"sluice/streamer/node"
)

const headerTimeout = 10 * time.Second

// product is everything that the process opened.
type product struct {
	*node.Node
	settings *config.Config
	log      *slog.Logger
	closers  []func() error // run in reverse

	madeToken secret.Value // of the admin API, when it was made just now
	simulator string       // base URL; "" = none
}

// open opens the files in the data directory, the store and the node over them.
func open(ctx context.Context, c *config.Config, log *slog.Logger) (_ *product, err error) {
	p := &product{settings: c, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	o, err := p.ground(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.authorize(&o); err != nil {
		return nil, err
	}
	if p.Node, err = node.Open(ctx, o); err != nil {
		return nil, err
	}
	p.closers = append(p.closers, p.Close)
	return p, p.simulate(ctx)
}

// restore rebuilds the records in the store from the config log.
func restore(ctx context.Context, c *config.Config, log *slog.Logger, out io.Writer) (err error) {
	p := &product{settings: c, log: log}
	defer func() { err = errors.Join(err, p.close()) }()
	o, err := p.ground(ctx)
	if err != nil {
		return err
	}
	n, err := node.Restore(ctx, o)
	if err != nil {
		return fmt.Errorf("restored %d entries of the config log, then: %w", n, err)
	}
	_, err = fmt.Fprintf(out, "restored %d entries of the config log\n", n)
	return err
}

// ground is what the node stands on: store, and files in the data directory.
func (p *product) ground(ctx context.Context) (o node.Options, err error) {
	c := p.settings
	if err := c.Local(); err != nil {
		return o, err
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return o, fmt.Errorf("SLUICE_DATA_DIR: %w", err)
	}
	o = node.Options{Settings: c, Logger: p.log, Metrics: os.Stdout}
	if o.Store, err = p.store(ctx); err != nil {
		return o, err
	}
	if o.Master, err = vault.OpenLocal(filepath.Join(c.DataDir, "master.key")); err != nil {
		return o, err
	}
	changes, err := archive.OpenFile(filepath.Join(c.DataDir, "config"))
	if err != nil {
		return o, err
	}
	p.closers = append(p.closers, changes.Close)
	o.ConfigLog = changes
	queue, err := late.OpenFile(filepath.Join(c.DataDir, "late"), p.log)
	if err != nil {
		return o, err
	}
	p.closers = append(p.closers, queue.Close)
	o.Late = queue
	if o.Archive, err = archive.OpenFolder(filepath.Join(c.DataDir, "archive")); err != nil {
		return o, err
	}
	if torn := changes.Torn(); torn > 0 {
		p.log.WarnContext(ctx, "the config log ended within an entry that was never acknowledged; it was removed", "bytes", torn)
	}
	return o, nil
}

// store says how to open the store that the settings name.
func (p *product) store(ctx context.Context) (store.Options, error) {
	if !p.settings.RedisURL.Empty() {
		return store.Options{URL: p.settings.RedisURL, Logger: p.log, Patience: store.StartPatience}, nil
	}
	e, err := embedded.Open(ctx, p.settings.DataDir, p.log)
	if err != nil {
		return store.Options{}, err
	}
	p.closers = append(p.closers, e.Close)
	return e.Options(), nil
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

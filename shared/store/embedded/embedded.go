// Package embedded is a Redis within the process, for running everything with
// nothing installed: the same scripts run on miniredis, and what they change is
// written behind to a file, so that data survives a restart and at most a second
// of it is lost when the process is killed.
//
// A hook notes the keys of every command. Twice a second the noted keys are
// copied while no command runs, which makes the copy a consistent cut, and go
// into one fsynced transaction of a bbolt file.
//
// Keys that expire are not supported; the ledger has none.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"sluice/shared/fault"
	"sluice/shared/secret"
	"sluice/shared/store"
)

const (
	// flushEvery is how often what changed is written to the file.
	flushEvery = 500 * time.Millisecond
	// fileName is the name of the database within the data directory.
	fileName = "store.db"
	// lockPatience is how long to wait for another process to let go of the file.
	lockPatience = time.Second
)

// Store is a running embedded Redis.
type Store struct {
	redis    *miniredis.Miniredis
	db       *bolt.DB
	log      *slog.Logger
	password secret.Value

	commands sync.RWMutex // held shared by each command, whole while keys are copied
	closed   bool         // guarded by commands

	mu    sync.Mutex
	dirty map[string]struct{} // keys that may differ from the file
	err   error               // of the last flush

	streams map[string]span // what the file holds of each stream; of the flush alone

	closing  sync.Once
	closeErr error
	stop     chan struct{}
	stopped  chan struct{}
}

// Open starts the store with what the data directory holds; the directory is
// created if need be. It errs with fault.Conflict when another process uses it.
// A nil logger discards.
func Open(ctx context.Context, dir string, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	db, err := openFile(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		redis: miniredis.NewMiniRedis(), db: db, log: log, password: secret.New(rand.Text()),
		dirty: make(map[string]struct{}), streams: make(map[string]span),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	s.redis.RequireAuth(s.password.Reveal())
	if err := s.redis.StartAddr("127.0.0.1:0"); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded: %w", err), db.Close())
	}
	keys, err := s.load()
	if err != nil {
		s.redis.Close()
		return nil, errors.Join(fmt.Errorf("embedded: read %s: %w", db.Path(), err), db.Close())
	}
	s.log.InfoContext(ctx, "embedded store opened", "file", db.Path(), "keys", keys)
	go s.run()
	return s, nil
}

func openFile(dir string) (*bolt.DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	path := filepath.Join(dir, fileName)
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockPatience})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fault.Wrap(fault.Conflict, err, "data directory %s is in use by another sluice; stop it, or set SLUICE_DATA_DIR", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: open %s: %w", path, err)
	}
	return db, nil
}

// Options are how to connect to the store. A client without their hook would
// change keys that are never written.
func (s *Store) Options() store.Options {
	return store.Options{
		URL:  secret.New("redis://:" + s.password.Reveal() + "@" + s.redis.Addr()),
		Hook: hook{s},
		// The server is in this process, so that an answer always comes; and a
		// command that is not waited for could run while keys are copied.
		ReadTimeout: -1,
	}
}

// Err is why the last flush failed; nil when what changed is in the file. A
// failed flush is tried again with the next.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close writes what is left and stops the store; commands that come later fail.
// It returns the error of that last write. Closing again returns the same.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.stop)
		<-s.stopped
		s.commands.Lock()
		s.closed = true
		s.commands.Unlock()
		err := s.flush()
		s.redis.Close()
		s.closeErr = errors.Join(err, s.db.Close())
	})
	return s.closeErr
}

func (s *Store) run() {
	defer close(s.stopped)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			if err := s.flush(); err != nil {
				s.log.Error("the embedded store cannot write its file; it will try again", "error", err)
			}
		}
	}
}

// flush writes the noted keys in one transaction. They stay noted when it fails.
func (s *Store) flush() error {
	err := s.writeDirty()
	if errors.Is(err, errThinned) {
		// The save forgot what the file holds of that stream: now all of it is copied.
		err = s.writeDirty()
	}
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	return err
}

func (s *Store) writeDirty() error {
	keys, copies, err := s.cut()
	if err == nil && len(copies) > 0 {
		err = s.save(copies)
	}
	if err != nil {
		s.mu.Lock()
		for key := range keys {
			s.dirty[key] = struct{}{}
		}
		s.mu.Unlock()
	}
	return err
}

// cut takes the noted keys and copies their values while no command runs.
func (s *Store) cut() (keys map[string]struct{}, copies map[string]*image, err error) {
	s.mu.Lock()
	idle := len(s.dirty) == 0
	s.mu.Unlock()
	if idle {
		return nil, nil, nil
	}
	s.commands.Lock()
	defer s.commands.Unlock()
	s.mu.Lock()
	keys, s.dirty = s.dirty, make(map[string]struct{}, len(s.dirty))
	s.mu.Unlock()
	copies = make(map[string]*image, len(keys))
	for key := range keys {
		if copies[key], err = s.copyKey(key); err != nil {
			return keys, nil, err
		}
	}
	return keys, copies, nil
}

// Package embedded is a Redis within the process, for running everything with
// nothing installed: the same scripts run on miniredis, and what they change is
// written behind to a file, so that data survives a restart and at most a second
// of it is lost when the process is killed.
//
// A hook notes the keys of every command. Twice a second the noted keys are
// copied while no command runs, which makes the copy a consistent cut, and go
// into one fsynced transaction of a bbolt file.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"sluice/shared/fault"
	"sluice/shared/secret"
	"sluice/shared/store"
)

const (
	// flushEvery is how often what changed is written to the file.
	flushEvery = 500 * time.Millisecond
	// file is the name of the database within the data directory.
	file = "store.db"
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

	mu    sync.Mutex
	dirty map[string]bool

	saved   map[string]image // what the file holds, to skip what did not change
	stop    chan struct{}
	stopped chan struct{}
}

// Open starts the store with what the data directory holds; the directory is
// created if need be. It errs with fault.Conflict when another process uses it.
func Open(ctx context.Context, dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	db, err := bolt.Open(filepath.Join(dir, file), 0o600, &bolt.Options{Timeout: lockPatience})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fault.Wrap(fault.Conflict, err, "the data directory %s is in use by another sluice; stop it, or set SLUICE_DATA_DIR", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: open %s: %w", filepath.Join(dir, file), err)
	}
	s := &Store{
		redis: miniredis.NewMiniRedis(), db: db, log: log, password: secret.New(rand.Text()),
		dirty: make(map[string]bool), saved: make(map[string]image),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.redis.RequireAuth(s.password.Reveal())
	if err := s.load(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := s.redis.StartAddr("127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.log.InfoContext(ctx, "embedded store opened", "file", filepath.Join(dir, file), "keys", len(s.saved))
	go s.run()
	return s, nil
}

// Options are how to connect to the store.
func (s *Store) Options() store.Options {
	return store.Options{
		URL:  secret.New("redis://:" + s.password.Reveal() + "@" + s.redis.Addr()),
		Hook: hook{s},
		// Everything is in this process: an answer that takes long is still coming.
		ReadTimeout: 30 * time.Second,
	}
}

// Close writes what is left and stops the store. No command may run any more.
func (s *Store) Close() error {
	close(s.stop)
	<-s.stopped
	err := s.flush()
	s.redis.Close()
	return errors.Join(err, s.db.Close())
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
	s.commands.Lock()
	s.mu.Lock()
	keys := s.dirty
	s.dirty = make(map[string]bool)
	s.mu.Unlock()
	images := make(map[string]image, len(keys))
	var err error
	for key := range keys {
		var copied image
		if copied, err = s.copy(key); err != nil {
			break
		}
		if !copied.same(s.saved[key]) {
			images[key] = copied
		}
	}
	s.commands.Unlock()
	if err == nil && len(images) > 0 {
		err = s.save(images)
	}
	if err != nil {
		s.note(keys)
	}
	return err
}

func (s *Store) note(keys map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range keys {
		s.dirty[key] = true
	}
}

// hook notes the keys of commands before they run.
type hook struct{ store *Store }

func (h hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.store.commands.RLock()
		defer h.store.commands.RUnlock()
		h.store.note(changed(cmd))
		return next(ctx, cmd)
	}
}

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.store.commands.RLock()
		defer h.store.commands.RUnlock()
		h.store.note(changed(cmds...))
		return next(ctx, cmds)
	}
}

// reads are commands that change nothing.
var reads = map[string]bool{
	"auth": true, "client": true, "cluster": true, "dbsize": true, "echo": true, "exists": true, "get": true, "hello": true,
	"hexists": true, "hget": true, "hgetall": true, "hkeys": true, "hlen": true, "hmget": true, "info": true, "mget": true,
	"ping": true, "scard": true, "script": true, "select": true, "sismember": true, "smembers": true, "time": true,
	"type": true, "xlen": true, "xrange": true, "xrevrange": true, "zcard": true, "zcount": true, "zrange": true,
	"zrangebyscore": true, "zrevrange": true, "zscore": true,
}

// changed are the keys that commands may change: those of a script, all of a
// deletion, else the first argument.
func changed(cmds ...redis.Cmder) map[string]bool {
	keys := make(map[string]bool)
	for _, cmd := range cmds {
		args := cmd.Args()
		name := cmd.Name()
		switch {
		case reads[name] || len(args) < 2:
			continue
		case name == "eval" || name == "evalsha":
			n, _ := args[2].(int)
			args = args[3:min(3+n, len(args))]
		case name == "del" || name == "unlink":
			args = args[1:]
		default:
			args = args[1:2]
		}
		for _, a := range args {
			keys[fmt.Sprint(a)] = true
		}
	}
	return keys
}

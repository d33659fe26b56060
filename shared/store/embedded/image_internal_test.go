package embedded

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	bolt "go.etcd.io/bbolt"

	"sluice/shared/store"
)

func FuzzDecode(f *testing.F) {
	for _, i := range []image{
		{kind: str, texts: []string{"text"}},
		{kind: hash, texts: []string{"field", "value"}},
		{kind: sortedSet, texts: []string{"a", "b"}, scores: []float64{1, 2.5}},
		{kind: stream, texts: []string{"1-1"}},
	} {
		f.Add(i.encode())
	}
	f.Add([]byte("z\x01a"))
	f.Add([]byte("s\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(i.encode())
		if err != nil {
			t.Fatalf("decode(encode(%q)): %v", b, err)
		}
		if !bytes.Equal(again.encode(), i.encode()) {
			t.Errorf("%q is encoded differently the second time", b)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	for _, b := range []string{"", "?", "s", "s\x02a", "h\x01a", "x", "z\x01a1234567", "s\x01a\x01b"} {
		if i, err := decode([]byte(b)); err == nil {
			t.Errorf("decode(%q) = %+v", b, i)
		}
	}
}

func TestCompareIDs(t *testing.T) {
	ids := []string{"", "0-1", "1-0", "1-2", "1-10", "9-0", "10-0", "1764000000000-0"}
	if !slices.IsSortedFunc(ids, compareIDs) {
		t.Errorf("%q are not in order", ids)
	}
	for _, id := range ids[1:] {
		if got, err := entryID(entryKey(id)); err != nil || got != id {
			t.Errorf("entryID(entryKey(%q)) = %q, %v", id, got, err)
		}
	}
	if _, err := entryID([]byte("short")); err == nil {
		t.Error("a key of 5 bytes is taken for an id")
	}
}

// A flush that fails is logged and told by Err, and what it should have written
// is written once it can be.
func TestFlushFails(t *testing.T) {
	dir := t.TempDir()
	s, c := started(t, dir)
	ctx := t.Context()
	if err := c.Redis().Set(ctx, "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	path := s.db.Path()
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.flush(); err == nil || s.Err() == nil {
		t.Fatalf("flush without a file: %v, Err: %v", err, s.Err())
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s.db = db
	if err := s.flush(); err != nil || s.Err() != nil {
		t.Fatalf("flush with the file again: %v, Err: %v", err, s.Err())
	}
	err = db.View(func(tx *bolt.Tx) error {
		if v := tx.Bucket([]byte(valuesBucket)).Get([]byte("a")); string(v) != "s\x011" {
			return fmt.Errorf("a is stored as %q", v)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCloseTellsOfUnwrittenData(t *testing.T) {
	s, c := started(t, t.TempDir())
	if err := c.Redis().Set(t.Context(), "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	if first, again := s.Close(), s.Close(); first == nil || again == nil {
		t.Errorf("Close = %v, then %v; want the error of the flush both times", first, again)
	}
}

// Reads and scripts that change nothing cause no transaction.
func TestNothingDirtyWritesNothing(t *testing.T) {
	s, c := started(t, t.TempDir())
	ctx := t.Context()
	if err := c.Redis().HSet(ctx, "h", "f", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	written := func() int64 { stats := s.db.Stats(); return stats.TxStats.GetWrite() }
	before := written()
	read := store.NewScript("read", "return redis.call('HGETALL', KEYS[1])")
	for range 3 {
		if _, err := c.Run(ctx, store.Call{Script: read, Keys: []string{"h"}}); err != nil {
			t.Fatal(err)
		}
		if err := c.Redis().HGetAll(ctx, "h").Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if after := written(); after != before {
		t.Errorf("pages written: %d, want none", after-before)
	}
}

func TestForeignFormat(t *testing.T) {
	for name, change := range map[string]func(tx *bolt.Tx) error{
		"format": func(tx *bolt.Tx) error { return tx.Bucket([]byte(metaBucket)).Put([]byte(formatKey), []byte("2")) },
		"value":  func(tx *bolt.Tx) error { return tx.Bucket([]byte(valuesBucket)).Put([]byte("k"), []byte("?")) },
		"stream": func(tx *bolt.Tx) error { return tx.Bucket([]byte(valuesBucket)).Put([]byte("k"), []byte("x\x031-1")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := started(t, dir)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := bolt.Open(filepath.Join(dir, fileName), 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Update(change); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err := Open(t.Context(), dir, nil); err == nil {
				t.Error("Open succeeded")
				_ = s.Close()
			} else if !strings.Contains(err.Error(), fileName) {
				t.Errorf("Open: %v, want the file named", err)
			}
		})
	}
}

// A connection is set up while its first command holds the lock of commands and
// a flush waits for it.
func TestConnectionSetUpDuringFlush(t *testing.T) {
	s, c := started(t, t.TempDir())
	if err := c.Redis().Set(t.Context(), "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	flushed := make(chan error, 1)
	fresh := redis.NewClient(&redis.Options{
		Password: s.password.Reveal(), ReadTimeout: -1,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			go func() { flushed <- s.flush() }()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for s.commands.TryRLock() { // until the flush waits
				s.commands.RUnlock()
				<-tick.C
			}
			return new(net.Dialer).DialContext(ctx, "tcp", s.redis.Addr())
		},
	})
	fresh.AddHook(hook{s})
	set := make(chan error, 1)
	go func() { set <- fresh.Set(context.Background(), "b", "2", 0).Err() }()
	for _, done := range []chan error{set, flushed} {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the flush and the new connection wait for each other")
		}
	}
	if err := fresh.Close(); err != nil {
		t.Error(err)
	}
}

// started is a store whose ticker does not flush by itself.
func started(t testing.TB, dir string) (*Store, *store.Client) {
	t.Helper()
	s, err := Open(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	close(s.stop)
	<-s.stopped
	s.stop = make(chan struct{})
	c, err := store.Open(context.Background(), s.Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = s.Close() // some tests close it, or take its file away
	})
	return s, c
}

// BenchmarkFlush is a flush of 500 changed balances beside a long stream.
func BenchmarkFlush(b *testing.B) {
	s, c := started(b, b.TempDir())
	ctx := context.Background()
	for n := range 20_000 {
		if _, err := s.redis.XAdd("u", fmt.Sprintf("%d-1", n+1), []string{"r", strings.Repeat("x", 220)}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		pipe := c.Redis().Pipeline()
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: "u", Values: []string{"r", strings.Repeat("x", 220)}})
		for n := range 500 {
			pipe.HIncrBy(ctx, fmt.Sprint("b", n), "cost", 1)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
		if err := s.flush(); err != nil {
			b.Fatal(err)
		}
	}
	if info, err := os.Stat(s.db.Path()); err == nil {
		b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	}
}

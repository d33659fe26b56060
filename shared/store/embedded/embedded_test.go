package embedded_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/store/embedded"
)

// TestMain runs the tests; started with a directory as its argument, the binary
// is the process that TestKill kills.
func TestMain(m *testing.M) {
	flag.Parse()
	if dir := flag.Arg(0); dir != "" {
		if err := load(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string) (*embedded.Store, *store.Client) {
	t.Helper()
	s, err := embedded.Open(context.Background(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c, err := store.Open(context.Background(), s.Options())
	if err != nil {
		t.Fatal(errors.Join(err, s.Close()))
	}
	t.Cleanup(func() { shut(t, s, c) })
	return s, c
}

// shut may be called again by the cleanup.
func shut(t testing.TB, s *embedded.Store, c *store.Client) {
	t.Helper()
	if err := c.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func do(t testing.TB, c *store.Client, command string) any {
	t.Helper()
	var args []any
	for part := range strings.FieldsSeq(command) {
		args = append(args, part)
	}
	v, err := c.Redis().Do(t.Context(), args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("%s: %v", command, err)
	}
	return v
}

func TestReopenKeepsEveryType(t *testing.T) {
	dir := t.TempDir()
	s, c := open(t, dir)
	binary := "\x00\xff\xfe binary \r\n é"
	big := strings.Repeat("0123456789abcdef", 1<<16)
	ctx := t.Context()
	pipe := c.Redis().Pipeline()
	pipe.Set(ctx, "string", binary, 0)
	pipe.Set(ctx, "empty", "", 0)
	pipe.Set(ctx, "big", big, 0)
	pipe.HSet(ctx, "hash", "f", binary, "", "empty field", "n", "9007199254740991")
	pipe.SAdd(ctx, "set", "a", binary, "")
	pipe.RPush(ctx, "list", "z", "a", binary)
	pipe.ZAdd(ctx, "zset", redis.Z{Score: 1.5, Member: binary}, redis.Z{Score: 1764000000123, Member: "b"}, redis.Z{Score: -3, Member: "c"})
	pipe.Set(ctx, "gone", "x", 0)
	for _, id := range []string{"5-1", "5-2", "7-0"} {
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: "stream", ID: id, Values: []string{"r", binary}})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	do(t, c, "DEL gone")
	read := []string{
		"GET string", "GET empty", "GET big", "HGETALL hash", "SMEMBERS set", "LRANGE list 0 -1",
		"ZRANGE zset 0 -1 WITHSCORES", "XRANGE stream - +", "EXISTS gone",
	}
	want := make(map[string]any)
	for _, r := range read {
		want[r] = do(t, c, r)
	}
	shut(t, s, c)
	_, c = open(t, dir)
	for _, r := range read {
		if diff := cmp.Diff(want[r], do(t, c, r)); diff != "" {
			t.Errorf("%s after reopening (-want +got):\n%s", r, diff)
		}
	}
}

func TestReopenAfterChanges(t *testing.T) {
	tests := map[string]struct{ before, after, read []string }{
		"deleted": {
			[]string{"SET a 1", "HSET b f 1", "XADD c 1-1 r 1"}, []string{"DEL a b", "UNLINK c"},
			[]string{"EXISTS a b c"},
		},
		"emptied": {
			[]string{"HSET h f 1", "SADD s m", "ZADD z 1 m"}, []string{"HDEL h f", "SREM s m", "ZREM z m"},
			[]string{"EXISTS h s z"},
		},
		"another type":        {[]string{"XADD k 1-1 r 1"}, []string{"DEL k", "HSET k f 1"}, []string{"HGETALL k"}},
		"stream instead":      {[]string{"HSET k f 1"}, []string{"DEL k", "XADD k 1-1 r 1"}, []string{"XRANGE k - +"}},
		"stream grown":        {[]string{"XADD k 1-1 r 1"}, []string{"XADD k 9-0 r 2", "XADD k 10-0 r 3"}, []string{"XRANGE k - +"}},
		"stream trimmed":      {[]string{"XADD k 1-1 r 1", "XADD k 2-1 r 2"}, []string{"XTRIM k MINID 2", "XADD k 3-0 r 3"}, []string{"XRANGE k - +"}},
		"stream emptied":      {[]string{"XADD k 1-1 r 1", "XADD k 2-1 r 2"}, []string{"XTRIM k MAXLEN 0"}, []string{"XLEN k"}},
		"stream thinned":      {[]string{"XADD k 1-1 r 1", "XADD k 2-1 r 2", "XADD k 3-1 r 3"}, []string{"XDEL k 2-1"}, []string{"XRANGE k - +"}},
		"stream without tail": {[]string{"XADD k 1-1 r 1", "XADD k 2-1 r 2"}, []string{"XDEL k 2-1"}, []string{"XRANGE k - +"}},
		"stream made again":   {[]string{"XADD k 1-1 r 1", "XADD k 2-1 r 2"}, []string{"DEL k", "XADD k 5-1 r 5"}, []string{"XRANGE k - +"}},
		"stream, nothing new": {[]string{"XADD k 1-1 r 1"}, []string{"XTRIM k MINID 1"}, []string{"XRANGE k - +"}},
		"changed in a script": {[]string{"SET a 1"}, []string{"EVAL return{redis.call('INCR',KEYS[1]),redis.call('HSET',KEYS[2],'f',ARGV[1])} 2 a b x"}, []string{"GET a", "HGETALL b"}},
		"deleted in a script": {[]string{"SET a 1"}, []string{"EVAL return{redis.call('DEL',KEYS[1])} 1 a"}, []string{"EXISTS a"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, commands := range [][]string{tt.before, tt.after} {
				s, c := open(t, dir)
				for _, command := range commands {
					do(t, c, command)
				}
				shut(t, s, c)
			}
			want := make(map[string]any)
			s, c := open(t, t.TempDir()) // the same commands without a restart
			for _, command := range append(tt.before, tt.after...) {
				do(t, c, command)
			}
			for _, r := range tt.read {
				want[r] = do(t, c, r)
			}
			shut(t, s, c)
			_, c = open(t, dir)
			for _, r := range tt.read {
				if diff := cmp.Diff(want[r], do(t, c, r)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", r, diff)
				}
			}
		})
	}
}

// A reader that has read up to the last entry must see the next one, also when
// that entry is trimmed and the clock is behind it.
func TestStreamContinuesAfterItsLastID(t *testing.T) {
	ahead := fmt.Sprintf("%d-7", time.Now().Add(time.Hour).UnixMilli())
	for name, then := range map[string]string{"kept": "XLEN s", "trimmed": "XTRIM s MAXLEN 0", "deleted": "XDEL s " + ahead} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, c := open(t, dir)
			do(t, c, "XADD s 1-1 r 1")
			do(t, c, "XADD s "+ahead+" r 2")
			shut(t, s, c)
			s, c = open(t, dir)
			do(t, c, then)
			entries := do(t, c, "XLEN s")
			shut(t, s, c)
			for range 2 { // the second time with what the first left in the file
				s, c = open(t, dir)
				if got := do(t, c, "XLEN s"); got != entries {
					t.Errorf("XLEN = %v, want %v", got, entries)
				}
				id := do(t, c, "XADD s * r 3").(string)
				if id[:13] < ahead[:13] || id == ahead {
					t.Errorf("next id = %s, want one above %s", id, ahead)
				}
				do(t, c, "XDEL s "+id)
				shut(t, s, c)
			}
		})
	}
}

func TestTimeIsReal(t *testing.T) {
	_, c := open(t, t.TempDir())
	v, err := c.Run(t.Context(), store.Call{Script: store.NewScript("time", "return redis.call('TIME')[1]"), Keys: []string{"k"}})
	if err != nil {
		t.Fatal(err)
	}
	if now := time.Now().Unix(); v != fmt.Sprint(now) && v != fmt.Sprint(now-1) {
		t.Errorf("TIME = %v, want %d", v, now)
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := embedded.Open(t.Context(), dir, nil)
	if fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), dir+" is in use by another sluice") {
		t.Errorf("second Open: %v", err)
	}
}

func TestFileIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	open(t, dir)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "store.db"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s = %o, want %o", path, got, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	occupied := filepath.Join(dir, "file")
	if err := os.WriteFile(occupied, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	if err := os.Mkdir(damaged, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "store.db"), []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{occupied, damaged} {
		if s, err := embedded.Open(t.Context(), at, nil); err == nil {
			t.Errorf("Open(%s) succeeded", at)
			_ = s.Close()
		}
	}
}

func TestRefusedCommands(t *testing.T) {
	_, c := open(t, t.TempDir())
	ctx := t.Context()
	for _, args := range [][]any{
		{"FLUSHALL"}, {"RENAME", "a", "b"}, {"EXPIRE", "a", 1}, {"SET", "a", "1", "PX", 5}, {"EVAL", "return 1", 3, "a"}, {"EVAL", "return 1", "x", "a"},
	} {
		err := c.Redis().Do(ctx, args...).Err()
		if err == nil || !strings.Contains(err.Error(), "embedded: ") {
			t.Errorf("%v: %v, want it refused by the embedded store", args, err)
		}
	}
	pipe := c.Redis().Pipeline()
	set := pipe.Set(ctx, "a", "1", 0)
	pipe.FlushDB(ctx)
	if _, err := pipe.Exec(ctx); err == nil || set.Err() == nil {
		t.Errorf("a pipeline with a refused command: %v, its other command: %v", err, set.Err())
	}
}

func TestCancelledBeforeItBegins(t *testing.T) {
	_, c := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Redis().Set(ctx, "a", "1", 0).Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
	if got := do(t, c, "EXISTS a"); got != int64(0) {
		t.Errorf("EXISTS = %v after a cancelled SET", got)
	}
}

func TestClosed(t *testing.T) {
	s, c := open(t, t.TempDir())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Run(t.Context(), store.Call{Script: store.NewScript("one", "return 1"), Keys: []string{"k"}})
	if fault.CodeOf(err) != fault.StoreDown {
		t.Errorf("a command after Close: %v, want store_down", err)
	}
}

func TestConcurrentWriters(t *testing.T) {
	const writers, each = 8, 150
	dir := t.TempDir()
	s, c := open(t, dir)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				if _, err := c.Run(t.Context(), transfer(w+n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := s.Err(); err != nil {
		t.Errorf("Err = %v", err)
	}
	shut(t, s, c)
	_, c = open(t, dir)
	if got := transfers(t, c); got != writers*each {
		t.Errorf("transfers after reopening = %d, want %d", got, writers*each)
	}
}

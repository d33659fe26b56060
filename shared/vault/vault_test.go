package vault_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/vault"
)

// counting counts the unwraps that reach the master key.
type counting struct {
	vault.Wrapper
	mu      sync.Mutex
	unwraps int
	fail    error
}

func (c *counting) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unwraps++
	if c.fail != nil {
		return nil, c.fail
	}
	return c.Wrapper.Unwrap(ctx, wrapped)
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unwraps
}

func local(t testing.TB) *vault.Local {
	t.Helper()
	l, err := vault.OpenLocal(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func seal(t testing.TB, v *vault.Vault, plain, aad string) []byte {
	t.Helper()
	sealed, err := v.Seal(t.Context(), []byte(plain), aad)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealOpen(t *testing.T) {
	v := vault.New(vault.Options{Wrapper: local(t)})
	for _, plain := range []string{"", "test-key", strings.Repeat("long ", 10_000)} {
		sealed := seal(t, v, plain, "acct_1")
		if plain != "" && bytes.Contains(sealed, []byte(plain)) {
			t.Errorf("sealed %d bytes contain the plain text", len(plain))
		}
		got, err := v.Open(t.Context(), sealed, "acct_1")
		if err != nil || string(got) != plain {
			t.Errorf("Open = %d bytes, %v; want %d bytes", len(got), err, len(plain))
		}
	}
	if a, b := seal(t, v, "test-key", "a"), seal(t, v, "test-key", "a"); bytes.Equal(a, b) {
		t.Error("two sealings of one secret are equal")
	}
}

func TestOpenRefuses(t *testing.T) {
	v := vault.New(vault.Options{Wrapper: local(t)})
	sealed := seal(t, v, "test-key", "acct_1")
	open := func(t *testing.T, v *vault.Vault, sealed []byte, aad string) {
		t.Helper()
		if plain, err := v.Open(t.Context(), sealed, aad); !errors.Is(err, vault.ErrSealed) {
			t.Errorf("Open = %q, %v; want ErrSealed", plain, err)
		}
	}
	t.Run("another record", func(t *testing.T) { open(t, v, sealed, "acct_2") })
	t.Run("no record", func(t *testing.T) { open(t, v, sealed, "") })
	t.Run("another master key", func(t *testing.T) {
		open(t, vault.New(vault.Options{Wrapper: local(t)}), sealed, "acct_1")
	})
	t.Run("each byte changed", func(t *testing.T) {
		for i := range sealed {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1
			open(t, v, changed, "acct_1")
		}
	})
	t.Run("each length cut", func(t *testing.T) {
		for n := range sealed {
			open(t, v, sealed[:n], "acct_1")
		}
	})
	t.Run("grown", func(t *testing.T) { open(t, v, append(bytes.Clone(sealed), 0), "acct_1") })
}

func TestDataKeysAreReusedForTenMinutes(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := &counting{Wrapper: local(t)}
	v := vault.New(vault.Options{Wrapper: w, Now: func() time.Time { return now }})
	sealed := seal(t, v, "test-key", "a")
	open := func(want int) {
		t.Helper()
		if _, err := v.Open(t.Context(), sealed, "a"); err != nil {
			t.Fatal(err)
		}
		if got := w.count(); got != want {
			t.Errorf("%d unwraps, want %d", got, want)
		}
	}
	open(1)
	open(1)
	now = now.Add(10*time.Minute - 1)
	open(1)
	now = now.Add(1)
	open(2)
}

func TestDataKeysAreBounded(t *testing.T) {
	w := &counting{Wrapper: local(t)}
	v := vault.New(vault.Options{Wrapper: w})
	const most = 256
	var all [][]byte
	for i := range most + 50 {
		all = append(all, seal(t, v, "x", strconv.Itoa(i)))
	}
	for range 2 {
		for i, sealed := range all {
			if _, err := v.Open(t.Context(), sealed, strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if again := w.count() - len(all); again < 50 {
		t.Errorf("%d of %d data keys were unwrapped again, want at least 50: only %d may be kept", again, len(all), most)
	}
}

func TestMasterKeyOutOfReach(t *testing.T) {
	down := errors.New("the key service does not answer")
	w := &counting{Wrapper: local(t)}
	v := vault.New(vault.Options{Wrapper: w})
	sealed := seal(t, v, "test-key", "a")
	w.fail = down
	if _, err := v.Open(t.Context(), sealed, "a"); !errors.Is(err, down) || errors.Is(err, vault.ErrSealed) {
		t.Errorf("Open = %v, want the wrapper's error alone", err)
	}
}

type wrapFunc func(plain []byte) ([]byte, error)

func (f wrapFunc) Wrap(_ context.Context, plain []byte) ([]byte, error)   { return f(plain) }
func (f wrapFunc) Unwrap(_ context.Context, plain []byte) ([]byte, error) { return plain, nil }

func TestSealRefusesWhatItCouldNotOpen(t *testing.T) {
	down := errors.New("down")
	for name, f := range map[string]wrapFunc{
		"failing":  func([]byte) ([]byte, error) { return nil, down },
		"empty":    func([]byte) ([]byte, error) { return nil, nil },
		"too long": func([]byte) ([]byte, error) { return make([]byte, 1<<13), nil },
	} {
		if _, err := vault.New(vault.Options{Wrapper: f}).Seal(t.Context(), nil, "a"); err == nil {
			t.Errorf("%s wrapper: no error", name)
		}
	}
	short := vault.New(vault.Options{Wrapper: wrapFunc(func(p []byte) ([]byte, error) { return p[:5], nil })})
	if _, err := short.Open(t.Context(), seal(t, short, "x", "a"), "a"); err == nil {
		t.Error("a data key of 5 bytes opened something")
	}
}

func TestConcurrentUse(t *testing.T) {
	v := vault.New(vault.Options{Wrapper: local(t)})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := strconv.Itoa(i)
			for range 50 {
				sealed, err := v.Seal(t.Context(), []byte(id), id)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := v.Open(t.Context(), sealed, id); err != nil || string(got) != id {
					t.Errorf("Open = %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestOpenLocal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	first, err := vault.OpenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Fatalf("created %v, %v; want 32 bytes with mode 0600", info, err)
	}
	again, err := vault.OpenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := first.Wrap(t.Context(), []byte("k"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := again.Unwrap(t.Context(), wrapped); err != nil || string(plain) != "k" {
		t.Errorf("Unwrap after reopening = %q, %v", plain, err)
	}
	if _, err := again.Unwrap(t.Context(), []byte("short")); !errors.Is(err, vault.ErrSealed) {
		t.Errorf("Unwrap of a short key = %v", err)
	}
	left, err := filepath.Glob(path + "*")
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

func TestOpenLocalTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	locals := make([]*vault.Local, 8)
	var wg sync.WaitGroup
	for i := range locals {
		wg.Go(func() {
			var err error
			if locals[i], err = vault.OpenLocal(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	wrapped, err := locals[0].Wrap(t.Context(), []byte("k"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range locals {
		if _, err := l.Unwrap(t.Context(), wrapped); err != nil {
			t.Errorf("processes that start together have different keys: %v", err)
		}
	}
}

func TestOpenLocalRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := write("open.key", 32, 0o644)
	for _, tt := range []struct{ name, path, want string }{
		{"readable by others", open, `run: chmod 600 "` + open + `"`},
		{"readable by the group", write("group.key", 32, 0o640), "mode 0640"},
		{"short", write("short.key", 31, 0o600), "has 31 bytes, want 32"},
		{"long", write("long.key", 33, 0o600), "has 33 bytes, want 32"},
		{"a directory", dir, "no regular file"},
		{"in no directory", filepath.Join(dir, "none", "k"), "no such file"},
	} {
		if _, err := vault.OpenLocal(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	v := vault.New(vault.Options{Wrapper: local(f)})
	sealed := seal(f, v, "test-key", "a")
	f.Add(sealed)
	f.Add(sealed[:20])
	f.Add([]byte{1, 0, 0})
	f.Add([]byte{1, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := v.Open(t.Context(), b, "a")
		if err == nil && !bytes.Equal(b, sealed) {
			t.Errorf("forged bytes opened as %q", plain)
		}
		if err != nil && !errors.Is(err, vault.ErrSealed) {
			t.Errorf("error %v, want ErrSealed", err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	v := vault.New(vault.Options{Wrapper: local(b)})
	sealed := seal(b, v, `{"secret":"test-key"}`, "acct_1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Open(b.Context(), sealed, "acct_1"); err != nil {
			b.Fatal(err)
		}
	}
}

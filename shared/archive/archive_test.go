package archive_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/archive"
	"sluice/shared/fault"
)

func open(t testing.TB, dir string) *archive.File {
	t.Helper()
	f, err := archive.OpenFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return f
}

func entry(n int) archive.Entry {
	return archive.Entry{
		At: time.Date(2026, 1, 2, 3, 4, n, 0, time.UTC), Actor: "admin", Action: archive.Put, Kind: archive.Key,
		ID: fmt.Sprintf("key_%d", n), Version: int64(n), Sealed: []byte{1, byte(n)},
	}
}

func add(t testing.TB, f *archive.File, entries ...archive.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := f.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func replay(t testing.TB, f *archive.File) []archive.Entry {
	t.Helper()
	var got []archive.Entry
	err := f.Replay(t.Context(), func(e archive.Entry) error { got = append(got, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func numbered(entries ...archive.Entry) []archive.Entry {
	for i := range entries {
		entries[i].Seq = int64(i + 1)
	}
	return entries
}

func TestReplayAcrossRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	f := open(t, dir)
	add(t, f, entry(1), entry(2))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir)
	gone := archive.Entry{At: entry(3).At, Actor: "admin", Action: archive.Delete, Kind: archive.Key, ID: "key_1", Version: 1}
	add(t, f, gone)
	if diff := cmp.Diff(numbered(entry(1), entry(2), gone), replay(t, f)); diff != "" {
		t.Errorf("replay (-want +got):\n%s", diff)
	}
	if f.Torn() != 0 {
		t.Errorf("Torn = %d after clean restarts", f.Torn())
	}
	info, err := os.Stat(filepath.Join(dir, archive.FileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v; want mode 0600", info, err)
	}
}

func TestTornLastLine(t *testing.T) {
	whole := t.TempDir()
	f := open(t, whole)
	add(t, f, entry(1), entry(2))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(whole, archive.FileName))
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(text), '\n') + 1
	tails := map[string]string{"zeros after a power cut": "\x00\x00\x00\n"}
	for n := first + 1; n < len(text); n += 7 {
		tails[fmt.Sprintf("cut at %d", n)] = string(text[first:n])
	}
	for name, tail := range tails {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, archive.FileName), []byte(string(text[:first])+tail), 0o600); err != nil {
				t.Fatal(err)
			}
			f := open(t, dir)
			if f.Torn() != int64(len(tail)) {
				t.Errorf("Torn = %d, want %d", f.Torn(), len(tail))
			}
			add(t, f, entry(3))
			if diff := cmp.Diff(numbered(entry(1), entry(3)), replay(t, f)); diff != "" {
				t.Errorf("replay (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	line := func(seq int) string {
		return fmt.Sprintf(`{"seq":%d,"action":"put","kind":"key","id":"k"}`, seq) + "\n"
	}
	for _, tt := range []struct{ name, text, want string }{
		{"in the middle", line(1) + "{\n" + line(3), "line 2 is damaged"},
		{"a missing line", line(1) + line(3), "line 2 is entry 3, want 2"},
		{"a doubled line", line(1) + line(1), "line 2 is entry 1, want 2"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, archive.FileName), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.OpenFile(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := archive.OpenFile(dir); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second OpenFile = %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.OpenFile(file); err == nil {
		t.Error("OpenFile of a file: no error")
	}
}

func TestAppendRefuses(t *testing.T) {
	f := open(t, t.TempDir())
	for name, e := range map[string]archive.Entry{
		"no record":    {Action: archive.Put, Kind: archive.Key, Sealed: []byte{1}},
		"unknown kind": {Action: archive.Put, Kind: "x", ID: "a", Sealed: []byte{1}},
		"no image":     {Action: archive.Put, Kind: archive.User, ID: "a"},
		"no action":    {Kind: archive.Team, ID: "a", Sealed: []byte{1}},
	} {
		if err := f.Append(t.Context(), e); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Append(t.Context(), entry(1)); fault.CodeOf(err) != fault.StoreDown {
			t.Errorf("Append when the file cannot be written = %v", err)
		}
	}
}

func TestReplayStops(t *testing.T) {
	f := open(t, t.TempDir())
	add(t, f, entry(1), entry(2))
	stop := errors.New("stop")
	if err := f.Replay(t.Context(), func(archive.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Replay = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := f.Replay(ctx, func(archive.Entry) error { seen++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("Replay = %v after %d entries", err, seen)
	}
}

func TestConcurrentAppends(t *testing.T) {
	f := open(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				if err := f.Append(t.Context(), entry(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i, e := range replay(t, f) {
		if e.Seq != int64(i+1) {
			t.Fatalf("entry %d has seq %d", i, e.Seq)
		}
	}
}

func TestContextTellsRecordsApart(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range []archive.Kind{archive.Key, archive.User, archive.Team, archive.Account} {
		seen[(&archive.Entry{Kind: kind, ID: "a"}).Context()] = true
	}
	if len(seen) != 4 || seen["a"] {
		t.Errorf("contexts %v", seen)
	}
}

func FuzzOpenFile(f *testing.F) {
	f.Add([]byte(`{"seq":1,"kind":"key","id":"a"}` + "\n"))
	f.Add([]byte(`{"seq":1}` + "\n{\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, archive.FileName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := archive.OpenFile(dir)
		if err != nil {
			return
		}
		before := 0
		if err := log.Replay(t.Context(), func(archive.Entry) error { before++; return nil }); err != nil {
			t.Fatalf("what was opened does not replay: %v", err)
		}
		add(t, log, entry(1))
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		log = open(t, dir)
		if got := len(replay(t, log)); got != before+1 || log.Torn() != 0 {
			t.Errorf("%d entries after an append to %d, %d bytes torn", got, before, log.Torn())
		}
	})
}

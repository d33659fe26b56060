package archive_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/archive"
	"sluice/shared/archive/archivetest"
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

func TestConformance(t *testing.T) {
	archivetest.Run(t, func(t *testing.T) archivetest.Opener {
		dir := filepath.Join(t.TempDir(), "made", "here")
		return func() (archivetest.Log, error) { return archive.OpenFile(dir) }
	})
}

func TestItsFileIsItsOwners(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	for range 2 {
		f := open(t, dir)
		archivetest.Add(t, f, archivetest.Entry(1))
		if f.Torn() != 0 {
			t.Errorf("Torn = %d after a clean start", f.Torn())
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, archive.FileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v; want mode 0600", info, err)
	}
}

func TestTornLastLine(t *testing.T) {
	whole := t.TempDir()
	f := open(t, whole)
	archivetest.Add(t, f, archivetest.Entry(1), archivetest.Entry(2))
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
			archivetest.Add(t, f, archivetest.Entry(3))
			if diff := cmp.Diff(archivetest.Numbered(archivetest.Entry(1), archivetest.Entry(3)), archivetest.Replayed(t, f)); diff != "" {
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
		archivetest.Add(t, log, archivetest.Entry(1))
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		log = open(t, dir)
		if got := len(archivetest.Replayed(t, log)); got != before+1 || log.Torn() != 0 {
			t.Errorf("%d entries after an append to %d, %d bytes torn", got, before, log.Torn())
		}
	})
}

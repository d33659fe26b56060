package archive_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sluice/shared/archive"
)

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "archive")
	f, err := archive.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, body string) {
		t.Helper()
		if err := f.Put(t.Context(), name, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	put("usage/day=2026-11-26/p=07/1-0.jsonl.gz", "first")
	put("usage/day=2026-11-26/p=07/2-0.jsonl.gz", "")
	put("usage/day=2026-11-26/p=07/1-0.jsonl.gz", "again")
	put("top", "x")
	got := map[string]string{}
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		got[path] = string(b)
		return err
	})
	want := map[string]string{"usage/day=2026-11-26/p=07/1-0.jsonl.gz": "again", "usage/day=2026-11-26/p=07/2-0.jsonl.gz": "", "top": "x"}
	if err != nil || len(got) != len(want) {
		t.Errorf("files %v, %v", got, err)
	}
	for name, body := range want {
		if got[name] != body {
			t.Errorf("%s holds %q, want %q", name, got[name], body)
		}
	}
}

// Whoever reads an object while it is put again sees one whole or the other.
func TestFolderIsAtomic(t *testing.T) {
	dir := t.TempDir()
	f, err := archive.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	whole := [][]byte{bytes.Repeat([]byte("a"), 1<<20), bytes.Repeat([]byte("b"), 1<<19)}
	var writers sync.WaitGroup
	for _, body := range whole {
		if err := f.Put(t.Context(), "a/b", body); err != nil {
			t.Fatal(err)
		}
		writers.Go(func() {
			for range 30 {
				if err := f.Put(t.Context(), "a/b", body); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for {
		b, err := os.ReadFile(filepath.Join(dir, "a", "b"))
		if err != nil || !bytes.Equal(b, whole[0]) && !bytes.Equal(b, whole[1]) {
			t.Fatalf("read %d bytes, %v", len(b), err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestFolderRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.OpenFolder(filepath.Join(dir, "file")); err == nil {
		t.Error("a file is opened as a folder")
	}
	f, err := archive.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"": "names no object", "../x": "names no object", "/x": "names no object", "a/../b": "names no object", "a//b": "names no object",
		"file/x": "file/x cannot be stored",
	} {
		if err := f.Put(t.Context(), name, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Put(%q) = %v, want %q", name, err, want)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(t.Context(), "taken", []byte("x")); err == nil {
		t.Error("an object takes the place of a folder")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".part-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

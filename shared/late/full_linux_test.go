package late_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"sluice/shared/late/latetest"
)

// A file system that is full in truth, where this process may mount one; elsewhere
// TestFullDisk alone shows what happens.
func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Logf("no file system can be mounted: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	f := open(t, dir, quiet())
	filler := filepath.Join(dir, "filler")
	want := []int{1, 3}
	full(t, f, dir, func() {
		fill(t, filler)
		// The last page of the queue's own file has room still.
		for n := 100; f.Put(t.Context(), latetest.Settlement(n)) == nil; n++ {
			want = append(want, n)
		}
	}, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	})
	closed(t, f)
	log, told := logger()
	f = open(t, dir, log)
	var s latetest.Sink
	latetest.Drain(t, f, &s, len(want))
	s.Want(t, want...)
	s.Once(t)
	if told.String() != "" {
		t.Errorf("the files were not whole: %s", told)
	}
	closed(t, f)
}

// fill writes until there is no room, and leaves the file behind.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(bytes.Repeat([]byte{'x'}, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

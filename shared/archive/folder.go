package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Folder is an archive of objects as files in a directory; a name's slashes are
// folders in it. It is safe for concurrent use, here and in other processes.
type Folder struct{ dir string }

// OpenFolder opens the archive in a directory, made when missing.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return &Folder{dir}, nil
}

// Put stores an object, in place of one of its name, and returns when it is on
// disk. At no time is there a part of it under its name.
func (f *Folder) Put(_ context.Context, name string, body []byte) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) || filepath.ToSlash(filepath.Clean(name)) != name {
		return fmt.Errorf("archive: %q names no object (want a path without . and ..)", name)
	}
	if err := f.put(filepath.Join(f.dir, filepath.FromSlash(name)), body); err != nil {
		return fmt.Errorf("archive: %s cannot be stored: %w", name, err)
	}
	return nil
}

func (f *Folder) put(path string, body []byte) (err error) {
	dir := filepath.Dir(path)
	if err := f.makeDir(dir); err != nil {
		return err
	}
	part, err := os.CreateTemp(dir, ".part-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(part.Name()))
		}
	}()
	_, err = part.Write(body)
	if err == nil {
		err = part.Sync()
	}
	if err = errors.Join(err, part.Close()); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// makeDir makes a directory and those above it, and has each on disk.
func (f *Folder) makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrNotExist) && dir != f.dir {
		if err := f.makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// remove removes what may have been renamed already.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

package vault

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// wrapContext separates wrapped data keys from anything else that the master key
// may ever encrypt.
const wrapContext = "sluice data key"

// Local wraps data keys under a master key that is a file on this machine. It is
// safe for concurrent use.
type Local struct{ aead cipher.AEAD }

// OpenLocal reads the master key from a file of 32 bytes, which it creates when
// there is none. It refuses a file that others than its owner can access, and
// one of another size. Without the file nothing that was sealed opens again.
func OpenLocal(path string) (*Local, error) {
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createKey(path); err == nil {
			key, err = readKey(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	defer clear(key)
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return &Local{aead}, nil
}

func readKey(path string) (key []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s is accessible to others (mode %#o); run: chmod 600 %q", path, mode, path)
	}
	if info.Size() != keySize {
		return nil, fmt.Errorf("%s has %d bytes, want %d; restore it from a backup", path, info.Size(), keySize)
	}
	key = make([]byte, keySize)
	if _, err := io.ReadFull(f, key); err != nil {
		return nil, err
	}
	return key, nil
}

// createKey makes a new key file appear whole or not at all. When another process
// was faster, its key stands.
func createKey(path string) error {
	temp := path + ".new-" + rand.Text()
	if err := writeKey(temp); err != nil {
		return errors.Join(err, removeIfThere(temp))
	}
	err := os.Link(temp, path)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(temp), syncDir(filepath.Dir(path)))
}

func writeKey(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails: crypto/rand aborts the process instead
	defer clear(key)
	if _, err := f.Write(key); err != nil {
		return err
	}
	return f.Sync()
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}

// Wrap encrypts a data key: a nonce, then the ciphertext with its tag.
func (l *Local) Wrap(_ context.Context, plain []byte) ([]byte, error) {
	nonce := make([]byte, nonceSize, nonceSize+len(plain)+l.aead.Overhead())
	_, _ = rand.Read(nonce)
	return l.aead.Seal(nonce, nonce, plain, []byte(wrapContext)), nil
}

// Unwrap decrypts what Wrap made. It errs with ErrSealed.
func (l *Local) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	if len(wrapped) < nonceSize {
		return nil, ErrSealed
	}
	plain, err := l.aead.Open(nil, wrapped[:nonceSize], wrapped[nonceSize:], []byte(wrapContext))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

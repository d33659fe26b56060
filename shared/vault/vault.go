// Package vault encrypts what Sluice must be able to read again: credentials of
// accounts and the images in the config log.
//
// It is an envelope: every sealing has a fresh AES-256 data key, which a Wrapper
// encrypts under the master key and which travels with the ciphertext. The
// record's id is authenticated with it, so that a sealed secret moved to another
// record does not open. Unwrapped data keys are reused for at most ten minutes.
package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Wrapper encrypts data keys under a master key that never leaves it.
type Wrapper interface {
	// Wrap encrypts a data key. Its errors say why the master key is not usable.
	Wrap(ctx context.Context, plain []byte) ([]byte, error)
	// Unwrap decrypts what Wrap made. It errs with ErrSealed when that was made
	// under another master key or was changed.
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
}

// ErrSealed is returned for sealed bytes that do not open: they were changed, cut
// short, sealed for another record, or under another master key.
var ErrSealed = errors.New("vault: the sealed bytes do not open: changed, of another record, or under another master key")

const (
	version    = 1 // of the format of sealed bytes
	keySize    = 32
	nonceSize  = 12
	maxWrapped = 1 << 12 // bytes of a wrapped data key; KMS needs about 200
	prefixSize = 3       // version, length of the wrapped key

	keyLife = 10 * time.Minute // how long an unwrapped data key is used
	maxKeys = 256              // unwrapped data keys at once
)

// Options make a Vault. Wrapper is required.
type Options struct {
	Wrapper Wrapper
	Now     func() time.Time // nil = time.Now
}

// Vault seals and opens. It is safe for concurrent use.
type Vault struct {
	wrapper Wrapper
	now     func() time.Time

	mu   sync.RWMutex
	keys map[string]dataKey // by wrapped data key
}

type dataKey struct {
	aead  cipher.AEAD
	until time.Time
}

// New is a Vault.
func New(o Options) *Vault {
	v := &Vault{wrapper: o.Wrapper, now: o.Now, keys: make(map[string]dataKey)}
	if v.now == nil {
		v.now = time.Now
	}
	return v
}

// Seal encrypts plain for the record that aad names. It errs as Wrapper.Wrap.
//
// Sealed bytes are a version byte, the length of the wrapped data key in two
// bytes, that key, a nonce, and the ciphertext with its tag. Everything before
// the nonce is authenticated too.
func (v *Vault) Seal(ctx context.Context, plain []byte, aad string) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails: crypto/rand aborts the process instead
	defer clear(key)
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	wrapped, err := v.wrapper.Wrap(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("wrap a data key: %w", err)
	}
	if len(wrapped) == 0 || len(wrapped) > maxWrapped {
		return nil, fmt.Errorf("wrap a data key: %d bytes, want 1 to %d", len(wrapped), maxWrapped)
	}
	out := make([]byte, 0, prefixSize+len(wrapped)+nonceSize+len(plain)+aead.Overhead())
	out = append(out, version)
	out = binary.BigEndian.AppendUint16(out, uint16(len(wrapped)))
	out = append(out, wrapped...)
	bound := bind(out, aad)
	out = out[:len(out)+nonceSize]
	nonce := out[len(out)-nonceSize:]
	_, _ = rand.Read(nonce)
	return aead.Seal(out, nonce, plain, bound), nil
}

// Open decrypts what Seal made for the same aad. It errs with ErrSealed, or as
// Wrapper.Unwrap when the master key cannot be reached.
func (v *Vault) Open(ctx context.Context, sealed []byte, aad string) ([]byte, error) {
	if len(sealed) < prefixSize || sealed[0] != version {
		return nil, ErrSealed
	}
	size := int(binary.BigEndian.Uint16(sealed[1:]))
	head := prefixSize + size
	if size == 0 || size > maxWrapped || len(sealed) < head+nonceSize {
		return nil, ErrSealed
	}
	aead, err := v.dataKey(ctx, sealed[prefixSize:head])
	if err != nil {
		return nil, err
	}
	nonce, text := sealed[head:head+nonceSize], sealed[head+nonceSize:]
	plain, err := aead.Open(nil, nonce, text, bind(sealed[:head], aad))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// bind is the additional data: the header, which ends where its length says, and aad.
func bind(head []byte, aad string) []byte {
	b := make([]byte, 0, len(head)+len(aad))
	return append(append(b, head...), aad...)
}

func (v *Vault) dataKey(ctx context.Context, wrapped []byte) (cipher.AEAD, error) {
	now := v.now()
	v.mu.RLock()
	k, known := v.keys[string(wrapped)]
	v.mu.RUnlock()
	if known && now.Before(k.until) {
		return k.aead, nil
	}
	key, err := v.wrapper.Unwrap(ctx, wrapped)
	if err != nil {
		return nil, fmt.Errorf("unwrap a data key: %w", err)
	}
	defer clear(key)
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	v.keep(string(wrapped), dataKey{aead, now.Add(keyLife)}, now)
	return aead, nil
}

func (v *Vault) keep(wrapped string, k dataKey, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for w, old := range v.keys {
		if !now.Before(old.until) {
			delete(v.keys, w)
		}
	}
	if len(v.keys) >= maxKeys {
		for w := range v.keys { // map order is random: an arbitrary one goes
			delete(v.keys, w)
			break
		}
	}
	v.keys[wrapped] = k
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("vault: a key has %d bytes, want %d", len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

package llm

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"time"
)

// idAlphabet is Crockford's base 32 in lower case: ordered, without look-alikes.
var idAlphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID is a fresh identifier: the prefix and 26 characters that sort by time
// (48 bits of Unix milliseconds, then 80 random bits; the layout of a ULID).
func NewID(prefix string, now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails: crypto/rand aborts the process instead
	return prefix + idAlphabet.EncodeToString(b[:])
}

// IDTime is the time within an identifier that NewID made.
func IDTime(id string) (time.Time, error) {
	const tail = 26
	if len(id) < tail {
		return time.Time{}, errors.New("llm: id is too short")
	}
	b, err := idAlphabet.DecodeString(id[len(id)-tail:])
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:8]) >> 16)), nil
}

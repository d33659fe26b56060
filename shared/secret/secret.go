// Package secret holds the type of every credential in memory. It prints as
// "[redacted]" wherever it is formatted, logged or marshalled; only Reveal gives
// the text, so that a search for Reveal lists every place that uses one.
package secret

import (
	"crypto/rand"
	"encoding/base64"
	"log/slog"
)

const redacted = "[redacted]"

// Value is a secret text.
type Value struct{ text string }

// New wraps a secret text.
func New(text string) Value { return Value{text} }

// Mint is a new secret: the prefix and 256 random bits in base64url.
func Mint(prefix string) Value {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return New(prefix + base64.RawURLEncoding.EncodeToString(b[:]))
}

// hintLength is how many characters of a secret are shown.
const hintLength = 4

// Hint is the end of a secret, by which people tell it from others; "" of one so
// short that its end would give it away.
func (v Value) Hint() string {
	if len(v.text) < 3*hintLength {
		return ""
	}
	return v.text[len(v.text)-hintLength:]
}

// Reveal is the secret itself, for the one place that sends or seals it.
func (v Value) Reveal() string { return v.text }

// Empty says whether there is no secret.
func (v Value) Empty() bool { return v.text == "" }

// String prints as redacted.
func (Value) String() string { return redacted }

// GoString prints as redacted, for %#v.
func (Value) GoString() string { return redacted }

// LogValue logs as redacted.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText marshals as redacted; a secret is sealed, never marshalled.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText reads a secret from a request body.
func (v *Value) UnmarshalText(b []byte) error { v.text = string(b); return nil }

package cloudtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// KMS encrypts and decrypts: a ciphertext opens only under the key and with the
// encryption context that it was made with.
type KMS struct {
	keys []string
	aead cipher.AEAD

	mu      sync.Mutex
	seen    []KMSRequest
	refusal map[string]string // exception by action
}

// KMSRequest is what was asked of KMS, without the texts.
type KMSRequest struct {
	Action            string            `json:"-"` // Encrypt or Decrypt
	KeyID             string            `json:"KeyId"`
	EncryptionContext map[string]string `json:"EncryptionContext"`
}

func newKMS(t testing.TB, keys ...string) *KMS {
	t.Helper()
	block, err := aes.NewCipher([]byte(rand.Text()[:16]))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &KMS{keys: keys, aead: aead, refusal: make(map[string]string)}
}

// Refuse makes every further request end with an exception; of the actions that
// are named, or of both.
func (k *KMS) Refuse(code string, actions ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.refusal)
	if len(actions) == 0 {
		actions = []string{"Encrypt", "Decrypt"}
	}
	for _, action := range actions {
		k.refusal[action] = code
	}
}

// Requests are all that came, in order.
func (k *KMS) Requests() []KMSRequest {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.seen)
}

// Encrypt is what KMS makes of a text: the number of the key, a nonce, and the
// text, bound to the encryption context.
func (k *KMS) Encrypt(key string, context map[string]string, plain []byte) []byte {
	out := append([]byte{byte(slices.Index(k.keys, key))}, rand.Text()[:k.aead.NonceSize()]...)
	return k.aead.Seal(out, out[1:], plain, bound(context))
}

func bound(context map[string]string) []byte {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(context)) {
		b.WriteString(name + "=" + context[name] + ";")
	}
	return []byte(b.String())
}

// decrypt is the plain text, or the exception that KMS ends with.
func (k *KMS) decrypt(key string, context map[string]string, blob []byte) (plain []byte, exception string) {
	head := 1 + k.aead.NonceSize()
	if len(blob) < head || int(blob[0]) >= len(k.keys) {
		return nil, "InvalidCiphertextException"
	}
	if k.keys[blob[0]] != key {
		return nil, "IncorrectKeyException"
	}
	plain, err := k.aead.Open(nil, blob[1:head], blob[head:], bound(context))
	if err != nil {
		return nil, "InvalidCiphertextException"
	}
	return plain, ""
}

// answer is the answer to a request, or the exception it ends with. It errs for
// what no client should send.
func (k *KMS) answer(action string, body []byte) (out any, exception string, err error) {
	var in struct {
		KMSRequest
		Plaintext, CiphertextBlob []byte
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, "ValidationException", err
	}
	in.Action = action
	k.mu.Lock()
	k.seen = append(k.seen, in.KMSRequest)
	exception = k.refusal[action]
	k.mu.Unlock()
	if exception == "" && !slices.Contains(k.keys, in.KeyID) {
		exception = "NotFoundException"
	}
	if exception != "" {
		return nil, exception, nil
	}
	switch action {
	case "Encrypt":
		return map[string]any{"KeyId": in.KeyID, "CiphertextBlob": k.Encrypt(in.KeyID, in.EncryptionContext, in.Plaintext)}, "", nil
	case "Decrypt":
		plain, exception := k.decrypt(in.KeyID, in.EncryptionContext, in.CiphertextBlob)
		return map[string]any{"KeyId": in.KeyID, "Plaintext": plain}, exception, nil
	}
	return nil, "UnknownOperationException", fmt.Errorf("no such action here: %s", action)
}

package awskms_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// standIn speaks AWS JSON 1.1 as KMS does: a ciphertext opens only under the key
// and with the encryption context that it was made with.
type standIn struct {
	t    testing.TB
	keys []string
	aead cipher.AEAD

	mu      sync.Mutex
	seen    []request
	refusal string
}

type request struct {
	Action            string            `json:"-"`
	KeyID             string            `json:"KeyId"`
	EncryptionContext map[string]string `json:"EncryptionContext"`
}

func newStandIn(t testing.TB, keys ...string) *standIn {
	t.Helper()
	block, err := aes.NewCipher([]byte(rand.Text()[:16]))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &standIn{t: t, keys: keys, aead: aead}
}

// refuse makes every further request end with an exception.
func (s *standIn) refuse(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = code
}

func (s *standIn) requests() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// encrypt is the number of the key, a nonce, and the text, bound to the context.
func (s *standIn) encrypt(key string, context map[string]string, plain []byte) []byte {
	out := append([]byte{byte(slices.Index(s.keys, key))}, rand.Text()[:s.aead.NonceSize()]...)
	return s.aead.Seal(out, out[1:], plain, bound(context))
}

func bound(context map[string]string) []byte {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(context)) {
		b.WriteString(name + "=" + context[name] + ";")
	}
	return []byte(b.String())
}

// decrypt is the plain text, or the exception that KMS ends with.
func (s *standIn) decrypt(key string, context map[string]string, blob []byte) (plain []byte, exception string) {
	head := 1 + s.aead.NonceSize()
	if len(blob) < head || int(blob[0]) >= len(s.keys) {
		return nil, "InvalidCiphertextException"
	}
	if s.keys[blob[0]] != key {
		return nil, "IncorrectKeyException"
	}
	plain, err := s.aead.Open(nil, blob[1:head], blob[head:], bound(context))
	if err != nil {
		return nil, "InvalidCiphertextException"
	}
	return plain, ""
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		request
		Plaintext, CiphertextBlob []byte
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		s.t.Errorf("request body: %v", err)
	}
	action, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if !ok || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" || !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/kms/aws4_request") {
		s.t.Errorf("no signed request of AWS JSON 1.1: %v", r.Header)
	}
	in.Action = action
	s.mu.Lock()
	s.seen = append(s.seen, in.request)
	exception := s.refusal
	s.mu.Unlock()
	out := map[string]any{"KeyId": in.KeyID}
	switch {
	case exception != "":
	case !slices.Contains(s.keys, in.KeyID):
		exception = "NotFoundException"
	case action == "Encrypt":
		out["CiphertextBlob"] = s.encrypt(in.KeyID, in.EncryptionContext, in.Plaintext)
	case action == "Decrypt":
		out["Plaintext"], exception = s.decrypt(in.KeyID, in.EncryptionContext, in.CiphertextBlob)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if exception != "" {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"__type": exception, "message": "refused by the stand-in"}
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.t.Errorf("answer: %v", err)
	}
}

package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// signer signs the thinking that the simulator emits and knows it again when it
// comes back in a conversation. What it signs is the text as the client saw it:
// either changed, both are refused.
type signer struct{ key [32]byte }

func newSigner(seed uint64) signer {
	return signer{sha256.Sum256(binary.BigEndian.AppendUint64([]byte("simulator thinking "), seed))}
}

// sealSize is the size of what stands in a signature for the sealed thinking
// that a real one carries, so that its length is of the same order.
const sealSize = 160

// sign is the signature of a thinking text; n tells one block from another.
func (g signer) sign(thinking string, n uint64) string {
	sealed := make([]byte, 0, sealSize+sha256.Size)
	for len(sealed) < sealSize {
		n++
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(g.key[:], n))
		sealed = append(sealed, sum[:]...)
	}
	return base64.StdEncoding.EncodeToString(g.mac(sealed, thinking))
}

// verify says whether sign made the signature for that very text.
func (g signer) verify(thinking, signature string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil || len(b) != sealSize+sha256.Size || strings.ContainsAny(signature, "\r\n") {
		return false
	}
	return hmac.Equal(b, g.mac(b[:sealSize:sealSize], thinking))
}

// mac appends the code of a sealed part and a text to the sealed part.
func (g signer) mac(sealed []byte, thinking string) []byte {
	h := hmac.New(sha256.New, g.key[:])
	h.Write(sealed)
	h.Write([]byte(thinking))
	return h.Sum(sealed)
}

// identifier is a prefix and 22 letters and digits, the n-th of a seed.
func identifier(prefix string, seed, n uint64) string {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	const size = 22
	b := make([]byte, 0, len(prefix)+size)
	b = append(b, prefix...)
	x := mix(seed, n)
	for i := range uint64(size) {
		if i%8 == 0 {
			x = mix(x, i)
		}
		b = append(b, alphabet[x%uint64(len(alphabet))])
		x /= uint64(len(alphabet))
	}
	return string(b)
}

// mix folds x into h; the order of what is folded matters.
func mix(h, x uint64) uint64 {
	h = (h ^ x) + 0x9E3779B97F4A7C15
	h = (h ^ h>>30) * 0xBF58476D1CE4E5B9
	h = (h ^ h>>27) * 0x94D049BB133111EB
	return h ^ h>>31
}

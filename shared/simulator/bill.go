package simulator

import (
	"cmp"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"sync"

	"sluice/shared/llm"
)

// Charge is one call as the vendor bills it.
type Charge struct {
	ID        string      `json:"id"`         // of the message in the answer, msg_…
	RequestID string      `json:"request_id"` // of the answer's request-id header
	Account   string      `json:"account"`    // short hash of the credential; see AccountOf
	Model     string      `json:"model"`      // as asked
	Usage     llm.Usage   `json:"usage"`      // produced up to the last byte written
	Finished  bool        `json:"finished"`   // the terminal event, or the whole body, was written
	Body      Digest      `json:"body"`       // of the request body as received
	Answer    Digest      `json:"answer"`     // of the answer's body as written, before any content encoding
	Header    http.Header `json:"header"`     // of the request, its credentials redacted
}

// Digest is a SHA-256; as text it is lower-case hex.
type Digest [32]byte

// String is the digest in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText is the digest in hex.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a digest in hex and errs on anything else.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return errors.New("simulator: a digest is 64 hex digits")
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// bill is a ring of charges.
type bill struct {
	keep int

	mu    sync.Mutex
	lines []line // in order of their end; from oldest on once the ring is full
	next  int    // where the ring is written once it is full
}

type line struct {
	arrival uint64
	charge  Charge
}

func (b *bill) add(arrival uint64, c Charge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lines) < b.keep {
		b.lines = append(b.lines, line{arrival, c})
		return
	}
	b.lines[b.next] = line{arrival, c}
	b.next = (b.next + 1) % b.keep
}

// amend replaces a charge that was added and turned out otherwise.
func (b *bill) amend(arrival uint64, c Charge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.lines {
		if b.lines[i].arrival == arrival {
			b.lines[i].charge = c
			return
		}
	}
}

func (b *bill) list() []Charge {
	b.mu.Lock()
	lines := slices.Clone(b.lines)
	b.mu.Unlock()
	slices.SortFunc(lines, func(x, y line) int { return cmp.Compare(x.arrival, y.arrival) })
	charges := make([]Charge, len(lines))
	for i, l := range lines {
		charges[i] = l.charge
	}
	return charges
}

func (b *bill) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines, b.next = nil, 0
}

func (s *Simulator) showBill(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Bill())
}

func (s *Simulator) clearBill(w http.ResponseWriter, _ *http.Request) {
	s.ClearBill()
	w.WriteHeader(http.StatusNoContent)
}

// redacted is a copy of a request's header that shows which credentials came,
// but none of them.
func redacted(h http.Header) http.Header {
	h = h.Clone()
	for _, name := range [...]string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Cookie", "Proxy-Authorization"} {
		for i := range h[name] {
			h[name][i] = "[redacted]"
		}
	}
	return h
}

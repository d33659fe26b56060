// Package simulator is a stand-in vendor: an http.Handler that behaves like the
// Messages API of Anthropic as far as a relay and its clients can see, for local
// use, tests and load. It keeps a bill of its own, so that a test can hold a
// relay's ledger against what the vendor would charge, to the token.
//
// Answers are deterministic, and directives in a prompt (see Script) make them
// long, slow, broken or refused through any relay in between. A call is charged
// once its generation began: from the status line of an answer on, or from the
// first token of an answer that is not streamed. What is refused, reset or
// answered with rubbish is not charged.
package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the settings of a Simulator; the zero value is ready for use.
type Options struct {
	Now   func() time.Time // clock of caches and headers; nil = time.Now
	Seed  uint64           // of identifiers and of the key that signs thinking
	Speed float64          // tokens generated in a second; 0 = as fast as possible
	Keys  []string         // accepted secrets; empty = any credential that is not empty
	Keep  int              // charges kept in the bill, oldest dropped first; 0 = 100,000
	// Script, when set, decides alone how a call is answered; directives in
	// prompts and headers are not read. The body is valid during the call only.
	Script func(r *http.Request, body []byte) Script
}

// Simulator is a stand-in vendor. It is safe for concurrent use.
type Simulator struct {
	now     func() time.Time
	seed    uint64
	speed   float64
	keys    []string
	script  func(*http.Request, []byte) Script
	signer  signer
	hashing maphash.Seed
	cache   promptCache
	bill    bill
	prose   prose
	arrived atomic.Uint64 // requests
	calls   atomic.Uint64 // requests for an answer
	buffers sync.Pool     // of *scratch
	mux     *http.ServeMux
}

// scratch is the memory of one call.
type scratch struct {
	body    []byte // of the request
	pending []byte // of the answer, not yet written
	frame   []byte
}

func (s *Simulator) borrow() *scratch {
	m, ok := s.buffers.Get().(*scratch)
	if !ok {
		m = new(scratch)
	}
	return m
}

// giveBack keeps the memory of a call for the next, unless it is unusually much.
func (s *Simulator) giveBack(m *scratch) {
	const most = 1 << 20
	if cap(m.body)+cap(m.pending)+cap(m.frame) <= most {
		s.buffers.Put(m)
	}
}

// New is a simulator.
func New(o Options) *Simulator {
	if o.Now == nil {
		o.Now = time.Now
	}
	const keep = 100_000
	if o.Keep <= 0 {
		o.Keep = keep
	}
	s := &Simulator{
		now:     o.Now,
		seed:    o.Seed,
		speed:   o.Speed,
		keys:    slices.Clone(o.Keys),
		script:  o.Script,
		signer:  newSigner(o.Seed),
		hashing: maphash.MakeSeed(),
		bill:    bill{keep: o.Keep},
		prose:   newProse(),
		mux:     http.NewServeMux(),
	}
	s.mux.HandleFunc("POST /v1/messages", s.messages)
	s.mux.HandleFunc("POST /v1/messages/count_tokens", s.countTokens)
	s.mux.HandleFunc("GET /v1/models", s.models)
	s.mux.HandleFunc("GET /v1/models/{id}", s.model)
	s.mux.HandleFunc("GET /api/hello", s.hello)
	s.mux.HandleFunc("GET /sim/bill", s.showBill)
	s.mux.HandleFunc("DELETE /sim/bill", s.clearBill)
	s.mux.HandleFunc("/", s.notFound)
	return s
}

// ServeHTTP answers like api.anthropic.com, and serves the bill at /sim/bill. It
// panics with http.ErrAbortHandler to cut a connection when a script says so.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.arrived.Add(1)
	h := w.Header()
	h.Set("Request-Id", identifier("req_011C", s.seed, n))
	h.Set("Anthropic-Organization-Id", "00000000-0000-4000-8000-000000000000")
	h.Set("Server", "cloudflare")
	h.Set("Cf-Cache-Status", "DYNAMIC")
	h.Set("Cf-Ray", identifier("", ^s.seed, n)[:16]+"-SIM")
	h.Set("Via", "1.1 google")
	h.Set("X-Robots-Tag", "none")
	s.mux.ServeHTTP(w, r)
}

// Bill is a copy of the charges kept, in order of arrival of their calls. A call
// is in it by the time its client can see the end of the answer.
func (s *Simulator) Bill() []Charge { return s.bill.list() }

// ClearBill forgets every charge.
func (s *Simulator) ClearBill() { s.bill.clear() }

// account authenticates a request and names its credential by a short hash.
func (s *Simulator) account(r *http.Request) (string, *refusal) {
	key := r.Header.Get("X-Api-Key")
	if key == "" {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Bearer") {
			key = strings.TrimSpace(token)
		}
	}
	switch {
	case key == "":
		return "", refuse(http.StatusUnauthorized, "x-api-key header is required")
	case len(s.keys) > 0 && !slices.Contains(s.keys, key):
		return "", refuse(http.StatusUnauthorized, "invalid x-api-key")
	case r.Header.Get("Anthropic-Version") == "":
		return "", refuse(http.StatusBadRequest, "anthropic-version: header is required")
	}
	return AccountOf(key), nil
}

// AccountOf is the name under which the bill lists the calls of a credential.
func AccountOf(credential string) string {
	sum := sha256.Sum256([]byte(credential))
	return hex.EncodeToString(sum[:6])
}

func (s *Simulator) hello(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"message": "hello"})
}

func (s *Simulator) notFound(w http.ResponseWriter, _ *http.Request) {
	refuse(http.StatusNotFound, "Not found").write(w)
}

package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"sluice/shared/fault"
)

// administrator is the actor of whoever has the token.
const administrator = "admin"

// secure sets the headers of every answer: nothing is kept by caches, sniffed,
// framed or read across origins.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// guard lets a request in, or says why not.
func (a *api) guard(c *call) error {
	if a.Loopback && !a.served(c.r.Host) {
		// A page of another site may have had its name resolve to this machine.
		return fault.New(fault.Forbidden, "the host %q is not served here; use localhost or 127.0.0.1", c.r.Host)
	}
	if err := a.origin.Check(c.r); err != nil {
		return fault.Wrap(fault.Forbidden, err, "a page of another origin may not write here")
	}
	if !a.authentic(c.r.Header.Get("Authorization")) {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="sluice admin"`)
		return fault.New(fault.Unauthenticated, "the admin token is missing or wrong; send it as Authorization: Bearer <token>")
	}
	c.actor = administrator
	return nil
}

// served says whether a Host header names a loopback address or one of Hosts.
func (a *api) served(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsLoopback() {
		return true
	}
	same := func(name string) bool { return strings.EqualFold(name, host) }
	return same("localhost") || slices.ContainsFunc(a.Hosts, same)
}

// tokenSum is the digest of the administrator's token, nil when there is none.
func tokenSum(d *Deps) []byte {
	if !d.Token.Empty() {
		sum := sha256.Sum256([]byte(d.Token.Reveal()))
		return sum[:]
	}
	sum, err := hex.DecodeString(d.TokenSum)
	if err != nil {
		return nil
	}
	return sum
}

// authentic compares digests, so that the time it takes tells nothing of the token.
func (a *api) authentic(authorization string) bool {
	scheme, token, _ := strings.Cut(authorization, " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	equal := subtle.ConstantTimeCompare(sum[:], a.token) == 1
	return equal && token != "" && strings.EqualFold(scheme, "Bearer")
}

package relay

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/shared/admission"
	"sluice/shared/host"
)

// passHeaders copies what the upstream says of its answer, without what concerns
// only the connection to it, what describes the operator's account, and what the
// host sets by itself.
func passHeaders(to, from http.Header) {
	for name, values := range from {
		if passes(name, from) {
			to[name] = values
		}
	}
}

// withheld are response headers that stay here: of the connection, of the
// upstream's edge, and of the account.
var withheld = map[string]bool{
	"Alt-Svc": true, "Connection": true, "Content-Encoding": true, "Content-Length": true, "Date": true,
	"Keep-Alive": true, "Nel": true, "Proxy-Authenticate": true, "Report-To": true, "Server": true, "Set-Cookie": true,
	"Strict-Transport-Security": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Via": true, "Anthropic-Organization-Id": true, host.RequestID: true,
}

// withheldPrefixes are families of such headers. Rate limits are the account's; a
// client that sees them takes them for its own.
var withheldPrefixes = []string{"Anthropic-Ratelimit-", "X-Ratelimit-", "X-Codex-", "Cf-", "X-Envoy-", "Access-Control-"}

func passes(name string, h http.Header) bool {
	if withheld[name] {
		return false
	}
	for _, p := range withheldPrefixes {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	for _, listed := range h["Connection"] {
		for token := range strings.SplitSeq(listed, ",") {
			if http.CanonicalHeaderKey(strings.TrimSpace(token)) == name {
				return false
			}
		}
	}
	return true
}

// announce tells the client what its own windows have left, under the names by
// which clients of Anthropic know them.
func announce(h http.Header, g *admission.Grant) {
	requests, tokens := g.Room()
	for name, room := range map[string]*admission.Room{"Requests": requests, "Tokens": tokens} {
		if room == nil {
			continue
		}
		h.Set("Anthropic-Ratelimit-"+name+"-Limit", strconv.FormatInt(room.Limit, 10))
		h.Set("Anthropic-Ratelimit-"+name+"-Remaining", strconv.FormatInt(room.Left, 10))
		h.Set("Anthropic-Ratelimit-"+name+"-Reset", room.Reset.UTC().Format(time.RFC3339))
	}
}

// presentedIn is the secret that a request presents, from the first of the places
// where clients put it.
func presentedIn(h http.Header) string {
	if scheme, token, ok := strings.Cut(h.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		if token = strings.TrimSpace(token); token != "" {
			return token
		}
	}
	for _, name := range []string{"X-Api-Key", "X-Goog-Api-Key", "Api-Key"} {
		if v := strings.TrimSpace(h.Get(name)); v != "" {
			return v
		}
	}
	return ""
}

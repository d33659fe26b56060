package anthropic

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// forwarded is a copy of the headers that may go to a vendor. Whatever is not
// known to belong to this hop goes through: a client may use a feature that is
// newer than this relay.
func forwarded(in http.Header) http.Header {
	out := make(http.Header, len(in))
	named := connectionNames(in)
	for name, values := range in {
		if !dropped(name) && !slices.Contains(named, name) {
			out[name] = slices.Clone(values)
		}
	}
	return out
}

// connectionNames are the headers that Connection declares to be of this hop.
func connectionNames(in http.Header) []string {
	var names []string
	for _, value := range in["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			names = append(names, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	return names
}

// dropped says whether a header, in canonical form, must not reach a vendor.
func dropped(name string) bool {
	switch name {
	case "Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "X-Amz-Security-Token", "Cookie", "Set-Cookie": // credentials
		return true
	case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade": // hop-by-hop
		return true
	case "Host", "Content-Length", "Content-Encoding", "Accept-Encoding", "Expect": // of this body and connection
		return true
	case "Forwarded", "Via", "X-Real-Ip", "X-Amzn-Trace-Id", "True-Client-Ip": // of the way here
		return true
	}
	return strings.HasPrefix(name, "Proxy-") || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "Cf-")
}

// withoutKey is the raw query without the parameters named key, which may carry a
// credential; the others keep their bytes and order.
func withoutKey(raw string) string {
	var kept []string
	for pair := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err != nil || strings.EqualFold(plain, "key") {
			continue // what cannot be read cannot be known to be harmless
		}
		kept = append(kept, pair)
	}
	return strings.Join(kept, "&")
}

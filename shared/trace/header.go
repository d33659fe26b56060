package trace

import "strings"

// decision is what a trace header says of sampling.
type decision int

const (
	open decision = iota // nothing, or that it is for us to decide
	yes
	no
)

// traceHeader is what is used of a header X-Amzn-Trace-Id. Ids that are malformed
// are left out, so that what a client sends cannot fill a segment.
type traceHeader struct {
	root    string // trace id: 1-<8 hex digits of the time>-<24 hex digits>
	parent  string // segment id: 16 hex digits
	sampled decision
}

// readHeader reads a trace header. A load balancer makes a Root, or keeps the one
// it got and puts Self, its own, before it; callers that trace add Parent and
// Sampled, which the balancer keeps.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html
// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
//
// It allocates nothing: it runs for every request, traced or not.
func readHeader(s string) (h traceHeader) {
	for field := range strings.SplitSeq(s, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Root":
			h.root = ""
			if traceID(value) {
				h.root = value
			}
		case "Parent":
			h.parent = ""
			if len(value) == 16 && hex(value) {
				h.parent = value
			}
		case "Sampled":
			switch value {
			case "1":
				h.sampled = yes
			case "0":
				h.sampled = no
			default:
				h.sampled = open
			}
		}
	}
	if h.root == "" {
		h.parent = "" // a parent is one within a trace
	}
	return h
}

func traceID(s string) bool {
	const at, length = len("1-01234567-"), len("1-01234567-0123456789abcdef01234567")
	return len(s) == length && s[:2] == "1-" && hex(s[2:at-1]) && s[at-1] == '-' && hex(s[at:])
}

func hex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Package anthropic is the Anthropic Messages format, from the side of clients
// that speak it (Front) and of vendors that speak it (Back).
//
// Bodies and frames go through as they came. What is read of them is read by
// position, in one pass; what is changed (the name of the model, and nothing else)
// is a span that is replaced.
package anthropic

import (
	"time"

	"sluice/shared/llm"
	"sluice/shared/protocol"
)

// Front reads the requests of clients that speak the format, and writes answers
// and errors to them. The zero value is ready for use.
type Front struct {
	// Now tells the time, for resets that are given as a point in time; nil is
	// time.Now.
	Now func() time.Time
}

// Back reads the answers of vendors that speak the format, and adapts bodies for
// them. The zero value is ready for use.
type Back struct{}

var (
	_ protocol.Front   = Front{}
	_ protocol.Back    = Back{}
	_ protocol.Counter = Back{}
)

// Protocol is llm.Anthropic.
func (Front) Protocol() llm.Protocol { return llm.Anthropic }

// Protocol is llm.Anthropic.
func (Back) Protocol() llm.Protocol { return llm.Anthropic }

// Routes are generating and counting, below the vendor's own path and below the
// two that clients of the predecessor were configured with.
func (Front) Routes() []string {
	return []string{
		"POST /v1/messages", "POST /v1/messages/count_tokens",
		"POST /api/v1/messages", "POST /api/v1/messages/count_tokens",
		"POST /claude/v1/messages", "POST /claude/v1/messages/count_tokens",
	}
}

// Ping is a keep-alive event as the vendor writes it.
func (Front) Ping() []byte { return []byte("event: ping\ndata: {\"type\": \"ping\"}\n\n") }

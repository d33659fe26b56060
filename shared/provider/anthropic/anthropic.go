// Package anthropic is the vendor Anthropic: the Messages API at
// api.anthropic.com, or at any other base URL when a variant says so.
package anthropic

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/provider"
	"sluice/shared/sse"
)

const (
	// DefaultBaseURL is Anthropic's own endpoint.
	DefaultBaseURL = "https://api.anthropic.com"
	// defaultVersion is sent for clients that send no version: the API refuses
	// requests without one. It is the one that every model takes.
	// https://docs.anthropic.com/en/api/versioning
	defaultVersion = "2023-06-01"

	maxFrame = 8 << 20  // bytes of one event; the largest seen are 1 MB
	maxWhole = 64 << 20 // bytes of an answer in one piece
)

// Provider is Anthropic, or a vendor that speaks as it does. The zero value is
// Anthropic itself.
type Provider struct {
	Vendor  string // name; "" = anthropic
	BaseURL string // of accounts that have none; "" = Anthropic's, unless Vendor is set: then an account must have one
}

var _ provider.Provider = Provider{}

// Name is what an account's provider field says.
func (p Provider) Name() string { return cmp.Or(p.Vendor, "anthropic") }

// Speaks is Anthropic Messages.
func (Provider) Speaks() []llm.Protocol { return []llm.Protocol{llm.Anthropic} }

// Request makes the HTTP request. It errs with fault.Invalid when the account's
// base URL is missing or is no URL.
func (p Provider) Request(ctx context.Context, a provider.Account, o provider.Outbound) (*http.Request, error) {
	target, err := p.endpoint(a, o)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(o.Body))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the account's base URL cannot be used")
	}
	req.Header = o.Header.Clone()
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept-Encoding", "identity") // an encoded answer cannot be metered
	if req.Header.Get("Anthropic-Version") == "" {
		req.Header.Set("Anthropic-Version", defaultVersion)
	}
	if _, sent := req.Header["User-Agent"]; !sent {
		req.Header["User-Agent"] = nil // the client sent none: neither do we
	}
	req.Header.Del("Authorization") // whatever a client sent, only the account's credential leaves
	req.Header.Del("X-Api-Key")
	switch a.Auth {
	case provider.Bearer:
		req.Header.Set("Authorization", "Bearer "+a.Secret.Reveal())
	default:
		req.Header.Set("X-Api-Key", a.Secret.Reveal())
	}
	return req, nil
}

// endpoint is where the operation is served: a base URL may have a path, and may
// end in /v1 or not.
func (p Provider) endpoint(a provider.Account, o provider.Outbound) (string, error) {
	base := cmp.Or(a.BaseURL, p.BaseURL)
	if base == "" && p.Vendor == "" {
		base = DefaultBaseURL
	}
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", fault.At("base_url", "the account's base URL is missing or no http(s) URL (want e.g. https://llm.example.com)")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fault.At("base_url", "the account's base URL must not have a user, query or fragment (want e.g. https://llm.example.com)")
	}
	if !strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/v1") {
		u = u.JoinPath("v1")
	}
	u = u.JoinPath("messages")
	if o.Op == llm.CountTokens {
		u = u.JoinPath("count_tokens")
	}
	u.RawQuery = o.Query
	return u.String(), nil
}

// Frames splits the body of a successful answer.
func (Provider) Frames(body io.Reader, streamed bool) llm.Frames {
	if streamed {
		return sse.Frames(body, maxFrame)
	}
	return whole(body, maxWhole)
}

// whole is an answer in one piece, of at most limit bytes, as one frame.
func whole(body io.Reader, limit int64) llm.Frames {
	return func(yield func(llm.Frame, error) bool) {
		text, err := io.ReadAll(io.LimitReader(body, limit+1))
		if err == nil && int64(len(text)) > limit {
			err = fault.New(fault.UpstreamFailed, "the upstream's answer is larger than %d bytes", limit)
		}
		if err != nil {
			yield(llm.Frame{}, err)
			return
		}
		yield(llm.Frame{Raw: text, Data: text}, nil)
	}
}

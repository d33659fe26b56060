package anthropic

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/shared/fault"
	"sluice/shared/provider"
)

const (
	credentialCool = 5 * time.Minute  // an operator has to act
	limitCool      = 30 * time.Second // a rate limit that names no reset
	maxLimitCool   = time.Hour
	overloadCool   = 10 * time.Second
	failureCool    = 2 * time.Second // one failure of the vendor's is often the last
	missingCool    = time.Minute     // a model that this account does not have
	maxMessage     = 4 << 10

	statusOverloaded = 529
)

// refusal is the vendor's error in its envelope.
type refusal struct {
	Error struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
}

// Judge says what an error answer means. Messages of 400 and 413 go to the client
// unchanged, because clients act on their words ("prompt is too long: …"); others
// may name the account and do not.
func (p Provider) Judge(status int, h http.Header, body []byte, now time.Time) provider.Verdict {
	var r refusal
	if json.Unmarshal(body, &r) != nil {
		r = refusal{} // a proxy's HTML, or nothing: the status alone counts
	}
	switch {
	case status >= 200 && status < 300:
		return provider.Verdict{}
	case status == http.StatusUnauthorized, status == http.StatusForbidden, unusable(status, r.Error.Type, r.Error.Message):
		return account(now.Add(credentialCool), provider.WholeAccount,
			fault.New(fault.UpstreamFailed, "the upstream refused the account's credential or its billing (status %d)", status))
	case status == http.StatusTooManyRequests:
		return limited(h, now)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return missing(status, r, now)
	case status == statusOverloaded, status == http.StatusServiceUnavailable:
		return provider.Verdict{
			Blame: provider.ByVendor, Scope: p.overloaded(), CoolUntil: now.Add(min(after(h, now, overloadCool), overloadCool)),
			Err: fault.New(fault.UpstreamBusy, "the upstream is overloaded; try again").After(time.Second),
		}
	case status >= 500 || status == http.StatusRequestTimeout || status < 400:
		return account(now.Add(failureCool), provider.WholeAccount, fault.New(fault.UpstreamFailed, "the upstream failed with status %d", status))
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge:
		return provider.Verdict{Blame: provider.ByCaller, Err: refused(status, r.Error.Type, r.Error.Message)}
	default:
		return provider.Verdict{Blame: provider.ByCaller, Err: refused(status, r.Error.Type, "")}
	}
}

func account(until time.Time, s provider.Scope, err *fault.Error) provider.Verdict {
	return provider.Verdict{Blame: provider.ByAccount, Scope: s, CoolUntil: until, Err: err}
}

// overloaded is what an overload says of. Accounts of a variant share no vendor
// that they could overload together, only a name.
func (p Provider) overloaded() provider.Scope {
	if p.Vendor != "" {
		return provider.OneFamily
	}
	return provider.VendorFamily
}

// missing is something that is not there: a model, which another account may
// have; a file that the caller names; or the operation itself, when the answer is
// not in the vendor's envelope. Only the first says anything of the account's
// health: an endpoint that does not count tokens still generates, and a caller
// must not be able to cool accounts with names of files.
func missing(status int, r refusal, now time.Time) provider.Verdict {
	switch {
	case status == http.StatusNotFound && strings.HasPrefix(r.Error.Message, "model"):
		return account(now.Add(missingCool), provider.OneFamily, refused(status, r.Error.Type, "the upstream does not have this model"))
	case status == http.StatusNotFound && r.Error.Type != "":
		return provider.Verdict{Blame: provider.ByCaller, Err: refused(status, r.Error.Type, "")}
	}
	return account(time.Time{}, provider.WholeAccount, refused(status, r.Error.Type, "the upstream does not have this operation"))
}

func refused(status int, kind, message string) *fault.Error {
	if message == "" {
		message = "the upstream refused the request with status " + strconv.Itoa(status)
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "")
	}
	if kind == "" {
		kind = kindOf(status)
	}
	return &fault.Error{Code: fault.UpstreamRefused, Message: message, Status: status, Kind: kind}
}

// kindOf is the error type that the vendor has for a status.
func kindOf(status int) string {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusNotImplemented:
		return "not_supported"
	}
	return "invalid_request_error"
}

// unusable says whether a refusal is about the account's money or standing and
// not about the request, though its status says otherwise.
func unusable(status int, kind, message string) bool {
	return status == http.StatusPaymentRequired ||
		status == http.StatusBadRequest && (kind == "billing_error" ||
			strings.Contains(message, "credit balance is too low") ||
			strings.Contains(message, "organization has been disabled"))
}

// limited is a rate limit: of a model family, unless the vendor says that the
// whole account is out.
func limited(h http.Header, now time.Time) provider.Verdict {
	wait := after(h, now, limitCool)
	scope := provider.OneFamily
	if h.Get("Anthropic-Ratelimit-Unified-Status") == "rejected" {
		scope = provider.WholeAccount
	}
	err := fault.New(fault.UpstreamBusy, "the upstream's rate limit is reached; try again").After(max(wait, time.Second))
	err.Status = http.StatusTooManyRequests
	return account(now.Add(wait), scope, err)
}

// resets are the headers that tell when a rate limit ends, as RFC 3339 times.
var resets = []string{
	"Anthropic-Ratelimit-Requests-Reset", "Anthropic-Ratelimit-Tokens-Reset",
	"Anthropic-Ratelimit-Input-Tokens-Reset", "Anthropic-Ratelimit-Output-Tokens-Reset",
}

// after is how long the vendor asks to wait: Retry-After in seconds or as a date,
// else the latest reset of a limit that has nothing left, else otherwise.
func after(h http.Header, now time.Time, otherwise time.Duration) time.Duration {
	if text := h.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 {
			return bounded(time.Duration(min(seconds, maxLimitCool.Seconds()) * float64(time.Second)))
		}
		if at, err := http.ParseTime(text); err == nil {
			return bounded(at.Sub(now))
		}
	}
	if text := h.Get("Anthropic-Ratelimit-Unified-Reset"); text != "" {
		if unix, err := strconv.ParseInt(text, 10, 64); err == nil {
			return bounded(time.Unix(unix, 0).Sub(now))
		}
	}
	var latest time.Duration
	for _, name := range resets {
		left := h.Get(strings.TrimSuffix(name, "Reset") + "Remaining")
		at, err := time.Parse(time.RFC3339, h.Get(name))
		if err == nil && (left == "0" || left == "") {
			latest = max(latest, at.Sub(now))
		}
	}
	if latest > 0 {
		return bounded(latest)
	}
	return otherwise
}

func bounded(d time.Duration) time.Duration { return min(max(d, time.Second), maxLimitCool) }

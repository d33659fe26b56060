package anthropic

import (
	"sluice/shared/fault"
	"sluice/shared/protocol/jsonscan"
)

// Retarget is body with its top-level model replaced, or body itself when it
// names that model already. The body is one that ReadCall accepted, so it names
// the model once; reading stops there. It errs with fault.Invalid when body
// names none.
func (Back) Retarget(body []byte, model string) ([]byte, error) {
	scan, ok := member(body, "model")
	at, ok := stringAt(&scan, ok)
	switch {
	case !ok:
		return nil, fault.At("model", "is required")
	case jsonscan.Is(at.Of(body), model):
		return body, nil
	}
	return jsonscan.Splice(body, at, jsonscan.Quote(model)), nil
}

// CountBody is the body for the vendor's count of a generating body: those of its
// members that a count takes, byte for byte. It errs with fault.Invalid when body
// is no JSON object or has none of them.
func (Back) CountBody(body []byte) ([]byte, error) {
	scan := jsonscan.New(body)
	out := append(make([]byte, 0, len(body)), '{')
	err := scan.Object(func(name jsonscan.Span) error {
		value, err := scan.Value()
		if err != nil || !countable(jsonscan.Text(name.Of(body))) {
			return err
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, name.Of(body)...), ':'), value.Of(body)...)
		return nil
	})
	if err == nil {
		err = scan.End()
	}
	switch {
	case err != nil:
		return nil, malformed(err)
	case len(out) == 1:
		return nil, fault.At("messages", "there is nothing to count")
	}
	return append(out, '}'), nil
}

// countable says whether the vendor's count takes a member; it refuses the others.
func countable(name []byte) bool {
	switch string(name) {
	case "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format",
		"cache_control", "speed", "context_management", "mcp_servers", "compaction", "billing_policy":
		return true
	}
	return false
}

// ReadCount is the number of input tokens that the answer to a count tells. It
// errs with fault.UpstreamFailed when it tells none.
func (Back) ReadCount(answer []byte) (int64, error) {
	if scan, ok := member(answer, "input_tokens"); ok {
		if at, err := scan.Value(); err == nil {
			if n, ok := jsonscan.Int(at.Of(answer)); ok && n >= 0 {
				return n, nil
			}
		}
	}
	return 0, fault.New(fault.UpstreamFailed, "the model's vendor answered a count of tokens without a number")
}

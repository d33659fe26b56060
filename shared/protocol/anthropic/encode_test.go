package anthropic

import (
	"strings"
	"testing"

	"sluice/shared/fault"
	"sluice/shared/llm"
)

// relayed is a stream that was decoded and encoded again.
func relayed(f llm.Frames, asked, sent string) (raw string, last error) {
	for frame, err := range (Front{}).Encode(Back{}.Decode(f), asked, sent) {
		if err != nil {
			return raw, err
		}
		raw += string(frame.Raw)
	}
	return raw, nil
}

func TestEncodeChangesNothing(t *testing.T) {
	if got, err := relayed(frames(answer), "m", "m"); err != nil || got != answer {
		t.Errorf("%v; %q", err, got)
	}
}

func TestEncodeGivesTheClientItsModel(t *testing.T) {
	const vendors, clients = "claude-x-20260101", `my "model"`
	want := strings.Replace(answer, `"`+vendors+`"`, `"my \"model\""`, 1)
	if got, err := relayed(frames(answer), clients, "claude-x"); err != nil || got != want {
		t.Errorf("%v; %q", err, got)
	}
	for body, want := range map[string]string{
		`{"type":"message", "model" : "v","content":[{"model":"v"}]}`:   `{"type":"message", "model" : "c","content":[{"model":"v"}]}`,
		`{"type":"message","m\u006fdel":"v"}`:                           `{"type":"message","m\u006fdel":"c"}`,
		`{"type":"message","model":null}`:                               `{"type":"message","model":null}`,
		`{"type":"message"}`:                                            `{"type":"message"}`,
		`{"type":"message","model":"c"}`:                                `{"type":"message","model":"c"}`,
		"{\n\t\"type\": \"message\",\n\t\"model\": \"a longer one\"\n}": "{\n\t\"type\": \"message\",\n\t\"model\": \"c\"\n}",
	} {
		if got, err := relayed(whole(body), "c", "v"); err != nil || got != want {
			t.Errorf("%v; %s, want %s", err, got, want)
		}
	}
}

// Data in several lines is no part of the frame as it came.
func TestEncodeRewritesDataOfSeveralLines(t *testing.T) {
	got, err := relayed(frames("event: message_start\ndata: {\"message\":\ndata: {\"model\":\"v\"}}\n\nevent: message_stop\ndata: {}\n\n"), "c", "v")
	want := "event: message_start\ndata: {\"message\":\ndata: {\"model\":\"c\"}}\n\nevent: message_stop\ndata: {}\n\n"
	if err != nil || got != want {
		t.Errorf("%v; %q", err, got)
	}
	got, err = relayed(frames("data: {\"type\":\"message_start\",\ndata: \"message\":{\"model\":\"v\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n"), "c", "v")
	want = "data: {\"type\":\"message_start\",\ndata: \"message\":{\"model\":\"c\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n"
	if err != nil || got != want {
		t.Errorf("without a name: %v; %q", err, got)
	}
}

func TestEncodeLeavesAStartWithoutModel(t *testing.T) {
	for _, start := range []string{`{}`, `{"message":1}`, `{"message":{"model":1}}`, `{"message":{"id":"x"}}`, `broken`} {
		stream := "event: message_start\ndata: " + start + "\n\nevent: message_stop\ndata: {}\n\n"
		if got, err := relayed(frames(stream), "c", "v"); err != nil || got != stream {
			t.Errorf("%s: %v; %q", start, err, got)
		}
	}
}

func TestEncodeEndsWithAFault(t *testing.T) {
	const head = "event: ping\ndata: {}\n\n"
	for stream, want := range map[string]fault.Code{
		head + "event: error\ndata: {\"error\":{\"type\":\"overloaded_error\"}}\n\n": fault.UpstreamBusy,
		head: fault.UpstreamCut,
	} {
		if got, err := relayed(frames(stream), "m", "m"); got != head || fault.CodeOf(err) != want {
			t.Errorf("%q: %v after %q", stream, err, got)
		}
	}
}

func TestEncodeStopsWhenTheReaderStops(t *testing.T) {
	for frame, err := range (Front{}).Encode(Back{}.Decode(frames(answer)), "m", "m") {
		if err != nil || len(frame.Raw) == 0 {
			t.Fatal(err)
		}
		break
	}
}

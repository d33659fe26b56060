package anthropic

import (
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/sse"
)

// answer is a stream as the vendor sends it.
const answer = `event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","model":"claude-x-20260101","content":[],"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"cache_read_input_tokens":5,"output_tokens":1,"service_tier":"standard","inference_geo":"us"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi \"you\""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: news
data: {"type":"news"}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":5,"output_tokens":7,"output_tokens_details":{"thinking_tokens":3},"server_tool_use":{"web_search_requests":2,"web_fetch_requests":1},"speed":"fast"}}

event: message_stop
data: {"type":"message_stop"}

`

// frames are the events of a stream.
func frames(stream string) llm.Frames { return sse.Frames(strings.NewReader(stream), 1<<20) }

// whole is a body in one piece, as a provider hands it on.
func whole(body string) llm.Frames {
	return func(yield func(llm.Frame, error) bool) {
		yield(llm.Frame{Raw: []byte(body), Data: []byte(body)}, nil)
	}
}

// seen is what a test compares of an event.
type seen struct {
	Kind      llm.Kind
	Generated int
	Code      fault.Code
}

// watch decodes and checks that every event keeps its frame and its origin.
func watch(t *testing.T, f llm.Frames) (got []seen, used llm.Usage, raw string, last error) {
	t.Helper()
	for ev, err := range (Back{}).Decode(f) {
		if ev.From != llm.Anthropic {
			t.Errorf("an event is from %q", ev.From)
		}
		if err != nil {
			last = err
			continue
		}
		s := seen{Kind: ev.Kind, Generated: ev.Generated}
		if ev.Err != nil {
			s.Code = fault.CodeOf(ev.Err)
		}
		got = append(got, s)
		used.Merge(ev.Usage)
		raw += string(ev.Frame.Raw)
	}
	return got, used, raw, last
}

func n(v int64) *int64 { return &v }

func TestDecodeAStream(t *testing.T) {
	want := []seen{
		{Kind: llm.Start}, {Kind: llm.Other}, {Kind: llm.Ping}, {Kind: llm.Delta, Generated: 10}, {Kind: llm.Delta},
		{Kind: llm.Other}, {Kind: llm.Other}, {Kind: llm.Tally}, {Kind: llm.Stop},
	}
	usage := llm.Usage{
		Input: n(10), Output: n(7), CacheRead: n(5), CacheWrite5m: n(10), CacheWrite1h: n(20), Reasoning: n(3),
		Units: map[llm.Unit]int64{llm.WebSearches: 2, llm.WebFetches: 1}, Tier: "standard", Speed: "fast", Region: "us",
	}
	var nameless strings.Builder
	for line := range strings.Lines(answer) {
		if !strings.HasPrefix(line, "event:") {
			nameless.WriteString(line)
		}
	}
	for _, stream := range []string{answer, nameless.String(), strings.ReplaceAll(answer, "\n", "\r\n")} {
		got, used, raw, err := watch(t, frames(stream))
		if err != nil || raw != stream {
			t.Errorf("%v; frames make %q", err, raw)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(usage, used); diff != "" {
			t.Errorf("usage (-want +got)\n%s", diff)
		}
	}
}

func TestDecodeAWholeAnswer(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       seen // the zero value = none: the answer was cut
		usage      llm.Usage
	}{
		{"message", `{"type":"message","model":"m","content":[{"type":"text","text":"Hello"},{"type":"tool_use","name":"f","input":{"a":1}}],"usage":{"input_tokens":4,"output_tokens":6,"cache_creation_input_tokens":9}}`,
			seen{Kind: llm.Whole, Generated: 12}, llm.Usage{Input: n(4), Output: n(6), CacheWrite5m: n(9)}},
		{"count", `{"input_tokens":12}`, seen{Kind: llm.Whole}, llm.Usage{}},
		{"error", `{"type":"error","error":{"type":"api_error","message":"secret"}}`, seen{Kind: llm.Fail, Code: fault.UpstreamFailed}, llm.Usage{}},
		{"cut", `{"type":"message","content":[{"ty`, seen{}, llm.Usage{}},
		{"garbage", `<html>busy</html>`, seen{}, llm.Usage{}},
		{"odd usage", `{"type":"message","usage":{"input_tokens":"4","output_tokens":-1,"cache_creation":null,"server_tool_use":null,"iterations":{}}}`, seen{Kind: llm.Whole}, llm.Usage{}},
		{"no usage", `{"type":"message","usage":null,"content":"text"}`, seen{Kind: llm.Whole}, llm.Usage{}},
		{"compaction", `{"type":"message","usage":{"input_tokens":4,"output_tokens":6,"iterations":[{"type":"compaction","input_tokens":100,"output_tokens":20},{"type":"message","input_tokens":4,"output_tokens":6},7]}}`,
			seen{Kind: llm.Whole}, llm.Usage{Input: n(104), Output: n(26)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, used, raw, err := watch(t, whole(test.body))
			if test.want == (seen{}) {
				if fault.CodeOf(err) != fault.UpstreamCut || len(got) > 0 {
					t.Errorf("%v; %+v", err, got)
				}
				return
			}
			if err != nil || raw != test.body {
				t.Errorf("%v; %q", err, raw)
			}
			if diff := cmp.Diff([]seen{test.want}, got); diff != "" {
				t.Errorf("events (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.usage, used); diff != "" {
				t.Errorf("usage (-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecodeFailures(t *testing.T) {
	for data, want := range map[string]fault.Error{
		`{"type":"error","error":{"type":"overloaded_error","message":"x"}}`:                       {Code: fault.UpstreamBusy},
		`{"type":"error","error":{"type":"rate_limit_error","message":"x"}}`:                       {Code: fault.UpstreamBusy},
		`{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"}}`: {Code: fault.UpstreamRefused, Status: 400, Kind: "invalid_request_error", Message: "prompt is too long"},
		`{"type":"error","error":{"type":"api_error","message":"org_1 failed"}}`:                   {Code: fault.UpstreamFailed},
		`{"type":"error","error":"x"}`:                                                             {Code: fault.UpstreamFailed},
		`broken`:                                                                                   {Code: fault.UpstreamFailed},
	} {
		stream := "event: error\ndata: " + data + "\n\n"
		events := 0
		for ev, err := range (Back{}).Decode(frames(stream + "event: ping\ndata: {}\n\n")) {
			events++
			e := fault.From(ev.Err)
			if err != nil || ev.Kind != llm.Fail || string(ev.Frame.Raw) != stream {
				t.Fatalf("%s: %v, %+v", data, err, ev)
			}
			if e.Code != want.Code || e.Status != want.Status || e.Kind != want.Kind || want.Message != "" && e.Message != want.Message {
				t.Errorf("%s is %+v", data, e)
			}
			if e.Message == "" || strings.Contains(e.Message, "org_1") {
				t.Errorf("%s: message %q", data, e.Message)
			}
		}
		if events != 1 {
			t.Errorf("%s: %d events", data, events)
		}
	}
}

func TestDecodeTellsACutAnswer(t *testing.T) {
	cutOff := answer[:strings.Index(answer, "event: message_stop")]
	broken := errors.New("reset by peer")
	then := func(f llm.Frames, err error) llm.Frames {
		return func(yield func(llm.Frame, error) bool) {
			for frame := range f {
				if !yield(frame, nil) {
					return
				}
			}
			yield(llm.Frame{}, err)
		}
	}
	for name, test := range map[string]struct {
		in   llm.Frames
		want fault.Code // "" is none
	}{
		"no terminal event":    {frames(cutOff), fault.UpstreamCut},
		"nothing at all":       {frames(""), fault.UpstreamCut},
		"reset":                {then(frames(cutOff), broken), fault.UpstreamCut},
		"silence":              {then(frames(cutOff), fault.New(fault.UpstreamTimeout, "silent")), fault.UpstreamTimeout},
		"reset after the end":  {then(frames(answer), broken), ""},
		"reset after the body": {then(whole(`{"type":"message"}`), io.ErrUnexpectedEOF), ""},
	} {
		_, _, _, err := watch(t, test.in)
		if (err == nil) != (test.want == "") || err != nil && fault.CodeOf(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeStopsWhenTheReaderStops(t *testing.T) {
	next, stop := iter.Pull2((Back{}).Decode(frames(answer)))
	if _, err, ok := next(); !ok || err != nil {
		t.Fatal(err)
	}
	stop()
	if _, _, ok := next(); ok {
		t.Error("it goes on")
	}
}

// The end of a stream repeats only the sum of the cache writes: the split that
// its start told must hold.
func TestCacheWritesKeepTheirSplit(t *testing.T) {
	for name, test := range map[string]struct {
		start, end  string
		five, hours *int64
	}{
		"sum alone":   {`"cache_creation_input_tokens":8`, `"cache_creation_input_tokens":8`, n(8), nil},
		"split, sum":  {`"cache_creation_input_tokens":8,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":5}`, `"cache_creation_input_tokens":8`, n(3), n(5)},
		"split, none": {`"cache_creation":{"ephemeral_1h_input_tokens":5}`, `"output_tokens":1`, nil, n(5)},
		"split grows": {`"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":0}`, `"cache_creation_input_tokens":8`, n(8), n(0)},
	} {
		_, used, _, err := watch(t, frames(`data: {"type":"message_start","message":{"usage":{`+test.start+"}}}\n\n"+
			`data: {"type":"message_delta","usage":{`+test.end+"}}\n\ndata: {\"type\":\"message_stop\"}\n\n"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]*int64{test.five, test.hours}, []*int64{used.CacheWrite5m, used.CacheWrite1h}); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestDeltasAllocateNothing(t *testing.T) {
	var d decoder
	frame := llm.Frame{Event: []byte("content_block_delta"), Data: []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}`)}
	if got := testing.AllocsPerRun(100, func() { _ = d.event(frame) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
	frame.Event = nil
	if got := testing.AllocsPerRun(100, func() { _ = d.event(frame) }); got != 0 {
		t.Errorf("%v allocations without a name", got)
	}
}

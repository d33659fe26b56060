package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/packages/param"
	"github.com/google/go-cmp/cmp"

	"sluice/shared/llm"
	"sluice/shared/simulator"
	"sluice/shared/usage"
)

const sdkModel = "claude-sonnet-4-5"

// sdkMatch holds that one of the rows has the figures of a charge.
func sdkMatch(t testing.TB, rows []usage.Record, c simulator.Charge) {
	t.Helper()
	var nearest string
	for i := range rows {
		diff := cmp.Diff(sdkFigures(c.Usage), sdkFigures(rows[i].Usage))
		if diff == "" && rows[i].Model == c.Model && rows[i].Cost > 0 && !rows[i].Estimated && !rows[i].Unpriced {
			return
		}
		nearest = fmt.Sprintf("%s(the row: %+v)", diff, rows[i])
	}
	t.Errorf("no record is as the vendor's charge %s (-bill +record)\n%s", c.ID, nearest)
}

// sdkFigures are the tokens and units of a usage.
func sdkFigures(u llm.Usage) map[string]int64 {
	figures := map[string]int64{
		"input": llm.Count(u.Input), "output": llm.Count(u.Output), "cache read": llm.Count(u.CacheRead),
		"cache write 5m": llm.Count(u.CacheWrite5m), "cache write 1h": llm.Count(u.CacheWrite1h), "reasoning": llm.Count(u.Reasoning),
	}
	for unit, n := range u.Units {
		if n != 0 {
			figures[string(unit)] = n
		}
	}
	return figures
}

func sdkParams(prompt string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: sdkModel, MaxTokens: 2048,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(prompt))},
	}
}

// sdkStream reads a streamed answer to its end.
func sdkStream(t *testing.T, c anthropic.Client, p anthropic.MessageNewParams) (*anthropic.Message, error) {
	t.Helper()
	stream := c.Messages.NewStreaming(t.Context(), p)
	m := new(anthropic.Message)
	for stream.Next() {
		if err := m.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	return m, errors.Join(stream.Err(), stream.Close())
}

// sdkWhole reads an answer in one piece.
func sdkWhole(t *testing.T, c anthropic.Client, p anthropic.MessageNewParams) (*anthropic.Message, error) {
	t.Helper()
	return c.Messages.New(t.Context(), p)
}

// TestSDKAnswers has the vendor's own client ask through the relay, in both forms.
func TestSDKAnswers(t *testing.T) {
	cached := sdkParams("hello [[sim search=2 unicode=1]]")
	cached.System = []anthropic.TextBlockParam{{
		Text: strings.Repeat("be brief and exact. ", 400), CacheControl: anthropic.CacheControlEphemeralParam{TTL: "1h"},
	}}
	thinking := sdkParams("hello [[sim output=900]]")
	thinking.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
	cases := map[string]struct {
		params anthropic.MessageNewParams
		check  func(*anthropic.Message) error
	}{
		"text":             {sdkParams("hello"), sdkHas("text")},
		"long":             {sdkParams("hello [[sim output=2000 chunk=7]]"), sdkHas("text")},
		"split frames":     {sdkParams("hello [[sim unicode=1 split=1 crlf=1]]"), sdkHas("text")},
		"cache and search": {cached, sdkHas("server_tool_use")},
		"thinking": {thinking, func(m *anthropic.Message) error {
			if m.Usage.OutputTokensDetails.ThinkingTokens == 0 || m.Content[0].AsThinking().Signature == "" {
				return fmt.Errorf("no thinking, or none that is signed: %s", m.Usage.RawJSON())
			}
			return sdkHas("thinking")(m)
		}},
	}
	for name, c := range cases {
		for form, ask := range map[string]func(*testing.T, anthropic.Client, anthropic.MessageNewParams) (*anthropic.Message, error){
			"stream": sdkStream, "whole": sdkWhole,
		} {
			t.Run(name+"/"+form, func(t *testing.T) {
				r := newSDKRig(t)
				m, err := ask(t, r.client(sdkKey), c.params)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.check(m); err != nil {
					t.Error(err)
				}
				row := r.balanced(t, 1)[0]
				if row.Outcome != usage.Complete || row.Stream != (form == "stream") || row.Code != "" {
					t.Errorf("the record says %+v", row)
				}
				charge := r.vendor.Bill()[0]
				if m.ID != charge.ID || m.Usage.OutputTokens != llm.Count(charge.Usage.Output) || m.Usage.InputTokens != llm.Count(charge.Usage.Input) {
					t.Errorf("the client has %s %s, the bill %+v", m.ID, m.Usage.RawJSON(), charge)
				}
			})
		}
	}
}

// sdkHas wants a content block of a type.
func sdkHas(kind string) func(*anthropic.Message) error {
	return func(m *anthropic.Message) error {
		for _, b := range m.Content {
			if b.Type == kind {
				return nil
			}
		}
		return fmt.Errorf("no %s block in %+v", kind, m.Content)
	}
}

// TestSDKTools holds two turns: the model asks for a tool and gets its result.
func TestSDKTools(t *testing.T) {
	for form, ask := range map[string]func(*testing.T, anthropic.Client, anthropic.MessageNewParams) (*anthropic.Message, error){
		"stream": sdkStream, "whole": sdkWhole,
	} {
		t.Run(form, func(t *testing.T) {
			r := newSDKRig(t)
			client := r.client(sdkKey)
			p := sdkParams("weather? [[sim tool=weather]]")
			p.Tools = []anthropic.ToolUnionParam{anthropic.ToolUnionParamOfTool(anthropic.ToolInputSchemaParam{
				Properties: map[string]any{"city": map[string]string{"type": "string"}}, Required: []string{"city"},
			}, "weather")}
			first, err := ask(t, client, p)
			if err != nil {
				t.Fatal(err)
			}
			use := first.Content[len(first.Content)-1].AsToolUse()
			var input struct{ City string }
			if err := json.Unmarshal(use.Input, &input); err != nil || input.City == "" || first.StopReason != "tool_use" {
				t.Fatalf("stopped for %s with %s (%v)", first.StopReason, use.Input, err)
			}
			p.Messages = append(p.Messages, first.ToParam(), anthropic.NewUserMessage(anthropic.NewToolResultBlock(use.ID, "rain", false)))
			if _, err = ask(t, client, p); err != nil {
				t.Fatal(err)
			}
			r.balanced(t, 2)
		})
	}
}

// TestSDKFree asks for what costs nothing and leaves no record.
func TestSDKFree(t *testing.T) {
	r := newSDKRig(t)
	client := r.client(sdkKey)
	p := sdkParams("hello there")
	count, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: p.Model, Messages: p.Messages})
	if err != nil || count.InputTokens == 0 {
		t.Fatalf("counted %+v, %v", count, err)
	}
	models := client.Models.ListAutoPaging(t.Context(), anthropic.ModelListParams{Limit: param.NewOpt(int64(3))})
	seen := make(map[string]bool)
	for models.Next() {
		if id := models.Current().ID; seen[id] {
			t.Errorf("%s is listed twice", id)
		} else {
			seen[id] = true
		}
	}
	if err := models.Err(); err != nil || !seen[sdkModel] || len(seen) <= 3 {
		t.Errorf("models %v, %v", seen, err)
	}
	model, err := client.Models.Get(t.Context(), sdkModel, anthropic.ModelGetParams{})
	if err != nil || model.ID != sdkModel {
		t.Errorf("model %+v, %v", model, err)
	}
	_, err = client.Models.Get(t.Context(), "claude-none", anthropic.ModelGetParams{})
	sdkRefused(t, err, 404, "not_found_error")
	r.balanced(t, 0)

	m, err := client.Messages.New(t.Context(), p)
	if err != nil || m.Usage.InputTokens != count.InputTokens {
		t.Errorf("counted %d, then used %+v (%v)", count.InputTokens, m, err)
	}
	r.balanced(t, 1)
}

// sdkRefused holds an error of the SDK against a status and a type.
func sdkRefused(t *testing.T, err error, status int, kind string) {
	t.Helper()
	refused, ok := errors.AsType[*anthropic.Error](err)
	if !ok {
		t.Fatalf("%v is no answer, want %d", err, status)
	}
	if !strings.Contains(refused.RawJSON(), `"request_id":"`+refused.RequestID+`"`) {
		t.Errorf("the body does not repeat the id %s: %s", refused.RequestID, refused.RawJSON())
	}
	if refused.StatusCode != status || string(refused.Type()) != kind || refused.RequestID == "" {
		t.Errorf("%d %s (request %q), want %d %s: %s", refused.StatusCode, refused.Type(), refused.RequestID, status, kind, refused.RawJSON())
	}
}

// TestSDKErrors has calls refused before an answer: the client sees the vendor's
// own shape and the true status, and nobody is billed.
func TestSDKErrors(t *testing.T) {
	cases := map[string]struct {
		key, model, prompt string
		status             int
		kind               string
		records            int // of calls that were admitted; each costs nothing
	}{
		"bad key":            {"test-key-unknown", sdkModel, "hello", 401, "authentication_error", 0},
		"no key":             {"", sdkModel, "hello", 401, "authentication_error", 0},
		"unknown model":      {sdkFreeKey, "gpt-none", "hello", 404, "not_found_error", 1},
		"unpriced model":     {sdkKey, "gpt-none", "hello", 403, "permission_error", 0},
		"rate limited":       {sdkKey, sdkModel, "hello [[sim status=429 retry_after=7]]", 429, "rate_limit_error", 1},
		"overloaded":         {sdkKey, sdkModel, "hello [[sim status=529]]", 529, "overloaded_error", 1},
		"invalid":            {sdkKey, sdkModel, "hello [[sim status=400 message=prompt+is+too+long]]", 400, "invalid_request_error", 1},
		"overloaded at once": {sdkKey, sdkModel, "hello [[sim error=overloaded_error at=0]]", 529, "overloaded_error", 1},
	}
	for name, c := range cases {
		for form, ask := range map[string]func(*testing.T, anthropic.Client, anthropic.MessageNewParams) (*anthropic.Message, error){
			"stream": sdkStream, "whole": sdkWhole,
		} {
			t.Run(name+"/"+form, func(t *testing.T) {
				r := newSDKRig(t)
				p := sdkParams(c.prompt)
				p.Model = c.model
				_, err := ask(t, r.client(c.key), p)
				sdkRefused(t, err, c.status, c.kind)
				for _, row := range r.records(t, c.records) {
					if row.Outcome != usage.Failed || row.Cost != 0 || row.Tokens() != 0 || row.Code == "" {
						t.Errorf("the record says %+v", row)
					}
				}
				if bill := r.vendor.Bill(); len(bill) != 0 {
					t.Errorf("the vendor bills %+v", bill)
				}
			})
		}
	}
}

// TestSDKLimits has keys refused for limits of their own: a rate, which is worth
// waiting for, and a budget, which is not.
func TestSDKLimits(t *testing.T) {
	r := newSDKRig(t)
	if _, err := sdkStream(t, r.client(sdkOnceKey), sdkParams("hello")); err != nil {
		t.Fatal(err)
	}
	_, err := sdkWhole(t, r.client(sdkOnceKey), sdkParams("hello"))
	sdkRefused(t, err, 429, "rate_limit_error")
	_, err = sdkStream(t, r.client(sdkPoorKey), sdkParams("hello"))
	sdkRefused(t, err, 429, "billing_error")
	if refused, ok := errors.AsType[*anthropic.Error](err); !ok || refused.Response.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("a spent budget is to be tried again: %v", err)
	}
	r.balanced(t, 1)
}

// TestSDKErrorInStream ends a stream with the vendor's error: the client gets it as
// one, and the part that was produced is recorded, never below what the client saw.
func TestSDKErrorInStream(t *testing.T) {
	r := newSDKRig(t)
	m, err := sdkStream(t, r.client(sdkKey), sdkParams("hello [[sim output=500 error=overloaded_error at=12]]"))
	if err == nil || !strings.Contains(err.Error(), "overloaded_error") {
		t.Errorf("the client saw %v", err)
	}
	row, charge := r.records(t, 1)[0], r.vendor.Bill()[0]
	if row.Outcome != usage.Cut || !row.Estimated || row.Cost <= 0 || row.Cost > row.Held {
		t.Errorf("the record says %+v", row)
	}
	if row.Usage.InputTotal() != charge.Usage.InputTotal() || llm.Count(row.Usage.Output) < m.Usage.OutputTokens {
		t.Errorf("recorded %+v, billed %+v", row.Usage, charge.Usage)
	}
}

// TestSDKCancelled leaves in mid-stream: the answer is read on, and recorded as
// the vendor bills it.
func TestSDKCancelled(t *testing.T) {
	r := newSDKRig(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	client := r.client(sdkKey)
	stream := client.Messages.NewStreaming(ctx, sdkParams("hello [[sim output=200 delay=5ms]]"))
	for events := 0; events < 5; events++ {
		if !stream.Next() {
			t.Fatalf("the stream ended after %d events: %v", events, stream.Err())
		}
	}
	if bill := r.vendor.Bill(); len(bill) != 0 && bill[0].Finished {
		t.Fatal("the vendor had finished before the client left")
	}
	leave()
	for stream.Next() { // what was buffered may still come
	}
	if !errors.Is(stream.Err(), context.Canceled) {
		t.Errorf("the client saw %v", stream.Err())
	}
	if err := stream.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if row := r.balanced(t, 1)[0]; row.Outcome != usage.Complete {
		t.Errorf("the record says %+v", row)
	}
	if !r.vendor.Bill()[0].Finished {
		t.Error("the vendor was not read to the end")
	}
}

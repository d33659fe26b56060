package simulator_test

import (
	"errors"
	"testing"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"

	"sluice/shared/llm"
	"sluice/shared/simulator"
)

// TestOfficialSDK has the vendor's own client hold two turns with the simulator:
// it must understand every event, and add up what the bill says.
func TestOfficialSDK(t *testing.T) {
	s, server := listen(t, simulator.Options{Now: clock, Keys: []string{testKey}})
	client := anthropic.NewClient(option.WithBaseURL(server.URL), option.WithAPIKey(testKey), option.WithMaxRetries(0))
	params := anthropic.MessageNewParams{
		Model:     "claude-test",
		MaxTokens: 1024,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hello [[sim search=1 unicode=1]]"))},
		Thinking:  anthropic.ThinkingConfigParamUnion{OfAdaptive: &anthropic.ThinkingConfigAdaptiveParam{}},
		System:    []anthropic.TextBlockParam{{Text: "be brief", CacheControl: anthropic.CacheControlEphemeralParam{TTL: "1h"}}},
	}
	stream := client.Messages.NewStreaming(t.Context(), params)
	var first anthropic.Message
	for stream.Next() {
		if err := first.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	// Only thinking goes back: the SDK's round trip of the search's blocks is its own affair.
	thinking := first.Content[0].AsThinking()
	params.Messages = append(params.Messages,
		anthropic.NewAssistantMessage(anthropic.NewThinkingBlock(thinking.Signature, thinking.Thinking), anthropic.NewTextBlock("hi")),
		anthropic.NewUserMessage(anthropic.NewTextBlock("go on")))
	second, err := client.Messages.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	bill := s.Bill()
	if len(bill) != 2 {
		t.Fatalf("%d charges", len(bill))
	}
	for i, m := range []*anthropic.Message{&first, second} {
		u, c := m.Usage, bill[i].Usage
		if m.ID != bill[i].ID || u.InputTokens != llm.Count(c.Input) || u.OutputTokens != llm.Count(c.Output) ||
			u.CacheReadInputTokens != llm.Count(c.CacheRead) || u.CacheCreation.Ephemeral1hInputTokens != llm.Count(c.CacheWrite1h) ||
			u.OutputTokensDetails.ThinkingTokens != llm.Count(c.Reasoning) {
			t.Errorf("turn %d: the client has %s\nthe bill %+v", i+1, u.RawJSON(), bill[i])
		}
	}
	if llm.Count(bill[0].Usage.CacheWrite1h) == 0 || llm.Count(bill[1].Usage.CacheRead) == 0 || bill[0].Usage.Units[llm.WebSearches] != 1 {
		t.Errorf("cache and search are not in the bill: %+v", bill)
	}
	count, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: params.Model, Messages: params.Messages,
		System: anthropic.MessageCountTokensParamsSystemUnion{OfTextBlockArray: params.System}})
	if err != nil || count.InputTokens != bill[1].Usage.InputTotal() {
		t.Errorf("counted %v, %v; billed %d", count, err, bill[1].Usage.InputTotal())
	}
	_, err = client.Messages.New(t.Context(), params, option.WithHeader("x-sim", "status=529"))
	if refused, ok := errors.AsType[*anthropic.Error](err); !ok || refused.StatusCode != 529 {
		t.Errorf("the client took a 529 for %v", err)
	}
}

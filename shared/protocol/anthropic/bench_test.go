package anthropic

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/shared/llm"
	"sluice/shared/sse"
)

// agentBody is a request of 136 KB as a coding agent sends it: many tools, a long
// system prompt and a conversation.
func agentBody() []byte {
	var b strings.Builder
	b.WriteString(`{"model":"claude-x","max_tokens":32000,"stream":true,"metadata":{"user_id":"{\"session_id\":\"11111111-2222-3333-4444-555555555555\"}"},"tools":[`)
	for i := range 20 {
		fmt.Fprintf(&b, `{"name":"tool%d","description":"%s","input_schema":{"type":"object","properties":{"path":{"type":"string"},"all":{"type":"boolean"}}}},`, i, strings.Repeat(`What it does.\n`, 120))
	}
	b.WriteString(`{"name":"last","input_schema":{"type":"object"}}],"system":[{"type":"text","text":"` + strings.Repeat(`Be brief.\n`, 1500) + `","cache_control":{"type":"ephemeral"}}],"messages":[`)
	for range 60 {
		b.WriteString(`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"` + strings.Repeat(`a line of code\n`, 80) + `"}]}]},`)
	}
	b.WriteString(`{"role":"user","content":"go on"}]}`)
	return []byte(b.String())
}

func BenchmarkReadCall(b *testing.B) {
	body := agentBody()
	r := httptest.NewRequest(http.MethodPost, "/v1/messages?beta=true", nil)
	r.Header.Set("Anthropic-Version", "2023-06-01")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Front{}).ReadCall(r, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRetarget(b *testing.B) {
	body := agentBody()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Back{}).Retarget(body, "another"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeDelta(b *testing.B) {
	data := []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello, world"}}`)
	for name, frame := range map[string]llm.Frame{
		"named":    {Event: []byte("content_block_delta"), Data: data},
		"nameless": {Data: data},
	} {
		b.Run(name, func(b *testing.B) {
			var d decoder
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				_ = d.event(frame)
			}
		})
	}
}

// BenchmarkRelay is the path of a frame from the vendor to the client, 1,000 at a
// time.
func BenchmarkRelay(b *testing.B) {
	delta := "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n"
	stream := strings.Replace(answer, "event: message_delta", strings.Repeat(delta, 1000)+"event: message_delta", 1)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		in := sse.Frames(strings.NewReader(stream), 1<<20)
		for _, err := range (Front{}).Encode(Back{}.Decode(in), "m", "m") {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

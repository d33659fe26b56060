package anthropic

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/llm"
)

// message is a body with one message of one block.
func message(block string) string {
	return minimal(`,"messages":[{"role":"user","content":[` + block + `]}]`)
}

// source is a block of a kind with base64 data.
func source(kind, mediaType, data string) string {
	return `{"type":"` + kind + `","source":{"type":"base64","media_type":"` + mediaType + `","data":"` + data + `"}}`
}

func TestBoundOfMedia(t *testing.T) {
	data := strings.Repeat("A", 40_000) // 30,000 bytes
	large := strings.Repeat("A", 2_000_000)
	quoted := func(s string) int64 { return int64(len(s)) + 2 }
	for name, c := range map[string]struct {
		body    string
		encoded int64
		media   int64
	}{
		"image":            {message(source("image", "image/png", data)), quoted(data), imageTokens},
		"type after":       {message(`{"source":{"data":"` + data + `","type":"base64"},"typ\u0065":"image"}`), quoted(data), imageTokens},
		"two images":       {message(source("image", "image/png", data) + "," + source("image", "image/gif", data)), 2 * quoted(data), 2 * imageTokens},
		"within a result":  {message(`{"type":"tool_result","content":[` + source("image", "image/png", data) + `]}`), quoted(data), imageTokens},
		"pdf":              {message(source("document", "application/pdf", data)), quoted(data), 30 * pageTokens},
		"large pdf":        {message(source("document", "application/pdf", large)), quoted(large), maxPages * pageTokens},
		"text as base64":   {message(source("document", "text/plain", data)), 0, 0},
		"text":             {message(`{"type":"document","source":{"type":"text","media_type":"text/plain","data":"` + data + `"}}`), 0, 0},
		"content":          {message(`{"type":"document","source":{"type":"content","content":[` + source("image", "image/png", data) + `]}}`), quoted(data), imageTokens},
		"input of a tool":  {message(`{"type":"tool_use","input":` + source("image", "image/png", data) + `}`), 0, 0},
		"schema of a tool": {minimal(`,"messages":[{"content":"x"}],"unread":` + source("image", "image/png", data)), 0, 0},
		"in system":        {minimal(`,"system":[` + source("image", "image/png", data) + `]`), quoted(data), imageTokens},
	} {
		got, err := call(t, c.body)
		if err != nil {
			t.Fatal(err)
		}
		want := llm.Bound{Text: int64(len(c.body)) - c.encoded, Media: c.media}
		if diff := cmp.Diff(want, got.Input); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestExternal(t *testing.T) {
	inside := []string{
		minimal(`,"tools":[{"name":"fetch","input_schema":{"properties":{"url":{"type":"url"},"source":{"type":"url"}}}}]`),
		minimal(`,"tools":[{"type":"custom"},{"type":null},{"type":"bash_20250124"},{"type":"text_editor_20250728"},{"type":"computer_20251124"},{"type":"memory_20250818"}]`),
		minimal(`,"mcp_servers":[ ],"container":null`),
		message(`{"type":"tool_use","input":{"source":{"type":"url"},"file_id":"f"}}`),
		message(`{"type":"search_result","source":"https://example.com","content":[{"type":"text","text":"a"}]}`),
		message(`{"type":"text","text":"a","citations":[{"file_id":null}]}`),
	}
	outside := []string{
		message(`{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}`),
		message(`{"type":"document","source":{"type":"file","file_id":"f"}}`),
		message(`{"type":"document","source":{"type":"text","type":"url","data":"a"}}`),
		message(`{"type":"image","source":{"type":"later"}}`),
		message(`{"type":"image","source":{}}`),
		message(`{"type":"image","type":"text","source":{"type":"base64","data":"AAAA"}}`),
		message(`{"type":"image","source":{"type":"base64"}}`),
		message(source("document", "application/msword", "AAAA")),
		message(source("text", "image/png", "AAAA")),
		message(`{"type":"container_upload","file_id":"f"}`),
		message(`{"type":"later","items":[{"source":{"type":"url"}}]}`),
		message(`{"type":"later","items":[` + source("image", "image/png", "AAAA") + `]}`),
		message(`{"type":"tool_result","content":[{"type":"image","source":{"type":"url"}}]}`),
		minimal(`,"container":"c"`), minimal(`,"container":{"skills":[]}`), minimal(`,"mcp_servers":[{"url":"https://example.com"}]`), minimal(`,"thread":"t"`),
		minimal(`,"tools":[{"name":"a"},{"type":"web_search_20250305"}]`),
		minimal(`,"tools":[{"type":"code_execution_20260521"}]`), minimal(`,"tools":[{"type":"mcp_toolset"}]`), minimal(`,"tools":[{"type":7}]`),
	}
	check := func(bodies []string, want bool) {
		for _, body := range bodies {
			if c, err := call(t, body); err != nil || c.Input.External != want {
				t.Errorf("%s\nexternal is not %t (%v)", body, want, err)
			}
		}
	}
	check(inside, false)
	check(outside, true)
}

func TestCacheClass(t *testing.T) {
	const (
		mark5m = `"cache_control":{"type":"ephemeral"}`
		mark1h = `"cache_control":{"ttl":"1h","type":"ephemeral"}`
	)
	for body, want := range map[string]llm.CacheClass{
		minimal(``):                      llm.NoCache,
		minimal(`,"cache_control":null`): llm.NoCache,
		minimal(`,` + mark5m):            llm.Cache5m,
		minimal(`,` + mark1h):            llm.Cache1h,
		minimal(`,"system":[{` + mark5m + `}],"tools":[{` + mark1h + `}]`): llm.Cache1h,
		minimal(`,"tools":[{` + mark1h + `}],"system":[{` + mark5m + `}]`): llm.Cache1h,
		message(`{"type":"text",` + mark5m + `}`):                          llm.Cache5m,
		message(`{"type":"tool_result","content":[{` + mark1h + `}]}`):     llm.Cache1h,
		message(`{"cache_control":{"ttl":"5m"}}`):                          llm.Cache5m,
		message(`{"cache_control":{"ttl":null}}`):                          llm.Cache5m,
		message(`{"cache_control":{"ttl":"24h"}}`):                         llm.Cache1h,
		message(`{"type":"tool_use","input":{` + mark1h + `}}`):            llm.NoCache,
		message(`{"type":"text","text":"\"cache_control\":{}"}`):           llm.NoCache,
	} {
		if c, err := call(t, body); err != nil || c.Input.Cache != want {
			t.Errorf("%s\nis class %d, want %d (%v)", body, c.Input.Cache, want, err)
		}
	}
}

func TestHiddenPromptOfTools(t *testing.T) {
	for tools, want := range map[string]int64{
		`[]`: 0, `[{"name":"a"},{"name":"b"}]`: toolPrompt, `[{"name":"a"},{"type":"bash_20250124"}]`: toolPrompt + typedTool, `[{"type":"bash_20250124"},{"name":"a"}]`: toolPrompt + typedTool,
	} {
		body := minimal(`,"tools":` + tools)
		if c, err := call(t, body); err != nil || c.Input.Text-int64(len(body)) != want {
			t.Errorf("%s adds %d tokens, want %d (%v)", tools, c.Input.Text-int64(len(body)), want, err)
		}
	}
}

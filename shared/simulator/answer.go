package simulator

import (
	"encoding/json"
	"slices"
)

// region is where the simulator says that it ran the model.
const region = "global"

// answer is what the simulator will say, before any of it is on the wire.
type answer struct {
	id, model string
	tier      string
	input     input
	thinks    bool
	blocks    []block
	stop      string // stop_reason
	final     progress
	chunk     int
	ping      bool
	big       int
}

// block is a content block of an answer.
type block struct {
	kind      blockKind
	text      string // shown: thinking, text, the JSON of a tool's input
	hidden    int64  // bytes of thinking that were produced and are not shown
	signature string // of thinking
	id, name  string // of a tool use
	searches  int64  // of a search
}

type blockKind uint8

const (
	textBlock blockKind = iota
	thinkingBlock
	toolBlock
	searchBlock // the use of the vendor's search and its result: two blocks on the wire
)

// compose decides on an answer: what the script asks for, within max_tokens.
func (s *Simulator) compose(q *request, c *Script, n uint64) *answer {
	const chunk = 20
	a := &answer{
		id: identifier("msg_01", s.seed, n), model: q.model, tier: c.Tier, thinks: q.thinking,
		stop: "end_turn", chunk: c.Chunk, ping: !c.NoPing, big: c.Big,
	}
	if a.tier == "" {
		a.tier = "standard"
	}
	if a.chunk <= 0 {
		a.chunk = chunk
	}
	room := q.maxTokens * bytesPerToken // bytes left
	if c.Output > 0 {
		room = min(c.Output, q.maxTokens) * bytesPerToken
	}
	limit := room
	if q.thinking {
		a.blocks = append(a.blocks, s.think(q.omitted, room/2, n))
		room -= a.blocks[0].length()
	}
	if c.Search > 0 {
		id := identifier("srvtoolu_01", s.seed, n)
		a.blocks = append(a.blocks, block{kind: searchBlock, id: id, name: "web_search", text: searchInput, searches: c.Search})
		room -= int64(len(searchInput))
	}
	tool, wanted := s.useTool(q, c, n)
	if wanted {
		room -= tool.length()
	}
	full := s.say(a, c, room, wanted)
	if wanted && room >= 0 {
		a.blocks, a.stop = append(a.blocks, tool), "tool_use"
	}
	if c.Output > q.maxTokens || room < 0 || !full && !wanted {
		a.stop = "max_tokens"
	}
	a.final = a.total(tokens(limit))
	return a
}

// think is a thinking block of at most room bytes, in whole tokens.
func (s *Simulator) think(omitted bool, room int64, n uint64) block {
	size := min(int64(len(thought)), room) / bytesPerToken * bytesPerToken
	b := block{kind: thinkingBlock, text: thought[:size]}
	if omitted {
		b.text, b.hidden = "", size
	}
	b.signature = s.signer.sign(b.text, mix(s.seed, n))
	return b
}

// say adds the text and says whether all of it found room.
func (s *Simulator) say(a *answer, c *Script, room int64, wanted bool) bool {
	natural := int64(len(greeting))
	switch {
	case c.Output > 0:
		natural = room
	case wanted:
		natural = int64(len(toolIntro))
	case c.Unicode:
		natural = int64(len(greetingUnicode))
	}
	text := ""
	if size := int(min(natural, room)); size > 0 {
		if text = s.prose.text(c.Unicode, size); wanted && c.Output == 0 {
			text = toolIntro[:size]
		}
	}
	if text != "" || a.big > 0 {
		a.blocks = append(a.blocks, block{kind: textBlock, text: text})
	}
	return natural <= room
}

// length is the number of bytes generated for a block.
func (b *block) length() int64 { return int64(len(b.text)) + b.hidden }

// total is what the whole answer comes to. limit bounds it where a big delta
// that the script forces through would not.
func (a *answer) total(limit int64) progress {
	bytes := int64(a.big)
	var p progress
	for i := range a.blocks {
		b := &a.blocks[i]
		bytes += b.length()
		p.searches += b.searches
		if b.kind == thinkingBlock {
			p.thinking += tokens(b.length())
		}
	}
	p.output = min(max(tokens(bytes), 1), max(limit, 1))
	return p
}

// useTool is the use of a tool that the script names and the request offers.
func (s *Simulator) useTool(q *request, c *Script, n uint64) (block, bool) {
	if c.Tool == "" || len(q.toolList) == 0 {
		return block{}, false
	}
	var offered []struct {
		Name   string `json:"name"`
		Schema schema `json:"input_schema"`
	}
	if json.Unmarshal(q.toolList, &offered) != nil {
		return block{}, false // a list with other than client tools in it
	}
	for _, tool := range offered {
		if tool.Name != c.Tool {
			continue
		}
		input := c.Input
		if input == "" {
			b, err := json.Marshal(tool.Schema.example())
			if err != nil {
				return block{}, false
			}
			input = string(b)
		}
		return block{kind: toolBlock, id: identifier("toolu_01", s.seed, n), name: tool.Name, text: input}, true
	}
	return block{}, false
}

// schema is what the simulator understands of a JSON schema.
type schema struct {
	Type       any               `json:"type"`
	Enum       []any             `json:"enum"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
}

// example is a small value that the schema allows.
func (s *schema) example() any {
	if len(s.Enum) > 0 {
		return s.Enum[0]
	}
	kind := s.Type
	if several, ok := kind.([]any); ok && len(several) > 0 {
		kind = several[0]
	}
	switch kind {
	case "string":
		return "a text of the simulator"
	case "integer", "number":
		return 1
	case "boolean":
		return false
	case "null":
		return nil
	case "array":
		if s.Items == nil {
			return []any{}
		}
		return []any{s.Items.example()}
	}
	object := make(map[string]any, len(s.Required))
	for name, property := range s.Properties {
		if slices.Contains(s.Required, name) {
			object[name] = property.example()
		}
	}
	return object
}

const (
	searchInput  = `{"query":"what a sluice is"}`
	searchResult = `[{"type":"web_search_result","title":"Sluice","url":"https://example.com/sluice",` +
		`"encrypted_content":"c2ltdWxhdG9y","page_age":null}]`
)

package simulator

import "strconv"

// emitter takes the frames of an answer one by one: the bytes, valid during the
// call, what was produced once they are out, and whether they are the last. It
// returns false to stop.
type emitter func(frame []byte, p progress, last bool) bool

// framer writes an answer as server-sent events.
type framer struct {
	*answer
	b     []byte
	bytes int64 // generated so far
	p     progress
	emit  emitter
	live  bool // emit wants more
	index int  // of the block
}

// stream emits the frames of a, in memory that it grows from buf and returns.
func (a *answer) stream(buf []byte, emit emitter) []byte {
	f := &framer{answer: a, b: buf[:0], emit: emit, live: true, p: progress{output: 1}}
	f.event("message_start")
	f.b = append(f.b, `"message":{"model":`...)
	f.b = appendString(f.b, a.model)
	f.b = append(f.b, `,"id":"`...)
	f.b = append(f.b, a.id...)
	f.b = append(f.b, `","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
	f.b = a.appendUsage(f.b, f.p)
	f.send("}}", false)
	for i := 0; i < len(a.blocks) && f.live; i++ {
		f.block(&a.blocks[i])
	}
	f.p = a.final
	f.event("message_delta")
	f.b = append(f.b, `"delta":{"stop_reason":"`...)
	f.b = append(f.b, a.stop...)
	f.b = append(f.b, `","stop_sequence":null},"usage":`...)
	f.b = a.appendFinal(f.b)
	f.send("}", false)
	f.b = append(f.b, "event: message_stop\ndata: {\"type\":\"message_stop\""...)
	f.send("}", true)
	return f.b
}

// event opens a frame, with its data up to the members of its own.
func (f *framer) event(name string) {
	f.b = append(f.b, "event: "...)
	f.b = append(f.b, name...)
	f.b = append(f.b, "\ndata: {\"type\":\""...)
	f.b = append(f.b, name...)
	f.b = append(f.b, "\","...)
}

// send closes a frame and emits it.
func (f *framer) send(tail string, last bool) {
	f.b = append(append(f.b, tail...), "\n\n"...)
	f.live = f.live && f.emit(f.b, f.p, last)
	f.b = f.b[:0]
}

func (f *framer) block(b *block) {
	switch b.kind {
	case thinkingBlock:
		f.start(`{"type":"thinking","thinking":"","signature":""}`)
		f.generated(b.hidden, true)
		f.deltas(`"thinking_delta","thinking":"`, b.text, true)
		f.delta(`"signature_delta","signature":"`, b.signature)
	case textBlock:
		f.start(`{"type":"text","text":""}`)
		if f.big > 0 {
			f.bigDelta()
		}
		f.deltas(`"text_delta","text":"`, b.text, false)
	case toolBlock:
		f.startTool("tool_use", b)
		f.delta(`"input_json_delta","partial_json":"`, "")
		f.deltas(`"input_json_delta","partial_json":"`, b.text, false)
	case searchBlock:
		f.p.searches += b.searches
		f.startTool("server_tool_use", b)
		f.deltas(`"input_json_delta","partial_json":"`, b.text, false)
		f.stop()
		f.start(`{"type":"web_search_tool_result","tool_use_id":"` + b.id + `","content":` + searchResult + `}`)
	}
	f.stop()
}

func (f *framer) startTool(kind string, b *block) {
	f.start(string(appendString([]byte(`{"type":"`+kind+`","id":"`+b.id+`","name":`), b.name)) + `,"input":{}}`)
}

// start opens a block; the vendor pings after the first.
func (f *framer) start(content string) {
	f.event("content_block_start")
	f.at()
	f.b = append(f.b, `,"content_block":`...)
	f.b = append(f.b, content...)
	f.send("}", false)
	if f.ping && f.index == 0 {
		f.b = append(f.b, "event: ping\ndata: {\"type\": \"ping\""...)
		f.send("}", false)
	}
}

func (f *framer) at() {
	f.b = append(f.b, `"index":`...)
	f.b = strconv.AppendInt(f.b, int64(f.index), 10)
}

func (f *framer) stop() {
	f.event("content_block_stop")
	f.at()
	f.send("}", false)
	f.index++
}

// deltas emits a text in chunks that end between characters.
func (f *framer) deltas(open, text string, thinking bool) {
	for text != "" && f.live {
		n := boundary(text, f.chunk)
		for n == 0 || n < len(text) && boundary(text, n) != n {
			n++ // a chunk holds at least one character
		}
		f.generated(int64(n), thinking)
		f.delta(open, text[:n])
		text = text[n:]
	}
}

func (f *framer) generated(n int64, thinking bool) {
	before := f.bytes
	f.bytes += n
	f.p.output = min(max(tokens(f.bytes), 1), f.final.output)
	if thinking {
		f.p.thinking += tokens(f.bytes) - tokens(before)
	}
}

func (f *framer) delta(open, text string) {
	f.openDelta(open)
	f.b = appendEscaped(f.b, text)
	f.send(`"}}`, false)
}

func (f *framer) openDelta(open string) {
	f.event("content_block_delta")
	f.at()
	f.b = append(f.b, `,"delta":{"type":`...)
	f.b = append(f.b, open...)
}

// bigDelta emits the one delta whose size the script sets.
func (f *framer) bigDelta() {
	f.generated(int64(f.big), false)
	f.openDelta(`"text_delta","text":"`)
	f.b = appendBig(f.b, f.big)
	f.send(`"}}`, false)
}

func appendBig(dst []byte, size int) []byte {
	const line = "sluice "
	for size > 0 {
		n := min(size, len(line))
		dst = append(dst, line[:n]...)
		size -= n
	}
	return dst
}

// appendUsage is the usage of a message: all that is known of it.
func (a *answer) appendUsage(b []byte, p progress) []byte {
	b = a.appendInput(b)
	b = append(b, `,"cache_creation":{"ephemeral_5m_input_tokens":`...)
	b = strconv.AppendInt(b, a.input.write5m, 10)
	b = append(b, `,"ephemeral_1h_input_tokens":`...)
	b = strconv.AppendInt(b, a.input.write1h, 10)
	b = append(b, `},"output_tokens":`...)
	b = strconv.AppendInt(b, p.output, 10)
	b = append(b, `,"service_tier":`...)
	b = appendString(b, a.tier)
	return append(b, `,"inference_geo":"`+region+`"}`...)
}

func (a *answer) appendInput(b []byte) []byte {
	b = append(b, `{"input_tokens":`...)
	b = strconv.AppendInt(b, a.input.plain, 10)
	b = append(b, `,"cache_creation_input_tokens":`...)
	b = strconv.AppendInt(b, a.input.write5m+a.input.write1h, 10)
	b = append(b, `,"cache_read_input_tokens":`...)
	return strconv.AppendInt(b, a.input.read, 10)
}

// appendFinal is the usage of message_delta: cumulative, without what
// message_start alone says.
func (a *answer) appendFinal(b []byte) []byte {
	b = a.appendInput(b)
	b = append(b, `,"output_tokens":`...)
	b = strconv.AppendInt(b, a.final.output, 10)
	return append(a.appendDetails(b), '}')
}

func (a *answer) appendDetails(b []byte) []byte {
	if a.thinks {
		b = append(b, `,"output_tokens_details":{"thinking_tokens":`...)
		b = append(strconv.AppendInt(b, a.final.thinking, 10), '}')
	}
	if a.final.searches > 0 {
		b = append(b, `,"server_tool_use":{"web_search_requests":`...)
		b = append(strconv.AppendInt(b, a.final.searches, 10), '}')
	}
	return b
}

// whole is the answer in one piece.
func (a *answer) whole(b []byte) []byte {
	b = append(b, `{"model":`...)
	b = appendString(b, a.model)
	b = append(b, `,"id":"`+a.id+`","type":"message","role":"assistant","content":[`...)
	for i := range a.blocks {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.wholeBlock(b, &a.blocks[i])
	}
	b = append(b, `],"stop_reason":"`+a.stop+`","stop_sequence":null,"usage":`...)
	b = a.appendUsage(b, a.final)
	return append(a.appendDetails(b[:len(b)-1]), "}}"...)
}

func (a *answer) wholeBlock(b []byte, c *block) []byte {
	switch c.kind {
	case thinkingBlock:
		b = append(b, `{"type":"thinking","thinking":"`...)
		b = appendEscaped(b, c.text)
		return append(b, `","signature":"`+c.signature+`"}`...)
	case toolBlock:
		return wholeTool(b, "tool_use", c)
	case searchBlock:
		b = wholeTool(b, "server_tool_use", c)
		return append(b, `,{"type":"web_search_tool_result","tool_use_id":"`+c.id+`","content":`+searchResult+`}`...)
	}
	b = append(b, `{"type":"text","text":"`...)
	b = appendBig(b, a.big)
	b = appendEscaped(b, c.text)
	return append(b, `"}`...)
}

func wholeTool(b []byte, kind string, c *block) []byte {
	b = append(b, `{"type":"`+kind+`","id":"`+c.id+`","name":`...)
	b = appendString(b, c.name)
	return append(b, `,"input":`+c.text+`}`...)
}

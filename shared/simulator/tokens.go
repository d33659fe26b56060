package simulator

import (
	"sync"
	"time"

	"sluice/shared/llm"
)

// bytesPerToken is the simulator's whole notion of a tokenizer.
const bytesPerToken = 4

// tokens is the number of tokens in so many bytes of text.
func tokens(bytes int64) int64 { return (bytes + bytesPerToken - 1) / bytesPerToken }

// piece is a part of a prompt that a cache can end at: a tool, a content block.
type piece struct {
	hash  uint64
	bytes int64
	ttl   time.Duration // of the cache marker on it; 0 = none
}

// The lifetimes of a cached prefix.
const (
	shortTTL = 5 * time.Minute
	longTTL  = time.Hour
)

// pieces are the prompt in the order in which the vendor caches it, whatever the
// order in the body.
func (r *request) pieces() []piece {
	all := make([]piece, 0, len(r.tools)+len(r.system)+len(r.messages))
	all = append(append(append(all, r.tools...), r.system...), r.messages...)
	if r.cached > 0 && all[len(all)-1].ttl == 0 {
		all[len(all)-1].ttl = r.cached
	}
	return all
}

// inputTokens is what the prompt weighs, cached or not.
func (r *request) inputTokens() int64 {
	var bytes int64
	for _, part := range [...][]piece{r.tools, r.system, r.messages} {
		for _, p := range part {
			bytes += p.bytes
		}
	}
	return tokens(bytes)
}

// input is what a prompt is billed as.
type input struct{ plain, read, write5m, write1h int64 }

// promptCache remembers the prefixes that were marked for caching. Unlike the
// vendor it sets no least size, so that small tests can use it. It holds two
// generations and forgets the older when the younger is full.
type promptCache struct {
	mu         sync.Mutex
	young, old map[uint64]prefix
}

type prefix struct {
	until time.Time
	ttl   time.Duration
}

// generation bounds each of the two halves of the cache.
const generation = 50_000

// charge splits a prompt into what the cache of owner holds, what is written to
// it now, and the rest.
func (c *promptCache) charge(now time.Time, owner uint64, pieces []piece) input {
	type mark struct {
		hash   uint64
		tokens int64 // up to and with the piece
		ttl    time.Duration
	}
	marks := make([]mark, len(pieces))
	var bytes int64
	last := -1
	for i, p := range pieces {
		owner = mix(owner, p.hash)
		bytes += p.bytes
		marks[i] = mark{owner, tokens(bytes), p.ttl}
		if p.ttl > 0 {
			last = i
		}
	}
	in := input{plain: tokens(bytes)}
	if last < 0 {
		return in
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := last
	for known >= 0 && !c.refresh(now, marks[known].hash) {
		known--
	}
	if known >= 0 {
		in.read = marks[known].tokens
	}
	written := in.read
	for _, m := range marks[known+1 : last+1] {
		if m.ttl == 0 {
			continue
		}
		if m.ttl == longTTL {
			in.write1h += m.tokens - written
		} else {
			in.write5m += m.tokens - written
		}
		written = m.tokens
		c.put(m.hash, prefix{now.Add(m.ttl), m.ttl})
	}
	in.plain -= written
	return in
}

// refresh says whether a prefix is held, and if so holds it for longer.
func (c *promptCache) refresh(now time.Time, hash uint64) bool {
	p, ok := c.young[hash]
	if !ok {
		p, ok = c.old[hash]
	}
	if !ok || !now.Before(p.until) {
		return false
	}
	p.until = now.Add(p.ttl)
	c.put(hash, p)
	return true
}

func (c *promptCache) put(hash uint64, p prefix) {
	if c.young == nil || len(c.young) >= generation {
		c.young, c.old = make(map[uint64]prefix), c.young
	}
	c.young[hash] = p
}

// progress is what of an answer was produced up to some frame of it.
type progress struct{ output, thinking, searches int64 }

// usage is the bill of an answer that came so far.
func (a *answer) usage(p progress) llm.Usage {
	u := llm.Usage{
		Input:        new(a.input.plain),
		Output:       new(p.output),
		CacheRead:    new(a.input.read),
		CacheWrite5m: new(a.input.write5m),
		CacheWrite1h: new(a.input.write1h),
		Tier:         a.tier,
		Region:       region,
	}
	if a.thinks {
		u.Reasoning = new(p.thinking)
	}
	if p.searches > 0 {
		u.Units = map[llm.Unit]int64{llm.WebSearches: p.searches}
	}
	return u
}

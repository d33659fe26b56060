package usage

import (
	"sync"

	"sluice/shared/llm"
)

const (
	// learnFrom is the least output of an answer, in tokens, that says something of
	// its model.
	learnFrom = 64
	// slowly is the share that one answer has in what is known of a model.
	slowly = 0.1
	// fewest and most bound what is believed of bytes per token.
	fewest, most = 1.0, 8.0
	// maxModels bounds the models that are remembered.
	maxModels = 1000
)

// Rates are the bytes of content that a token of each model has, learned from
// answers that the vendor counted. The zero value is ready to use, and it is safe
// for concurrent use.
type Rates struct {
	mu     sync.RWMutex
	models map[string]float64
}

// Learn takes in a complete answer of a model. Answers with tokens that were not
// shown say nothing of the bytes that are.
func (r *Rates) Learn(model string, answer llm.Reading) {
	tokens := llm.Count(answer.Usage.Output)
	if !answer.Complete || tokens < learnFrom || answer.Generated == 0 || llm.Count(answer.Usage.Reasoning) > 0 {
		return
	}
	seen := min(max(float64(answer.Generated)/float64(tokens), fewest), most)
	r.mu.Lock()
	defer r.mu.Unlock()
	known, is := r.models[model]
	switch {
	case is:
		seen = known + slowly*(seen-known)
	case r.models == nil:
		r.models = make(map[string]float64)
	case len(r.models) == maxModels:
		return
	}
	r.models[model] = seen
}

// Of is the bytes per token of a model, 0 when nothing is known of it.
func (r *Rates) Of(model string) float64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.models[model]
}

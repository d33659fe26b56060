package usage_test

import (
	"math"
	"testing"

	"sluice/shared/llm"
	"sluice/shared/usage"
)

func answer(bytes, tokens int64) llm.Reading {
	return llm.Reading{Usage: llm.Usage{Output: &tokens}, Generated: bytes, Complete: true}
}

func TestRatesAreLearned(t *testing.T) {
	var r usage.Rates
	if r.Of("m") != 0 {
		t.Errorf("known from nothing: %v", r.Of("m"))
	}
	r.Learn("m", answer(400, 100))
	if r.Of("m") != 4 {
		t.Errorf("after the first: %v", r.Of("m"))
	}
	for range 100 {
		r.Learn("m", answer(600, 100))
	}
	if got := r.Of("m"); math.Abs(got-6) > 0.01 {
		t.Errorf("does not follow: %v", got)
	}
	thinking := answer(100, 100)
	thinking.Usage.Reasoning = thinking.Usage.Output
	cut := answer(100, 100)
	cut.Complete = false
	for _, silent := range []llm.Reading{answer(10, 5), answer(0, 500), thinking, cut} {
		r.Learn("n", silent)
	}
	if r.Of("n") != 0 {
		t.Errorf("learned from what says nothing: %v", r.Of("n"))
	}
	r.Learn("o", answer(100_000, 100))
	if r.Of("o") != 8 {
		t.Errorf("believes anything: %v", r.Of("o"))
	}
	for i := range 2000 {
		r.Learn(string(rune(i+300)), answer(400, 100))
	}
	if r.Of("m") == 0 || r.Of(string(rune(2299))) != 0 {
		t.Error("remembers without bound")
	}
}

package usage

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/llm"
)

func n(v int64) *int64 { return &v }

func answer(events []llm.Event, err error) llm.Stream {
	return func(yield func(llm.Event, error) bool) {
		for _, ev := range events {
			if !yield(ev, nil) {
				return
			}
		}
		if err != nil {
			yield(llm.Event{}, err)
		}
	}
}

func TestMeterReplacesAndSums(t *testing.T) {
	events := []llm.Event{
		{Kind: llm.Start, Usage: &llm.Usage{Input: n(10), Output: n(1), CacheRead: n(5)}},
		{Kind: llm.Delta, Generated: 7},
		{Kind: llm.Delta, Generated: 8},
		{Kind: llm.Tally, Usage: &llm.Usage{Output: n(4)}},
		{Kind: llm.Tally, Usage: &llm.Usage{Output: n(6)}},
		{Kind: llm.Stop},
	}
	var m Meter
	passed := 0
	for ev, err := range m.Tap(answer(events, nil)) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Kind != llm.Stop && m.Reading().Complete {
			t.Error("complete before its end")
		}
		passed++
	}
	want := llm.Reading{Usage: llm.Usage{Input: n(10), Output: n(6), CacheRead: n(5)}, Generated: 15, Complete: true}
	if diff := cmp.Diff(want, m.Reading()); diff != "" || passed != len(events) {
		t.Errorf("%d events passed; reading (-want +got)\n%s", passed, diff)
	}
	if tokens, bytes := m.Output(); tokens != 6 || bytes != 15 {
		t.Errorf("output %d tokens, %d bytes", tokens, bytes)
	}
}

func TestMeterPassesErrorsAndStops(t *testing.T) {
	broken := errors.New("broken")
	var m Meter
	var got error
	for _, err := range m.Tap(answer([]llm.Event{{Kind: llm.Delta, Generated: 3}}, broken)) {
		got = err
	}
	if !errors.Is(got, broken) || m.Reading().Complete || m.Reading().Generated != 3 {
		t.Errorf("%v, %+v", got, m.Reading())
	}
	for range m.Tap(answer([]llm.Event{{Kind: llm.Delta, Generated: 3}, {Kind: llm.Stop}}, nil)) {
		break
	}
	if m.Reading().Complete {
		t.Error("complete, though its reader stopped")
	}
}

// Readings taken while the answer runs never fall behind one another.
func TestReadingMeanwhile(t *testing.T) {
	const deltas = 2000
	var m Meter
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range m.Tap(func(yield func(llm.Event, error) bool) {
			for i := range int64(deltas) {
				if !yield(llm.Event{Kind: llm.Delta, Generated: 1}, nil) ||
					!yield(llm.Event{Kind: llm.Tally, Usage: &llm.Usage{Output: n(i + 1), Units: map[llm.Unit]int64{llm.WebSearches: i + 1}}}, nil) {
					return
				}
			}
			yield(llm.Event{Kind: llm.Whole}, nil)
		}) {
		}
	}()
	var last llm.Reading
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		r := m.Reading()
		if r.Generated < last.Generated || llm.Count(r.Usage.Output) < llm.Count(last.Usage.Output) || last.Complete && !r.Complete {
			t.Fatalf("%+v after %+v", r, last)
		}
		if searches := r.Usage.Units[llm.WebSearches]; searches != llm.Count(r.Usage.Output) {
			t.Fatalf("half a frame: %d searches, %d tokens", searches, llm.Count(r.Usage.Output))
		}
		last = r
	}
	if last.Generated != deltas || llm.Count(last.Usage.Output) != deltas || !last.Complete {
		t.Errorf("at the end %+v", last)
	}
}

func TestEstimate(t *testing.T) {
	for name, c := range map[string]struct {
		reading   llm.Reading
		per       float64
		want      llm.Usage
		estimated bool
	}{
		"complete":        {llm.Reading{Usage: llm.Usage{Input: n(3), Output: n(4)}, Generated: 900, Complete: true}, 0, llm.Usage{Input: n(3), Output: n(4)}, false},
		"nothing seen":    {llm.Reading{}, 0, llm.Usage{Input: n(100), Output: n(0)}, true},
		"input reported":  {llm.Reading{Usage: llm.Usage{Input: n(3), Output: n(1)}, Generated: 10}, 0, llm.Usage{Input: n(3), Output: n(4)}, true},
		"cache reported":  {llm.Reading{Usage: llm.Usage{CacheRead: n(3)}, Generated: 10}, 5, llm.Usage{CacheRead: n(3), Output: n(2)}, true},
		"output reported": {llm.Reading{Usage: llm.Usage{Output: n(50)}, Generated: 10}, 0, llm.Usage{Input: n(100), Output: n(50)}, true},
	} {
		got, estimated := Estimate(c.reading, 100, c.per)
		if diff := cmp.Diff(c.want, got); diff != "" || estimated != c.estimated {
			t.Errorf("%s: estimated %v (-want +got)\n%s", name, estimated, diff)
		}
	}
}

func BenchmarkTap(b *testing.B) {
	delta := llm.Event{Kind: llm.Delta, Generated: 12}
	var m Meter
	stream := m.Tap(func(yield func(llm.Event, error) bool) {
		for yield(delta, nil) {
		}
	})
	b.ReportAllocs()
	left := b.N
	b.ResetTimer()
	for range stream {
		if left--; left <= 0 {
			return
		}
	}
}

func BenchmarkReading(b *testing.B) {
	m := Meter{usage: llm.Usage{Input: n(10), Output: n(1), CacheRead: n(5)}}
	b.ReportAllocs()
	for b.Loop() {
		m.Reading()
	}
}

package llm

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func n(v int64) *int64 { return &v }

func TestMergeReplaces(t *testing.T) {
	u := Usage{Input: n(5), Output: n(1), Tier: "standard", Units: map[Unit]int64{WebSearches: 1}}
	u.Merge(&Usage{Output: n(9), CacheRead: n(0), Region: "us", Units: map[Unit]int64{WebSearches: 2, WebFetches: 1}})
	u.Merge(nil)
	u.Merge(&Usage{})
	want := Usage{Input: n(5), Output: n(9), CacheRead: n(0), Tier: "standard", Region: "us", Units: map[Unit]int64{WebSearches: 2, WebFetches: 1}}
	if diff := cmp.Diff(want, u); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := u.InputTotal(); got != 5 {
		t.Errorf("%d tokens of input", got)
	}
}

// What was merged shares nothing with where it came from.
func TestMergeCopies(t *testing.T) {
	from := Usage{Input: n(1), Units: map[Unit]int64{WebSearches: 1}}
	var u Usage
	u.Merge(&from)
	*from.Input, from.Units[WebSearches] = 2, 2
	if *u.Input != 1 || u.Units[WebSearches] != 1 {
		t.Errorf("%+v changed with its source", u)
	}
}

func TestIDsSortByTime(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	var ids []string
	for i := range 100 {
		ids = append(ids, NewID("call_", at.Add(time.Duration(i)*time.Millisecond)))
	}
	if !slices.IsSorted(ids) {
		t.Error("not sorted")
	}
	got, err := IDTime(ids[7])
	if want := at.Add(7 * time.Millisecond); err != nil || !got.Equal(want) {
		t.Errorf("the time in %s is %v, want %v: %v", ids[7], got, want, err)
	}
	for _, bad := range []string{"", "call_1", "call_UUUUUUUUUUUUUUUUUUUUUUUUUU"} {
		if _, err := IDTime(bad); err == nil {
			t.Errorf("%q has a time", bad)
		}
	}
}

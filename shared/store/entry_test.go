package store_test

import (
	"math"
	"testing"
	"time"

	"sluice/shared/fault"
	"sluice/shared/store"
)

func TestEntryIDNeighbours(t *testing.T) {
	for _, tt := range []struct{ id, next, previous store.EntryID }{
		{store.EntryID{MS: 5, Seq: 7}, store.EntryID{MS: 5, Seq: 8}, store.EntryID{MS: 5, Seq: 6}},
		{store.EntryID{MS: 5}, store.EntryID{MS: 5, Seq: 1}, store.EntryID{MS: 4, Seq: math.MaxUint64}},
		{store.EntryID{MS: 5, Seq: math.MaxUint64}, store.EntryID{MS: 6}, store.EntryID{MS: 5, Seq: math.MaxUint64 - 1}},
		{store.EntryID{}, store.EntryID{Seq: 1}, store.EntryID{}},
	} {
		if tt.id.Next() != tt.next || tt.id.Previous() != tt.previous {
			t.Errorf("%v: next %v, previous %v", tt.id, tt.id.Next(), tt.id.Previous())
		}
		if !tt.id.Before(tt.next) || tt.next.Before(tt.id) || store.LastEntryID().Before(tt.id) {
			t.Errorf("%v and %v are out of order", tt.id, tt.next)
		}
	}
	if at := (store.EntryID{MS: 1500}).Time(); !at.Equal(time.Unix(1, 5e8)) {
		t.Errorf("the time of 1500 is %v", at)
	}
}

func FuzzParseEntryID(f *testing.F) {
	f.Add("1767323045000-3")
	f.Add("-1-0")
	f.Add("1-18446744073709551616")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := store.ParseEntryID(text)
		if err != nil {
			if fault.CodeOf(err) != fault.Invalid {
				t.Errorf("error %v", err)
			}
			return
		}
		if again, err := store.ParseEntryID(id.String()); err != nil || again != id {
			t.Errorf("%q reads back as %v, %v", text, again, err)
		}
	})
}

package records

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/archive"
	"sluice/shared/fault"
)

func TestPlace(t *testing.T) {
	parents := []ref{{archive.User, "user_1"}, {archive.Team, "team_1"}}
	for _, tt := range []struct {
		text  string
		place place
	}{
		{"0", place{}},
		{"63", place{partition: 63}},
		{"!7", place{partition: 7, closed: true}},
		{"7,3,9", place{partition: 7, former: []int{3, 9}}},
		{"!7,3 user=user_1 team=team_1", place{partition: 7, former: []int{3}, parents: parents, closed: true}},
	} {
		got, err := parsePlace(tt.text)
		if diff := cmp.Diff(tt.place, got, cmp.AllowUnexported(place{}, ref{})); diff != "" || err != nil {
			t.Errorf("parsePlace(%q): %v (-want +got):\n%s", tt.text, err, diff)
		}
		if s := tt.place.String(); s != tt.text {
			t.Errorf("String = %q, want %q", s, tt.text)
		}
	}
	for _, text := range []string{"", "!", "64", "-1", "x", "1,", "1,64", "1 user"} {
		if _, err := parsePlace(text); fault.CodeOf(err) != fault.Internal {
			t.Errorf("parsePlace(%q) = %v", text, err)
		}
	}
}

func TestPlaceAfterMoves(t *testing.T) {
	at := place{partition: 1}
	for _, to := range []int{2, 3, 1, 1} {
		at = place{partition: to}.after(at)
	}
	if diff := cmp.Diff([]int{1, 3, 2}, at.all()); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add("!7,3 user=user_1 team=team_1")
	f.Add("64")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlace(text)
		if err != nil {
			return
		}
		again, err := parsePlace(p.String())
		if diff := cmp.Diff(p, again, cmp.AllowUnexported(place{}, ref{})); diff != "" || err != nil {
			t.Errorf("%q reads back with %v (-first +again):\n%s", text, err, diff)
		}
	})
}

func FuzzParsePosition(f *testing.F) {
	f.Add("1767323045000-3.63")
	f.Add("-1-0.0")
	f.Add("1-18446744073709551616.1")
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := parsePosition(cursor)
		if err != nil {
			if fault.CodeOf(err) != fault.Invalid || fault.From(err).Field != "cursor" {
				t.Errorf("error %v", err)
			}
			return
		}
		if again, err := parsePosition(p.String()); err != nil || again != p {
			t.Errorf("%q reads back as %v, %v", cursor, again, err)
		}
	})
}

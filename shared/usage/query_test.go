package usage_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/fault"
	"sluice/shared/llm"
	"sluice/shared/usage"
)

func TestQueryMatches(t *testing.T) {
	r := usage.Record{Key: "k", User: "u", Team: "t", Account: "a", Model: "m"}
	for _, tt := range []struct {
		q    usage.Query
		want bool
	}{
		{usage.Query{}, true},
		{usage.Query{Key: "k", User: "u", Team: "t", Account: "a", Model: "m"}, true},
		{usage.Query{Key: "k", From: time.Unix(1, 0), To: time.Unix(0, 0)}, true},
		{usage.Query{Key: "x"}, false},
		{usage.Query{User: "x"}, false},
		{usage.Query{Team: "x"}, false},
		{usage.Query{Account: "x"}, false},
		{usage.Query{Key: "k", Model: "x"}, false},
	} {
		if got := tt.q.Matches(&r); got != tt.want {
			t.Errorf("%+v matches = %v, want %v", tt.q, got, tt.want)
		}
	}
}

func TestRowAdd(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	var row usage.Row
	row.Add(&usage.Record{
		Usage: llm.Usage{
			Input: n(1), Output: n(2), CacheRead: n(3), CacheWrite5m: n(4), CacheWrite1h: n(5), Reasoning: n(6),
		},
		Cost: 7,
	})
	row.Add(&usage.Record{Usage: llm.Usage{Output: n(10)}, Cost: 1, Estimated: true, Unpriced: true})
	want := usage.Row{
		Requests: 2, Estimated: 1, Unpriced: 1, Input: 1, Output: 12, CacheRead: 3, CacheWrite5m: 4,
		CacheWrite1h: 5, Reasoning: 6, Cost: 8,
	}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

func TestGrainStart(t *testing.T) {
	zone := func(name string) *time.Location {
		z, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	for _, tt := range []struct {
		grain    usage.Grain
		at, zone string
		want     string
	}{
		{usage.Hour, "2026-03-31T21:59:59.999Z", "UTC", "2026-03-31T21:00:00Z"},
		{usage.Hour, "2026-03-31T21:59:59Z", "Asia/Kolkata", "2026-04-01T03:00:00+05:30"},
		{usage.Hour, "2026-10-25T00:30:00Z", "Europe/Berlin", "2026-10-25T02:00:00+02:00"}, // 2:30, clocks go back at 3:00
		{usage.Hour, "2026-10-25T01:30:00Z", "Europe/Berlin", "2026-10-25T02:00:00+01:00"}, // 2:30 again
		{usage.Day, "2026-03-31T22:30:00Z", "Europe/Berlin", "2026-04-01T00:00:00+02:00"},
		{usage.Day, "2026-03-29T12:00:00Z", "Europe/Berlin", "2026-03-29T00:00:00+01:00"}, // a day of 23 hours
		{usage.Month, "2026-03-31T22:30:00Z", "UTC", "2026-03-01T00:00:00Z"},
		{usage.Month, "2026-03-31T22:30:00Z", "Europe/Berlin", "2026-04-01T00:00:00+02:00"},
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.grain.Start(at.In(zone(tt.zone))).Format(time.RFC3339Nano); got != tt.want {
			t.Errorf("%s of %s in %s starts %s, want %s", tt.grain, tt.at, tt.zone, got, tt.want)
		}
	}
	for grain, want := range map[usage.Grain]bool{usage.Hour: true, usage.Day: true, usage.Month: true, "": false, "week": false} {
		if grain.Valid() != want {
			t.Errorf("%q valid = %v", grain, !want)
		}
	}
}

func TestDimensions(t *testing.T) {
	r := usage.Record{Key: "k", User: "u", Team: "t", Account: "a", Model: "m", Tags: map[string]string{"env": "test"}}
	for text, want := range map[string]string{
		"key": "k", "user": "u", "team": "t", "account": "a", "model": "m", "tag:env": "test", "tag:none": "",
	} {
		d, err := usage.ParseDimension(text)
		if err != nil || d.Of(&r) != want {
			t.Errorf("%s = %q, %v; want %q", text, d.Of(&r), err, want)
		}
	}
	for _, text := range []string{"", "tag:", "Key", "tags"} {
		if _, err := usage.ParseDimension(text); fault.CodeOf(err) != fault.Invalid {
			t.Errorf("ParseDimension(%q) = %v", text, err)
		}
	}
	if got := usage.Dimension("else").Of(&r); got != "" {
		t.Errorf("an unknown dimension has value %q", got)
	}
}

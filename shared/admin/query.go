package admin

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/fault"
)

// query is the request's query, in which every parameter has one of the names and
// occurs once.
func (c *call) query(names ...string) (url.Values, error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the query of the URL is malformed")
	}
	for name, values := range q {
		if !slices.Contains(names, name) {
			there := "none here"
			if len(names) > 0 {
				there = "there are " + strings.Join(names, ", ")
			}
			return nil, fault.At(name, "there is no such parameter; %s", there)
		}
		if len(values) > 1 {
			return nil, fault.At(name, "occurs %d times", len(values))
		}
	}
	return q, nil
}

// number is a parameter from least to most, or its default when it is absent.
func number(q url.Values, name string, otherwise, least, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fault.At(name, "%q is no number from %d to %d", text, least, most)
	}
	return n, nil
}

// moment is a parameter that is a time or a day of the zone, or its default when
// it is absent.
func moment(q url.Values, name string, zone *time.Location, otherwise time.Time) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return otherwise, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, text, zone)
	if err != nil {
		return t, fault.At(name, "%q is no time; write it as 2026-01-31T12:00:00Z or 2026-01-31 (in a URL, + is written %%2B)", text)
	}
	return t, nil
}

// location is the parameter time_zone, UTC when it is absent.
func location(q url.Values) (*time.Location, error) {
	name := q.Get("time_zone")
	if err := checkZone("time_zone", name); err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the time zone %q cannot be loaded", name)
	}
	return zone, nil
}

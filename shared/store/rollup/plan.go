package rollup

import (
	"math"
	"time"

	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/usage"
)

// plan is what to read of a partition for a query.
type plan struct {
	sums    []planned
	streams []span
}

// planned is a bucket to read.
type planned struct {
	bucket
	at  time.Time // a time in the row that it counts in
	utc bool      // it counts there by its name only: see Reader.Sum
}

// span is entries to read, of both ids and between.
type span struct{ first, last store.EntryID }

// Bounds are the first and the last id of the time that a query asks for.
func Bounds(q *usage.Query) (first, last store.EntryID) {
	last = store.LastEntryID()
	if !q.From.IsZero() {
		first.MS = max(q.From.UnixMilli(), 0)
	}
	if !q.To.IsZero() {
		last = store.EntryID{MS: max(q.To.UnixMilli(), 0)}.Previous()
	}
	return first, last
}

// newPlan covers the time that a query asks for, in a partition of that state: by
// entries after the cursor, and before it by the largest buckets that lie whole
// within a row and the time asked for, and by entries where there is none. It errs
// with fault.Invalid when its grain is no longer kept that far back.
func newPlan(q *usage.Query, s *state) (plan, error) {
	var p plan
	first, last := Bounds(q)
	tail := first
	if s.rolled != nil {
		if err := s.lacks(q); err != nil {
			return p, err
		}
		p.old(q, s)
		p.recent(q, s)
		if next := s.rolled.Next(); first.Before(next) {
			tail = next
		}
	}
	p.stream(span{tail, last})
	return p, nil
}

// lacks errs when rows of the query's grain were removed in the time that it asks
// for.
func (s *state) lacks(q *usage.Query) error {
	kept := s.kept(q.Grain)
	outside := q.From.IsZero() || !q.From.Before(kept) || !s.since.Before(kept) || !q.To.IsZero() && !q.To.After(s.since)
	if outside {
		return nil
	}
	coarser := usage.Day
	if q.Grain == usage.Day {
		coarser = usage.Month
	}
	return fault.At("from", "%s is before %s, since when sums by %s are kept; begin then, or add up by %s",
		q.From.Format(time.RFC3339), kept.Format(time.RFC3339), q.Grain, coarser)
}

// kept is since when there are rows of a grain.
func (s *state) kept(g usage.Grain) time.Time {
	switch g {
	case usage.Hour:
		return s.detail
	case usage.Day:
		return s.days
	default:
		return time.Time{}
	}
}

// old plans what lies before hours are kept: days of UTC, which count where their
// date is in the query's zone, and months for whole ones.
func (p *plan) old(q *usage.Query, s *state) {
	if q.Grain == usage.Hour {
		return
	}
	t := usage.Day.Start(s.since)
	if q.Grain == usage.Month {
		t = usage.Month.Start(s.since)
	}
	if kept := s.kept(q.Grain); t.Before(kept) {
		t = kept
	}
	if from := usage.Month.Start(q.From.UTC().AddDate(0, 0, -2)); t.Before(from) {
		t = from
	}
	for t.Before(s.detail) && (q.To.IsZero() || t.Before(q.To.AddDate(0, 0, 2))) {
		b := bucketOf(usage.Month, t)
		whole := q.Grain == usage.Month && t.Equal(b.start) && !b.end().After(s.detail)
		switch {
		case whole && t.Before(s.days): // there is nothing finer
			p.dated(q, b, dateIn(q, t))
		case whole && dateIn(q, t).in(q) && dateIn(q, b.end().AddDate(0, 0, -1)).in(q):
			p.dated(q, b, dateIn(q, t))
		default:
			b = bucketOf(usage.Day, t)
			p.dated(q, b, dateIn(q, t))
		}
		t = b.end()
	}
}

// date is a calendar day of the query's zone.
type date struct{ midnight, noon time.Time }

// dateIn is the day of the query's zone that has the date which t has in UTC.
func dateIn(q *usage.Query, t time.Time) date {
	noon := time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, q.Zone) // there is a noon each day, not a midnight
	return date{usage.Day.Start(noon), noon}
}

// in says whether the day begins in the time asked for.
func (d date) in(q *usage.Query) bool {
	return !d.midnight.Before(q.From) && (q.To.IsZero() || d.midnight.Before(q.To))
}

func (p *plan) dated(q *usage.Query, b bucket, d date) {
	if d.in(q) {
		p.sums = append(p.sums, planned{b, d.noon, q.Zone != time.UTC})
	}
}

// recent plans what lies since hours are kept, up to the cursor.
func (p *plan) recent(q *usage.Query, s *state) {
	first, last := Bounds(q)
	to := int64(math.MaxInt64)
	if !q.To.IsZero() {
		to = last.Next().MS
	}
	past := s.rolled.MS + 1 // nothing in the sums is from then on
	end := min(to, past)
	for ms := max(first.MS, s.detail.UnixMilli()); ms < end; {
		b, ok := widest(q, time.UnixMilli(ms).UTC(), to, past)
		if ok {
			p.sums = append(p.sums, planned{b, b.start, false})
			ms = b.end().UnixMilli()
			continue
		}
		next := min((ms/msHour+1)*msHour, end)
		p.stream(span{store.EntryID{MS: ms}, least(store.EntryID{MS: next}.Previous(), *s.rolled)})
		ms = next
	}
}

const msHour = int64(time.Hour / time.Millisecond)

// widest is the largest bucket that begins at t, lies before to and in one row of
// the query, as far as it holds anything: nothing from past on.
func widest(q *usage.Query, t time.Time, to, past int64) (bucket, bool) {
	for _, g := range units(q.Grain) {
		b := bucketOf(g, t)
		holds := min(b.end().UnixMilli(), past)
		if b.start.Equal(t) && holds <= to && q.Grain.Start(t.In(q.Zone)).Equal(q.Grain.Start(time.UnixMilli(holds-1).In(q.Zone))) {
			return b, true
		}
	}
	return bucket{}, false
}

// units are the buckets that rows of a grain can be made of, largest first.
func units(g usage.Grain) []usage.Grain {
	switch g {
	case usage.Hour:
		return []usage.Grain{usage.Hour}
	case usage.Month:
		return []usage.Grain{usage.Month, usage.Day, usage.Hour}
	default:
		return []usage.Grain{usage.Day, usage.Hour}
	}
}

// stream adds entries to read, to those just before if there are any.
func (p *plan) stream(s span) {
	if s.last.Before(s.first) {
		return
	}
	if n := len(p.streams); n > 0 && p.streams[n-1].last.Next() == s.first {
		p.streams[n-1].last = s.last
		return
	}
	p.streams = append(p.streams, s)
}

func least(a, b store.EntryID) store.EntryID {
	if b.Before(a) {
		return b
	}
	return a
}

package rollup

import (
	"context"
	"time"

	"sluice/shared/store"
	"sluice/shared/usage"
)

const (
	// keepDetail is for how long hours and entries are kept, at least, and keepDays for
	// how long days are; months are kept for ever.
	keepDetail = 7   // days
	keepDays   = 400 // days
	// One script removes the hours of so many days, or the days of so many months, and
	// one run of the Roller has so many scripts.
	daysAtOnce   = 31
	monthsAtOnce = 12
	stepsAtOnce  = 16
	// trimBatch is how many entries one command removes.
	trimBatch = 10_000
)

// keep removes from a partition what is old enough: hours before the midnight of
// seven days ago, days before the first of the month of 400 days ago, and entries of
// the stream as hours, but none that the archive is yet to take.
//
// What was rolled up last sets a bound, too: nothing is removed of its day and after
// it. So a clock that is ahead removes nothing that is still to be written.
func (r *Roller) keep(ctx context.Context, p int) error {
	s, err := stateOf(ctx, r.client, p)
	if err != nil || s.rolled == nil {
		return err
	}
	now := r.now().UTC()
	if latest := s.rolled.Time().UTC(); latest.Before(now.AddDate(0, 0, -keepDetail)) {
		now = latest.AddDate(0, 0, keepDetail)
	}
	detail, err := r.forget(ctx, p, detailField, s.detail, usage.Day.Start(now.AddDate(0, 0, -keepDetail)))
	if err != nil {
		return err
	}
	days := usage.Month.Start(now.AddDate(0, 0, -keepDays))
	if detail.Before(days) { // it has yet to get there
		days = usage.Month.Start(detail)
	}
	if _, err := r.forget(ctx, p, daysField, s.days, days); err != nil {
		return err
	}
	return r.trim(ctx, p, detail, s.archived)
}

// forget moves the time since when a field says there is detail, and removes the
// buckets before it, in steps. It says how far it is known to have come.
func (r *Roller) forget(ctx context.Context, p int, field string, from, to time.Time) (time.Time, error) {
	for range stepsAtOnce {
		if !from.Before(to) {
			break
		}
		next, grain := from.AddDate(0, 0, daysAtOnce), usage.Hour
		if field == daysField {
			next, grain = from.AddDate(0, monthsAtOnce, 0), usage.Day
		}
		if next.After(to) {
			next = to
		}
		call := store.Call{
			Script: r.scripts.keep, Keys: []string{store.Cursors(p)}, Args: []any{field, from.UnixMilli(), next.UnixMilli()},
		}
		for b := bucketOf(grain, from); b.start.Before(next); b = bucketOf(grain, b.end()) {
			call.Keys = append(call.Keys, b.key(p))
		}
		answer, err := r.client.Run(ctx, call)
		if err != nil || answer != int64(1) { // another process is at it
			return from, err
		}
		from = next
	}
	return from, nil
}

// trim removes entries of the stream, in steps: what lies whole in the stream's
// nodes costs least, and what is left then is less than one.
func (r *Roller) trim(ctx context.Context, p int, detail time.Time, archived *store.EntryID) error {
	before := store.EntryID{MS: detail.UnixMilli()}
	if kept := after(archived); (r.archive != nil || archived != nil) && kept.Before(before) {
		before = kept
		if r.archive == nil && r.warned.CompareAndSwap(false, true) {
			r.log.WarnContext(ctx, "usage records are kept for an archive that this process does not have; archive them, or give it up by deleting the cursor",
				"key", store.Cursors(p), "field", archivedField, "archived", text(archived))
		}
	}
	oldest, err := entries(ctx, r.client, p, store.EntryID{}, before.Previous(), 1)
	if err != nil || len(oldest) == 0 {
		return err
	}
	for range stepsAtOnce {
		n, err := r.client.Redis().XTrimMinIDApprox(ctx, store.Usage(p), before.String(), trimBatch).Result()
		if err != nil {
			return store.Fault(err)
		}
		if n == 0 {
			return store.Fault(r.client.Redis().XTrimMinID(ctx, store.Usage(p), before.String()).Err())
		}
	}
	return nil
}

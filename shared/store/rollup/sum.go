package rollup

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/usage"
)

const (
	// together is how many partitions are read in one wait: it bounds what is in memory
	// at once.
	together = 8
	// sumsTogether is how many buckets are read in one wait.
	sumsTogether = 512
	// maxRows is the largest number of rows of a sum.
	maxRows = 50_000
	// attempts is how often a partition's sums are read while it is being rolled up.
	attempts = 32
)

// Reader adds up usage. It is safe for concurrent use.
type Reader struct{ client *store.Client }

// NewReader is a Reader.
func NewReader(c *store.Client) *Reader { return &Reader{c} }

// Sum adds up the records of partitions that a query selects, ordered by bucket and
// group; the cursor and limit are not looked at. It errs with fault.Invalid when the
// sum has more than 50,000 rows or its grain is no longer kept that far back, Busy
// when it does not come to read between rollups, and StoreDown.
//
// Whatever is rolled up while it reads or was before, a record counts once. How
// finely is a matter of age:
//
//   - Of the last seven days (and what UTC's day has had of an eighth) a sum is exact,
//     in every time zone and from any instant to any other. Zones that are whole
//     hours from UTC read the sums of hours; for others, and for the first and last
//     hour of a time that does not begin or end with one, the records are read.
//   - What is older is kept by days of UTC, for 400 days at least: no row is shorter. A
//     day counts where its date is in the query's time zone, whole, if that date begins
//     in the time asked for. Rows that it counts in, unless in UTC, have the mark UTC.
//   - Before that there are months of UTC, which count in the same way.
//
// It costs a command for each hour, day or month and partition, and about 10 µs for
// each record that is not rolled up yet.
func (r *Reader) Sum(ctx context.Context, partitions []int, q usage.Query) ([]usage.Row, error) {
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	q.Grain = cmp.Or(q.Grain, usage.Day)
	total := newRows(&q)
	for group := range slices.Chunk(partitions, together) {
		if err := r.group(ctx, group, total); err != nil {
			return nil, err
		}
	}
	return total.sorted(), nil
}

// group adds up some partitions. What it read counts only if nothing of that was
// removed meanwhile, which happens once a day.
func (r *Reader) group(ctx context.Context, partitions []int, total *rows) error {
	for range attempts {
		got := newRows(total.q)
		read, err := r.sums(ctx, partitions, got)
		if err != nil {
			return err
		}
		if err := r.streams(ctx, read, got); err != nil {
			return err
		}
		now, err := states(ctx, r.client, partitions)
		if err != nil {
			return err
		}
		lost := false
		for i, p := range partitions {
			lost = lost || !read[p].state.keeps(now[i])
		}
		if !lost {
			return total.merge(got)
		}
	}
	return busy()
}

func busy() error {
	return fault.New(fault.Busy, "usage was rolled up again and again while it was read; try again").After(time.Second)
}

// keeps says whether now nothing is removed that there was.
func (s state) keeps(now state) bool {
	return s.detail.Equal(now.detail) && s.days.Equal(now.days)
}

// reading is a partition whose sums were read: in which state, and which entries
// are to be read with them.
type reading struct {
	state   state
	streams []span
}

// sums adds up the buckets of some partitions: of each as it was in one moment, or
// again if it was rolled up while they were read.
func (r *Reader) sums(ctx context.Context, partitions []int, got *rows) (map[int]reading, error) {
	done := make(map[int]reading, len(partitions))
	left, before := partitions, []state(nil)
	for range attempts {
		var err error
		if before == nil {
			if before, err = states(ctx, r.client, left); err != nil {
				return nil, err
			}
		}
		plans := make([]plan, len(left))
		for i := range left {
			if plans[i], err = newPlan(got.q, &before[i]); err != nil {
				return nil, err
			}
		}
		found, err := r.read(ctx, left, plans)
		if err != nil {
			return nil, err
		}
		now, err := states(ctx, r.client, left)
		if err != nil {
			return nil, err
		}
		var again []int
		var stands []state
		for i, p := range left {
			if text(before[i].rolled) != text(now[i].rolled) || !before[i].keeps(now[i]) {
				again, stands = append(again, p), append(stands, now[i])
				continue
			}
			for j, b := range plans[i].sums {
				if err := got.addBucket(&b, found[i][j].Val()); err != nil {
					return nil, err
				}
			}
			done[p] = reading{now[i], plans[i].streams}
		}
		if left, before = again, stands; len(left) == 0 {
			return done, nil
		}
	}
	return nil, busy()
}

// read reads the buckets of the plans, each of the partition at its place.
func (r *Reader) read(ctx context.Context, partitions []int, plans []plan) ([][]*redis.MapStringStringCmd, error) {
	found := make([][]*redis.MapStringStringCmd, len(plans))
	pipe := r.client.Redis().Pipeline()
	for i, p := range plans {
		for j, b := range p.sums {
			found[i] = append(found[i], pipe.HGetAll(ctx, b.key(partitions[i])))
			if last := i == len(plans)-1 && j == len(p.sums)-1; pipe.Len() < sumsTogether && !last {
				continue
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return nil, store.Fault(err)
			}
		}
	}
	if pipe.Len() == 0 {
		return found, nil
	}
	_, err := pipe.Exec(ctx)
	return found, store.Fault(err)
}

// streams adds up the entries that are read beside sums, a batch of every partition
// in one wait.
func (r *Reader) streams(ctx context.Context, of map[int]reading, got *rows) error {
	left := make(map[int][]span, len(of))
	for p, r := range of {
		if len(r.streams) > 0 {
			left[p] = r.streams
		}
	}
	for len(left) > 0 {
		pipe := r.client.Redis().Pipeline()
		cmds := make(map[int]*redis.XMessageSliceCmd, len(left))
		for p, spans := range left {
			cmds[p] = pipe.XRangeN(ctx, store.Usage(p), spans[0].first.String(), spans[0].last.String(), batch)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return store.Fault(err)
		}
		for p, cmd := range cmds {
			last, err := got.addEntries(cmd.Val())
			if err != nil {
				return err
			}
			spans := left[p]
			if len(cmd.Val()) < batch {
				spans = spans[1:]
			} else {
				spans = append([]span{{last.Next(), spans[0].last}}, spans[1:]...)
			}
			if left[p] = spans; len(spans) == 0 {
				delete(left, p)
			}
		}
	}
	return nil
}

// rows collects the rows of a sum.
type rows struct {
	q   *usage.Query
	all map[string]*usage.Row
	key []byte // reused
}

func newRows(q *usage.Query) *rows { return &rows{q: q, all: make(map[string]*usage.Row)} }

// addEntries adds records and says which was the last.
func (w *rows) addEntries(found []redis.XMessage) (last store.EntryID, err error) {
	for i := range found {
		id, r, err := Record(&found[i])
		if err != nil {
			return last, err
		}
		last = id
		if !w.q.Matches(&r) {
			continue
		}
		row, err := w.row(id.Time(), &r)
		if err == nil {
			err = count(row, &r)
		}
		if err != nil {
			return last, err
		}
	}
	return last, nil
}

// addBucket adds the sums of a bucket.
func (w *rows) addBucket(b *planned, packed map[string]string) error {
	for field, value := range packed {
		r, err := parseName(field)
		if err != nil {
			return err
		}
		if !w.q.Matches(r) {
			continue
		}
		figures, err := unpack(value)
		if err != nil {
			return err
		}
		row, err := w.row(b.at, r)
		if err == nil {
			err = add(row, &figures, 1)
		}
		if err != nil {
			return err
		}
		row.UTC = row.UTC || b.utc
	}
	return nil
}

// row is the row that a record counts in which was settled at a time.
func (w *rows) row(at time.Time, r *usage.Record) (*usage.Row, error) {
	begin := w.q.Grain.Start(at.In(w.q.Zone))
	w.key = begin.UTC().AppendFormat(w.key[:0], time.RFC3339)
	for _, d := range w.q.GroupBy {
		v := d.Of(r) // with its length ahead: clients choose models and may put anything in
		w.key = append(binary.AppendUvarint(w.key, uint64(len(v))), v...)
	}
	if row, ok := w.all[string(w.key)]; ok {
		return row, nil
	}
	if len(w.all) == maxRows {
		return nil, fault.At("group_by", "the sum has more than %d rows; ask for a shorter time or fewer groups", maxRows)
	}
	row := &usage.Row{Bucket: begin, Group: make([]string, len(w.q.GroupBy))}
	for i, d := range w.q.GroupBy {
		row.Group[i] = d.Of(r)
	}
	w.all[string(w.key)] = row
	return row, nil
}

// merge adds the rows of another collection for the same query.
func (w *rows) merge(o *rows) error {
	for key, row := range o.all {
		have, ok := w.all[key]
		if !ok {
			if len(w.all) == maxRows {
				return fault.At("group_by", "the sum has more than %d rows; ask for a shorter time or fewer groups", maxRows)
			}
			w.all[key] = row
			continue
		}
		if err := add(have, row, 1); err != nil {
			return err
		}
		have.UTC = have.UTC || row.UTC
	}
	return nil
}

// sorted are the rows in order of bucket and group.
func (w *rows) sorted() []usage.Row {
	all := make([]usage.Row, 0, len(w.all))
	for _, row := range w.all {
		all = append(all, *row)
	}
	slices.SortFunc(all, func(a, b usage.Row) int {
		return cmp.Or(a.Bucket.Compare(b.Bucket), slices.Compare(a.Group, b.Group))
	})
	return all
}

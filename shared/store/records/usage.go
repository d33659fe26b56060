package records

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/usage"
)

const (
	// sumBatch is how many entries of a partition one command reads for a sum.
	sumBatch = 1000
	// sumTogether is how many partitions are read in one wait for a sum: it bounds
	// what is in memory at once.
	sumTogether = 8
	// maxRows is the largest number of rows of a sum.
	maxRows = 50_000
	// recordField is the field of a stream entry that holds the record as JSON.
	recordField = "r"
)

// Usage is the usage that calls left in the ledger. The time of a record is that
// of its stream entry: when the call was settled, by the clock of Redis.
type Usage struct{ s *Store }

// Sum adds up the records that a query selects, ordered by bucket and group; the
// cursor and limit are not looked at. It errs with fault.Invalid when the sum has
// more than 50,000 rows, and StoreDown.
//
// It reads every record in the time asked for (about 10 µs and 500 bytes of
// traffic each, 8,000 a wait), of all partitions unless a key, user or team is
// asked for. Rollups are to take its place for long spans.
func (u *Usage) Sum(ctx context.Context, q usage.Query) ([]usage.Row, error) {
	partitions, err := u.s.partitions(ctx, &q)
	if err != nil {
		return nil, err
	}
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	sum := &sum{q: &q, rows: make(map[string]*usage.Row)}
	for group := range slices.Chunk(partitions, sumTogether) {
		if err := u.sumOf(ctx, group, sum); err != nil {
			return nil, err
		}
	}
	return sum.sorted(), nil
}

// sumOf adds the records of some partitions.
func (u *Usage) sumOf(ctx context.Context, partitions []int, sum *sum) error {
	first, last := bounds(sum.q)
	from := make(map[int]streamID, len(partitions))
	for _, p := range partitions {
		from[p] = first
	}
	for len(from) > 0 {
		pipe := u.s.client.Redis().Pipeline()
		cmds := make(map[int]*redis.XMessageSliceCmd, len(from))
		for p, id := range from {
			cmds[p] = pipe.XRangeN(ctx, store.Usage(p), id.String(), last.String(), sumBatch)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return store.Fault(err)
		}
		for p, cmd := range cmds {
			entries := cmd.Val()
			if err := sum.add(entries); err != nil {
				return err
			}
			if len(entries) < sumBatch {
				delete(from, p)
				continue
			}
			id, err := parseStreamID(entries[len(entries)-1].ID)
			if err != nil {
				return err
			}
			from[p] = id.next()
		}
	}
	return nil
}

// partitions are those that have records which a query selects.
func (s *Store) partitions(ctx context.Context, q *usage.Query) ([]int, error) {
	r := keyRef(q.Key)
	if r.id == "" {
		r = userRef(q.User)
	}
	switch {
	case q.Team != "":
		return []int{admission.PartitionOf(q.Team)}, nil
	case r.id != "":
		at, err := s.find(ctx, r)
		if err == nil {
			return at.all(), nil
		}
		if fault.CodeOf(err) != fault.NotFound {
			return nil, err
		}
		// It was deleted: its records may be anywhere.
	}
	all := make([]int, admission.Partitions)
	for p := range all {
		all[p] = p
	}
	return all, nil
}

// sum collects rows.
type sum struct {
	q    *usage.Query
	rows map[string]*usage.Row
	key  []byte // reused
}

func (s *sum) add(entries []redis.XMessage) error {
	for i := range entries {
		id, r, err := record(&entries[i])
		if err != nil {
			return err
		}
		if !s.q.Matches(&r) {
			continue
		}
		row, err := s.row(id.time(), &r)
		if err != nil {
			return err
		}
		row.Add(&r)
	}
	return nil
}

// row is the row that a record counts in.
func (s *sum) row(at time.Time, r *usage.Record) (*usage.Row, error) {
	bucket := cmp.Or(s.q.Grain, usage.Day).Start(at.In(s.q.Zone))
	s.key = bucket.UTC().AppendFormat(s.key[:0], time.RFC3339)
	for _, d := range s.q.GroupBy {
		v := d.Of(r) // with its length ahead: clients choose models and may put anything in
		s.key = append(binary.AppendUvarint(s.key, uint64(len(v))), v...)
	}
	if row, ok := s.rows[string(s.key)]; ok {
		return row, nil
	}
	if len(s.rows) == maxRows {
		return nil, fault.At("group_by", "the sum has more than %d rows; ask for a shorter time or fewer groups", maxRows)
	}
	row := &usage.Row{Bucket: bucket, Group: make([]string, len(s.q.GroupBy))}
	for i, d := range s.q.GroupBy {
		row.Group[i] = d.Of(r)
	}
	s.rows[string(s.key)] = row
	return row, nil
}

func (s *sum) sorted() []usage.Row {
	rows := make([]usage.Row, 0, len(s.rows))
	for _, row := range s.rows {
		rows = append(rows, *row)
	}
	slices.SortFunc(rows, func(a, b usage.Row) int {
		return cmp.Or(a.Bucket.Compare(b.Bucket), slices.Compare(a.Group, b.Group))
	})
	return rows
}

// record is the record of a stream entry, and its id.
func record(m *redis.XMessage) (streamID, usage.Record, error) {
	var r usage.Record
	id, err := parseStreamID(m.ID)
	if err != nil {
		return id, r, err
	}
	text, ok := m.Values[recordField].(string)
	if !ok {
		return id, r, fault.New(fault.Internal, "usage record %s has no field %q", m.ID, recordField)
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return id, r, fault.Wrap(fault.Internal, err, "usage record %s is damaged", m.ID)
	}
	return id, r, nil
}

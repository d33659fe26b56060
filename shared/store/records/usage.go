package records

import (
	"context"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/store/rollup"
	"sluice/shared/usage"
)

// Usage is the usage that calls left in the ledger. The time of a record is that
// of its stream entry: when the call was settled, by the clock of Redis.
type Usage struct{ s *Store }

// Sum adds up the records that a query selects, as rollup.Reader.Sum does: of all
// partitions unless a key, user or team is asked for.
func (u *Usage) Sum(ctx context.Context, q usage.Query) ([]usage.Row, error) {
	partitions, err := u.s.partitions(ctx, &q)
	if err != nil {
		return nil, err
	}
	return rollup.NewReader(u.s.client).Sum(ctx, partitions, q)
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

package records

import (
	"strconv"
	"strings"

	"sluice/shared/fault"
	"sluice/shared/store"
)

// position is a place in the records of all partitions, which are ordered by id
// and, within an id, by partition.
type position struct {
	id        store.EntryID
	partition int
}

// parsePosition reads a cursor.
func parsePosition(cursor string) (position, error) {
	id, p, _ := strings.Cut(cursor, ".")
	at, err := store.ParseEntryID(id)
	n, errP := strconv.Atoi(p)
	if err != nil || errP != nil {
		return position{}, fault.At("cursor", "%q is no cursor; use next_cursor of the page before", cursor)
	}
	return position{at, n}, nil
}

// String is the position as a cursor.
func (p position) String() string { return p.id.String() + "." + strconv.Itoa(p.partition) }

// before says whether the position is older than o.
func (p position) before(o position) bool {
	if p.id != o.id {
		return p.id.Before(o.id)
	}
	return p.partition < o.partition
}

// last is the newest id of a partition that lies before the position.
func (p position) last(partition int) store.EntryID {
	if partition < p.partition {
		return p.id
	}
	return p.id.Previous()
}

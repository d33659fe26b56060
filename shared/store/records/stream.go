package records

import (
	"math"
	"strconv"
	"strings"
	"time"

	"sluice/shared/fault"
	"sluice/shared/usage"
)

// streamID is the id of a stream entry: Unix milliseconds and a number within.
type streamID struct {
	ms  int64
	seq uint64
}

// parseStreamID reads what String wrote.
func parseStreamID(text string) (streamID, error) {
	ms, seq, _ := strings.Cut(text, "-")
	m, errMS := strconv.ParseInt(ms, 10, 64)
	n, errSeq := strconv.ParseUint(seq, 10, 64)
	if errMS != nil || errSeq != nil || m < 0 {
		return streamID{}, fault.New(fault.Invalid, "%q is no id of a usage record", text)
	}
	return streamID{m, n}, nil
}

// String is the id as Redis writes it.
func (id streamID) String() string {
	return strconv.FormatInt(id.ms, 10) + "-" + strconv.FormatUint(id.seq, 10)
}

func (id streamID) time() time.Time { return time.UnixMilli(id.ms) }

// next is the smallest id after this.
func (id streamID) next() streamID {
	if id.seq == math.MaxUint64 {
		return streamID{id.ms + 1, 0}
	}
	return streamID{id.ms, id.seq + 1}
}

// previous is the greatest id before this; that of the first is the first.
func (id streamID) previous() streamID {
	switch {
	case id.seq > 0:
		return streamID{id.ms, id.seq - 1}
	case id.ms > 0:
		return streamID{id.ms - 1, math.MaxUint64}
	default:
		return id
	}
}

func (id streamID) before(o streamID) bool {
	return id.ms < o.ms || id.ms == o.ms && id.seq < o.seq
}

// bounds are the first and the last id of the time that a query asks for.
func bounds(q *usage.Query) (first, last streamID) {
	last = streamID{math.MaxInt64, math.MaxUint64}
	if !q.From.IsZero() {
		first.ms = max(q.From.UnixMilli(), 0)
	}
	if !q.To.IsZero() {
		last = streamID{max(q.To.UnixMilli(), 0), 0}.previous()
	}
	return first, last
}

// position is a place in the records of all partitions, which are ordered by id
// and, within an id, by partition.
type position struct {
	id        streamID
	partition int
}

// parsePosition reads a cursor.
func parsePosition(cursor string) (position, error) {
	id, p, _ := strings.Cut(cursor, ".")
	at, err := parseStreamID(id)
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
		return p.id.before(o.id)
	}
	return p.partition < o.partition
}

// last is the newest id of a partition that lies before the position.
func (p position) last(partition int) streamID {
	if partition < p.partition {
		return p.id
	}
	return p.id.previous()
}

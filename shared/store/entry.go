package store

import (
	"math"
	"strconv"
	"strings"
	"time"

	"sluice/shared/fault"
)

// EntryID is the id of a stream's entry: Unix milliseconds, by the clock of Redis
// when it was added, and a number within. Ids of a stream only ever grow.
type EntryID struct {
	MS  int64
	Seq uint64
}

// LastEntryID is greater than every id that a stream gives.
func LastEntryID() EntryID { return EntryID{math.MaxInt64, math.MaxUint64} }

// ParseEntryID reads what String wrote. It errs with fault.Invalid.
func ParseEntryID(text string) (EntryID, error) {
	ms, seq, _ := strings.Cut(text, "-")
	m, errMS := strconv.ParseInt(ms, 10, 64)
	n, errSeq := strconv.ParseUint(seq, 10, 64)
	if errMS != nil || errSeq != nil || m < 0 {
		return EntryID{}, fault.New(fault.Invalid, "%q is no id of a usage record", text)
	}
	return EntryID{m, n}, nil
}

// String is the id as Redis writes it.
func (id EntryID) String() string {
	return strconv.FormatInt(id.MS, 10) + "-" + strconv.FormatUint(id.Seq, 10)
}

// Time is when the entry was added.
func (id EntryID) Time() time.Time { return time.UnixMilli(id.MS) }

// Next is the smallest id after this.
func (id EntryID) Next() EntryID {
	if id.Seq == math.MaxUint64 {
		return EntryID{id.MS + 1, 0}
	}
	return EntryID{id.MS, id.Seq + 1}
}

// Previous is the greatest id before this; that of the first is the first.
func (id EntryID) Previous() EntryID {
	switch {
	case id.Seq > 0:
		return EntryID{id.MS, id.Seq - 1}
	case id.MS > 0:
		return EntryID{id.MS - 1, math.MaxUint64}
	default:
		return id
	}
}

// Before says whether the id is smaller than o.
func (id EntryID) Before(o EntryID) bool {
	return id.MS < o.MS || id.MS == o.MS && id.Seq < o.Seq
}

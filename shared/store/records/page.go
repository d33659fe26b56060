package records

import (
	"container/heap"
	"context"

	"github.com/redis/go-redis/v9"

	"sluice/shared/store"
	"sluice/shared/store/rollup"
	"sluice/shared/usage"
)

const (
	// firstBatch is how many entries of each partition are read at first for a
	// page; a partition that has more of them is read in growing batches.
	firstBatch = 16
	maxBatch   = 1000
	// maxScan is how many entries one page looks at when its filters select few.
	maxScan = 20_000
)

// Records is a page of the records that a query selects, newest first; the grain
// and groups are not looked at. A page that has a cursor may hold fewer records
// than asked for, even none: no page looks at more than about 20,000. It errs
// with fault.Invalid for a bad cursor, and StoreDown.
//
// All partitions are merged by time, which takes one wait and up to 64 × 16
// records, then a wait for each partition that turns out to have more in the
// page; with a key, user or team it is those of one partition.
func (u *Usage) Records(ctx context.Context, q usage.Query) (usage.Page, error) {
	partitions, err := u.s.partitions(ctx, &q)
	if err != nil {
		return usage.Page{}, err
	}
	if q.Limit <= 0 || q.Limit > usage.MaxPage {
		q.Limit = usage.MaxPage
	}
	m := &merge{client: u.s.client}
	if err := m.open(ctx, &q, partitions); err != nil {
		return usage.Page{}, err
	}
	page := usage.Page{Records: []usage.Record{}}
	for scanned := 0; len(m.tails) > 0; scanned++ {
		if len(page.Records) == q.Limit || scanned == maxScan {
			page.Next = m.reached.String()
			return page, nil
		}
		r, err := m.pop(ctx)
		if err != nil {
			return usage.Page{}, err
		}
		if q.Matches(&r) {
			page.Records = append(page.Records, r)
		}
	}
	return page, nil
}

// merge reads the streams of several partitions backwards, as one.
type merge struct {
	client  *store.Client
	first   store.EntryID // nothing before it is read
	tails   tails         // those that have an entry left
	reached position      // of the entry that was popped last
}

// tail is the part of a partition's stream that is yet to be read.
type tail struct {
	head    position // of entries[0]
	entries []redis.XMessage
	last    store.EntryID // the newest that is not in entries
	batch   int64
	done    bool // the stream has no more than entries
}

// tails is a heap, newest head first.
type tails []*tail

func (t tails) Len() int           { return len(t) }
func (t tails) Less(i, j int) bool { return t[j].head.before(t[i].head) }
func (t tails) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push is for package heap.
func (t *tails) Push(x any) { *t = append(*t, x.(*tail)) }

// Pop is for package heap.
func (t *tails) Pop() any {
	old := *t
	x := old[len(old)-1]
	*t = old[:len(old)-1]
	return x
}

// open reads the first batch of every partition, after the cursor.
func (m *merge) open(ctx context.Context, q *usage.Query, partitions []int) error {
	first, last := rollup.Bounds(q)
	m.first = first
	var after *position
	if q.Cursor != "" {
		p, err := parsePosition(q.Cursor)
		if err != nil {
			return err
		}
		after = &p
	}
	all := make([]*tail, len(partitions))
	for i, p := range partitions {
		t := &tail{head: position{partition: p}, last: last, batch: firstBatch}
		if after != nil && after.last(p).Before(last) {
			t.last = after.last(p)
		}
		all[i] = t
	}
	if err := m.fill(ctx, all); err != nil {
		return err
	}
	for _, t := range all {
		if len(t.entries) > 0 {
			m.tails = append(m.tails, t)
		}
	}
	heap.Init(&m.tails)
	return nil
}

// fill reads the next batch of tails whose entries are used up.
func (m *merge) fill(ctx context.Context, all []*tail) error {
	pipe := m.client.Redis().Pipeline()
	cmds := make([]*redis.XMessageSliceCmd, len(all))
	for i, t := range all {
		cmds[i] = pipe.XRevRangeN(ctx, store.Usage(t.head.partition), t.last.String(), m.first.String(), t.batch)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return store.Fault(err)
	}
	for i, t := range all {
		t.entries = cmds[i].Val()
		t.done = int64(len(t.entries)) < t.batch
		if len(t.entries) == 0 {
			continue
		}
		oldest, err := store.ParseEntryID(t.entries[len(t.entries)-1].ID)
		if err != nil {
			return err
		}
		t.last = oldest.Previous()
		t.done = t.done || oldest == m.first || oldest == t.last
		t.batch = min(2*t.batch, maxBatch)
		if t.head.id, err = store.ParseEntryID(t.entries[0].ID); err != nil {
			return err
		}
	}
	return nil
}

// pop takes the newest entry that is left.
func (m *merge) pop(ctx context.Context) (usage.Record, error) {
	t := m.tails[0]
	_, r, err := rollup.Record(&t.entries[0])
	if err != nil {
		return r, err
	}
	m.reached = t.head
	t.entries = t.entries[1:]
	if len(t.entries) == 0 && !t.done {
		if err := m.fill(ctx, []*tail{t}); err != nil {
			return r, err
		}
	}
	if len(t.entries) == 0 {
		heap.Pop(&m.tails)
		return r, nil
	}
	t.head.id, err = store.ParseEntryID(t.entries[0].ID)
	heap.Fix(&m.tails, 0)
	return r, err
}

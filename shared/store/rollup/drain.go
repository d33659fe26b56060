package rollup

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/store"
	"sluice/shared/usage"
)

// Object bounds what an object of the archive holds. None has records of two days
// (of UTC).
type Object struct {
	Records int           // at most; 0 = 10,000
	Span    time.Duration // of the records' times, and so how far the archive is behind; 0 = 15 min
}

const (
	defaultObjectRecords = 10_000
	defaultObjectSpan    = 15 * time.Minute
)

func (o Object) orDefault() Object {
	if o.Records <= 0 {
		o.Records = defaultObjectRecords
	}
	if o.Span <= 0 {
		o.Span = defaultObjectSpan
	}
	return o
}

// drain archives a partition's entries after the cursor, object by object, until
// the next one's span is not over or another process is at it.
//
// Which entries an object holds is written down before it is put: a process that is
// slow, or that takes over from one that died, puts the same bytes under the same
// name, never a part of them over the whole.
func (r *Roller) drain(ctx context.Context, p int, done *Result) error {
	for {
		s, err := stateOf(ctx, r.client, p)
		if err != nil {
			return err
		}
		last := s.closing
		if last == nil {
			if last, err = r.closeObject(ctx, p, &s); err != nil || last == nil {
				return err
			}
		}
		n, moved, err := r.put(ctx, p, &s, *last)
		if err != nil || !moved {
			return err
		}
		if done.Archived += n; n > 0 {
			done.Objects++
		}
	}
}

// closeObject says which entry is the last of the next object, and has everyone
// know; nil when it is not time for one.
func (r *Roller) closeObject(ctx context.Context, p int, s *state) (*store.EntryID, error) {
	found, err := entries(ctx, r.client, p, after(s.archived), store.LastEntryID(), 1)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	first, err := store.ParseEntryID(found[0].ID)
	if err != nil {
		return nil, err
	}
	end := first.Time().Add(r.object.Span)
	if midnight := bucketOf(usage.Day, first.Time()).end(); midnight.Before(end) {
		end = midnight
	}
	if r.now().Before(end) {
		return nil, nil
	}
	rows, err := r.upTo(ctx, p, first, store.EntryID{MS: end.UnixMilli()}.Previous(), r.object.Records)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	answer, err := r.client.Run(ctx, store.Call{
		Script: r.scripts.close, Keys: []string{store.Cursors(p)}, Args: []any{text(s.archived), rows[len(rows)-1].ID},
	})
	agreed, _ := answer.(string)
	if err != nil || agreed == "" {
		return nil, err
	}
	last, err := store.ParseEntryID(agreed)
	return &last, err
}

// upTo are the entries from the first id to the last, at most so many.
func (r *Roller) upTo(ctx context.Context, p int, first, last store.EntryID, most int) ([]redis.XMessage, error) {
	var all []redis.XMessage
	for len(all) < most {
		ask := min(batch, most-len(all))
		found, err := entries(ctx, r.client, p, first, last, int64(ask))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
		if len(found) < ask {
			break
		}
		id, err := store.ParseEntryID(found[len(found)-1].ID)
		if err != nil {
			return nil, err
		}
		first = id.Next()
	}
	return all, nil
}

// put archives the entries after the cursor up to the given one and moves the cursor
// there. It says how many there were, and whether the cursor stands there now.
func (r *Roller) put(ctx context.Context, p int, s *state, last store.EntryID) (n int, moved bool, err error) {
	rows, err := r.upTo(ctx, p, after(s.archived), last, math.MaxInt)
	if err != nil {
		return 0, false, err
	}
	// Entries are removed only once the cursor has passed them: if it has not moved
	// since before they were read, these are all.
	now, err := stateOf(ctx, r.client, p)
	if err != nil || text(now.archived) != text(s.archived) {
		return 0, false, err
	}
	if err := r.putRows(ctx, p, rows); err != nil {
		return 0, false, err
	}
	answer, err := r.client.Run(ctx, store.Call{
		Script: r.scripts.archived, Keys: []string{store.Cursors(p)}, Args: []any{text(s.archived), last.String()},
	})
	return len(rows), answer == int64(1), err
}

// putRows puts the object of some entries. There may be none left: an operator may
// have removed damaged ones.
func (r *Roller) putRows(ctx context.Context, p int, rows []redis.XMessage) error {
	if len(rows) == 0 {
		return nil
	}
	first, err := store.ParseEntryID(rows[0].ID)
	if err != nil {
		return err
	}
	body, err := object(rows)
	if err != nil {
		return err
	}
	if err := r.archive.Put(ctx, objectName(p, first), body); err != nil {
		return fmt.Errorf("%w: %w", errArchive, err)
	}
	return nil
}

// objectName is the name of the object that begins with an entry.
func objectName(p int, first store.EntryID) string {
	return fmt.Sprintf("usage/day=%s/p=%02d/%s.jsonl.gz", first.Time().UTC().Format(time.DateOnly), p, first)
}

// object is entries as JSON lines, gzipped: the records as they are in the stream,
// byte for byte.
func object(rows []redis.XMessage) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for i := range rows {
		_, line, err := row(&rows[i])
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(append([]byte(line), '\n')); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return b.Bytes(), err
}

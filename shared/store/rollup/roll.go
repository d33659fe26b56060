package rollup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/usage"
)

// roll adds a partition's entries after the cursor to the sums, batch by batch,
// until there are no more or another process is at it.
func (r *Roller) roll(ctx context.Context, p int, done *Result) error {
	for {
		s, err := stateOf(ctx, r.client, p)
		if err != nil {
			return err
		}
		found, err := entries(ctx, r.client, p, after(s.rolled), store.LastEntryID(), batch)
		if err != nil || len(found) == 0 {
			return err
		}
		moved, err := r.rollBatch(ctx, p, s.rolled, found)
		if err != nil || !moved {
			return err
		}
		done.Rolled += len(found)
		if len(found) < batch {
			return nil
		}
	}
}

// sums are those of one bucket by their field's name.
type sums map[string]*usage.Row

// rollBatch adds entries to the sums and moves the cursor to the last of them. It
// says whether the cursor stands there now.
func (r *Roller) rollBatch(ctx context.Context, p int, old *store.EntryID, found []redis.XMessage) (bool, error) {
	fresh := make(map[bucket]sums)
	var first, last store.EntryID
	for i := range found {
		id, record, err := Record(&found[i])
		if err == nil {
			err = tally(fresh, id, &record)
		}
		if err != nil {
			return false, fault.Wrap(fault.Internal, err,
				"rollup of partition %d stops at usage record %s; look at it, then remove it with XDEL %s %s",
				p, found[i].ID, store.Usage(p), found[i].ID)
		}
		if i == 0 {
			first = id
		}
		last = id
	}
	buckets := slices.SortedFunc(maps.Keys(fresh), func(x, y bucket) int {
		return cmp.Or(cmp.Compare(x.grain, y.grain), x.start.Compare(y.start))
	})
	if err := r.addStored(ctx, p, buckets, fresh); err != nil {
		return false, err
	}
	since := first.Time().UTC()
	call := store.Call{Script: r.scripts.roll, Keys: []string{store.Cursors(p)}, Args: []any{
		text(old), last.String(), since.UnixMilli(), usage.Day.Start(since).UnixMilli(), usage.Month.Start(since).UnixMilli(),
	}}
	for _, b := range buckets {
		call.Keys = append(call.Keys, b.key(p))
		call.Args = append(call.Args, strconv.Itoa(len(fresh[b])))
		for field, w := range fresh[b] {
			call.Args = append(call.Args, field, pack(w))
		}
	}
	answer, err := r.client.Run(ctx, call)
	return answer == int64(1), err
}

// tally counts a record in its hour, day and month.
func tally(all map[bucket]sums, id store.EntryID, record *usage.Record) error {
	field := name(record)
	for _, g := range []usage.Grain{usage.Hour, usage.Day, usage.Month} {
		b := bucketOf(g, id.Time())
		if all[b] == nil {
			all[b] = make(sums)
		}
		w := all[b][field]
		if w == nil {
			w = new(usage.Row)
			all[b][field] = w
		}
		if err := count(w, record); err != nil {
			return err
		}
	}
	return nil
}

// addStored adds what the buckets hold already, in one wait.
func (r *Roller) addStored(ctx context.Context, p int, buckets []bucket, fresh map[bucket]sums) error {
	pipe := r.client.Redis().Pipeline()
	fields := make([][]string, len(buckets))
	cmds := make([]*redis.SliceCmd, len(buckets))
	for i, b := range buckets {
		fields[i] = slices.Collect(maps.Keys(fresh[b]))
		cmds[i] = pipe.HMGet(ctx, b.key(p), fields[i]...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return store.Fault(err)
	}
	for i, b := range buckets {
		for j, v := range cmds[i].Val() {
			packed, ok := v.(string)
			if !ok {
				continue // the first of its kind
			}
			stored, err := unpack(packed)
			if err == nil {
				err = add(fresh[b][fields[i][j]], &stored, 1)
			}
			if err != nil {
				return errors.Join(fmt.Errorf("rollup: %s, field %q", b.key(p), fields[i][j]), err)
			}
		}
	}
	return nil
}

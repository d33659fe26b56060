package rollup

import (
	"context"
	_ "embed"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/usage"
)

// The fields of a partition's cursors.
const (
	rolledField   = "rolled"   // id of the last entry in the sums
	archivedField = "archived" // id of the last entry in the archive
	closingField  = "closing"  // id of the last entry of the object that is being archived
	sinceField    = "since"    // Unix ms of the first entry that was ever rolled up
	detailField   = "detail"   // Unix ms since when hours are kept, and all entries: a midnight of UTC
	daysField     = "days"     // Unix ms since when days are kept: the first of a month
)

//go:embed roll.lua
var rollSource string

//go:embed close.lua
var closeSource string

//go:embed archived.lua
var archivedSource string

//go:embed keep.lua
var keepSource string

// scripts are the scripts of this package.
type scripts struct{ roll, close, archived, keep *store.Script }

func newScripts() scripts {
	return scripts{
		roll:     store.NewScript("rollup.roll", rollSource),
		close:    store.NewScript("rollup.close", closeSource),
		archived: store.NewScript("rollup.archived", archivedSource),
		keep:     store.NewScript("rollup.keep", keepSource),
	}
}

// state is how far a partition is rolled up and archived. Its zero value is that of
// a partition that never was.
type state struct {
	rolled, archived, closing *store.EntryID // nil = none
	since, detail, days       time.Time      // of UTC; set once something is rolled up
}

// states reads those of some partitions, in one wait.
func states(ctx context.Context, c *store.Client, partitions []int) ([]state, error) {
	pipe := c.Redis().Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(partitions))
	for i, p := range partitions {
		cmds[i] = pipe.HGetAll(ctx, store.Cursors(p))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, store.Fault(err)
	}
	all := make([]state, len(partitions))
	for i, p := range partitions {
		var err error
		if all[i], err = parseState(cmds[i].Val()); err != nil {
			return nil, fault.Wrap(fault.Internal, err, "the cursors of usage in %s are damaged", store.Cursors(p))
		}
	}
	return all, nil
}

func stateOf(ctx context.Context, c *store.Client, p int) (state, error) {
	all, err := states(ctx, c, []int{p})
	if err != nil {
		return state{}, err
	}
	return all[0], nil
}

func parseState(fields map[string]string) (state, error) {
	var s state
	for name, at := range map[string]**store.EntryID{rolledField: &s.rolled, archivedField: &s.archived, closingField: &s.closing} {
		if text, ok := fields[name]; ok {
			id, err := store.ParseEntryID(text)
			if err != nil {
				return s, err
			}
			*at = &id
		}
	}
	if s.rolled == nil {
		return s, nil
	}
	for name, at := range map[string]*time.Time{sinceField: &s.since, detailField: &s.detail, daysField: &s.days} {
		ms, err := strconv.ParseInt(fields[name], 10, 64)
		if err != nil {
			return s, err
		}
		*at = time.UnixMilli(ms).UTC()
	}
	return s, nil
}

// text is a cursor as it is stored, "" when there is none.
func text(id *store.EntryID) string {
	if id == nil {
		return ""
	}
	return id.String()
}

// after is the first id that a cursor has not passed.
func after(id *store.EntryID) store.EntryID {
	if id == nil {
		return store.EntryID{}
	}
	return id.Next()
}

// bucket is an hour, day or month of UTC.
type bucket struct {
	grain usage.Grain
	start time.Time
}

func bucketOf(g usage.Grain, t time.Time) bucket { return bucket{g, g.Start(t.UTC())} }

// end is where the next bucket begins.
func (b bucket) end() time.Time {
	switch b.grain {
	case usage.Hour:
		return b.start.Add(time.Hour)
	case usage.Month:
		return b.start.AddDate(0, 1, 0)
	default:
		return b.start.AddDate(0, 0, 1)
	}
}

// key is the name of the bucket's sums in a partition.
func (b bucket) key(p int) string {
	layout := map[usage.Grain]string{usage.Hour: "2006010215", usage.Day: "20060102", usage.Month: "200601"}[b.grain]
	return store.Rollup(p, string(b.grain), b.start.Format(layout))
}

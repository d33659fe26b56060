// Package rollup keeps sums of the usage records that calls leave, archives the
// records, removes what is old, and reads sums back.
//
// A record is an entry of its partition's stream. A Roller reads the entries after
// a cursor, adds them up in Go, and has one script write the sums and move the
// cursor, or do nothing when another process has moved it: each entry counts
// exactly once, whoever rolls, and however often. The archive has a cursor of its
// own.
//
// Sums are kept by hour, day and month of UTC, in one field for each key, model,
// account, user, team and set of tags. The last three are mostly the key's, so that
// a field more is rare; but a record is of the user and team that its key had at
// its time, and its sum is too. A key that moves takes nothing of its past along,
// and one that was deleted keeps it. (Looking them up when sums are read would
// need neither, and be wrong for both.)
//
// A Reader adds the sums up to the cursor and the entries after it, so that rolling
// changes no answer. Amounts never pass through numbers of Lua.
package rollup

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/shared/admission"
	"sluice/shared/fault"
	"sluice/shared/store"
	"sluice/shared/usage"
)

const (
	// Every is how often a process rolls: what is not rolled up yet is what reading a
	// sum costs.
	Every = 10 * time.Second
	// batch is how many entries of a partition one command reads, and at most how many
	// one script rolls up.
	batch = 1000
	// recordField is the field of a stream's entry that holds the record as JSON.
	recordField = "r"
)

// Archive keeps records beyond the time that the store does.
type Archive interface {
	// Put stores an object, in place of one that has its name, and returns when it is
	// durable. Names have slashes, and are the same for the same records.
	Put(ctx context.Context, name string, body []byte) error
}

// errArchive is what an archive did not take.
var errArchive = errors.New("usage is not archived")

// Options make a Roller. Client is required.
type Options struct {
	Client *store.Client
	// Archive takes the records; nil = they are not archived here. Records that no
	// process has begun to archive are removed by their age alone.
	Archive Archive
	Object  Object           // what an object of the archive holds
	Now     func() time.Time // nil = time.Now
	Logger  *slog.Logger     // nil = none
}

// Roller rolls up, archives and removes. It is safe for concurrent use, here and
// in other processes.
type Roller struct {
	client  *store.Client
	archive Archive
	object  Object
	now     func() time.Time
	log     *slog.Logger
	scripts scripts
	warned  atomic.Bool // of records that nobody archives
}

// New is a Roller.
func New(o Options) *Roller {
	r := &Roller{
		client: o.Client, archive: o.Archive, object: o.Object.orDefault(), now: o.Now, log: o.Logger, scripts: newScripts(),
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r
}

// Result is what a Roller did. When another process did the same at the same time,
// both may count it.
type Result struct {
	Rolled   int `json:"rolled"`   // records
	Archived int `json:"archived"` // records
	Objects  int `json:"objects"`  // of the archive
}

// Run rolls up every partition each Every until ctx ends.
func (r *Roller) Run(ctx context.Context) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := r.All(ctx); err != nil {
				r.log.WarnContext(ctx, "rollup failed", "error", err)
			}
		}
	}
}

// All rolls up, archives and removes what there is in every partition. What fails
// in one, such as a damaged record, which it names, holds up that partition only; an
// archive that takes nothing holds up archiving. It ends early, with what it did and
// an error, when ctx does or the store is down.
func (r *Roller) All(ctx context.Context) (Result, error) {
	var done Result
	var errs error
	archiving := r.archive != nil
	for p := range admission.Partitions {
		if err := ctx.Err(); err != nil {
			return done, errors.Join(errs, err)
		}
		err := r.partition(ctx, p, archiving, &done)
		errs = errors.Join(errs, err)
		if err != nil && fault.CodeOf(err) == fault.StoreDown {
			break
		}
		archiving = archiving && !errors.Is(err, errArchive)
	}
	return done, errs
}

// partition does everything in one partition. A failure of the archive is none of
// the sums', and the other way round.
func (r *Roller) partition(ctx context.Context, p int, archiving bool, done *Result) error {
	err := r.roll(ctx, p, done)
	if archiving {
		err = errors.Join(err, r.drain(ctx, p, done))
	}
	return errors.Join(err, r.keep(ctx, p))
}

// Record is the record in a stream's entry, and the entry's id.
func Record(m *redis.XMessage) (store.EntryID, usage.Record, error) {
	var r usage.Record
	id, text, err := row(m)
	if err != nil {
		return id, r, err
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return id, r, fault.Wrap(fault.Internal, err, "usage record %s is damaged", m.ID)
	}
	return id, r, nil
}

// row is a stream's entry: its id, and the record as it is stored.
func row(m *redis.XMessage) (store.EntryID, string, error) {
	id, err := store.ParseEntryID(m.ID)
	if err != nil {
		return id, "", err
	}
	text, ok := m.Values[recordField].(string)
	if !ok {
		return id, "", fault.New(fault.Internal, "usage record %s has no field %q", m.ID, recordField)
	}
	return id, text, nil
}

// entries are those of a partition's stream from the first id to the last, at most
// so many.
func entries(ctx context.Context, c *store.Client, p int, first, last store.EntryID, most int64) ([]redis.XMessage, error) {
	found, err := c.Redis().XRangeN(ctx, store.Usage(p), first.String(), last.String(), most).Result()
	return found, store.Fault(err)
}

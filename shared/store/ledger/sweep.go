package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sluice/shared/admission"
	"sluice/shared/pool"
	"sluice/shared/store"
	"sluice/shared/usage"
)

const (
	// SweepEvery is how often a process looks for calls of processes that died.
	SweepEvery = 5 * time.Second
	// AuditEvery is how often it holds what owners have held against their calls.
	AuditEvery = 10 * time.Minute
	// dueBatch is how many of them one look at a partition takes.
	dueBatch = 100
	// doneKept is for how long it is known that a call was settled: longer than a
	// call may last and stay unrenewed after that. Done sets go span by span, and
	// the sweep looks back over the last few, for times when nobody swept.
	doneKept = 2 * time.Hour
	doneBack = 24
	// tombsKept is how many days a call that was taken for lost can be corrected.
	tombsKept = 7
	// longestGap is the longest time between two looks at a partition after which
	// its due calls are taken for dead: processes look more often than that while
	// they live, and so they renew.
	longestGap = 45 * time.Second
	// patience is when to look again after a gap: calls that are still due then are
	// of processes that died.
	patience = 40 * time.Second
)

// Leases tell which calls were leased an account, and forget those that are swept.
type Leases interface {
	// LeaseOf says which of the calls hold a lease, or held one when their process died.
	LeaseOf(ctx context.Context, calls []string) (map[string]pool.LeaseInfo, error)
	// Forget removes the marks of swept calls.
	Forget(ctx context.Context, calls []string) error
}

// Sweeper settles the calls of processes that died. A call that never leased an
// account costs nothing; one that did costs what its hold covers, for nobody
// knows how much of its answer there was. It is safe for concurrent use.
type Sweeper struct {
	ledger *Ledger
	leases Leases
	log    *slog.Logger

	patience time.Duration

	mu      sync.Mutex
	cleaned int64 // span of done sets that was removed last
}

// NewSweeper is a Sweeper over the given ledger; log may be nil.
func NewSweeper(l *Ledger, leases Leases, log *slog.Logger) *Sweeper {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Sweeper{ledger: l, leases: leases, log: log, patience: patience}
}

// Run sweeps every partition each SweepEvery, and audits each AuditEvery, until
// ctx ends.
func (s *Sweeper) Run(ctx context.Context) {
	sweep, audit := time.NewTicker(SweepEvery), time.NewTicker(AuditEvery)
	defer sweep.Stop()
	defer audit.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			_, err = s.All(ctx)
		case <-audit.C:
			_, err = s.Audit(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "sweep failed", "error", err)
		}
	}
}

// Swept says what a sweep did.
type Swept struct {
	Settled int  // calls
	Gap     bool // calls were given their time once more, because nobody had swept for a while
}

// All sweeps every partition.
func (s *Sweeper) All(ctx context.Context) (Swept, error) {
	calls := make([]store.Call, admission.Partitions)
	for p := range calls {
		calls[p] = s.look(p)
	}
	var all Swept
	var errs error
	for p, r := range s.ledger.client.RunAll(ctx, calls...) {
		if r.Err != nil {
			errs = errors.Join(errs, r.Err)
			continue
		}
		one, err := s.settle(ctx, p, list(r.Value))
		all.Settled += one.Settled
		all.Gap = all.Gap || one.Gap
		errs = errors.Join(errs, err)
	}
	return all, errors.Join(errs, s.clean(ctx))
}

// Patiently sweeps, and once more after a while when there was a gap: for who
// sweeps so seldom that there always is one.
func (s *Sweeper) Patiently(ctx context.Context) (Swept, error) {
	first, err := s.All(ctx)
	if err != nil || !first.Gap {
		return first, err
	}
	wait := time.NewTimer(s.patience)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return first, ctx.Err()
	case <-wait.C:
	}
	second, err := s.All(ctx)
	second.Settled += first.Settled
	return second, err
}

// Partition sweeps one partition and says how many calls it settled.
func (s *Sweeper) Partition(ctx context.Context, partition int) (int, error) {
	r, err := s.ledger.client.Run(ctx, s.look(partition))
	if err != nil {
		return 0, err
	}
	one, err := s.settle(ctx, partition, list(r))
	return one.Settled, err
}

func (s *Sweeper) look(p int) store.Call {
	return store.Call{Script: s.ledger.due, Keys: []string{store.Intents(p), store.Due(p), store.Swept(p)}, Args: []any{
		dueBatch, admission.IntentTTL.Milliseconds(), longestGap.Milliseconds(),
	}}
}

// settle closes the calls that a look found: call and stored intent, in turn.
func (s *Sweeper) settle(ctx context.Context, partition int, found []any) (Swept, error) {
	if len(found) > 0 && found[0] == "gap" {
		return Swept{Gap: true}, nil
	}
	if len(found) < 2 {
		return Swept{}, nil
	}
	found = found[1:]
	var ids []string
	for i := 0; i+1 < len(found); i += 2 {
		id, _ := found[i].(string)
		ids = append(ids, id)
	}
	leased, err := s.leases.LeaseOf(ctx, ids)
	if err != nil {
		return Swept{}, err
	}
	var calls []store.Call
	var settled []string
	var errs error
	for i, id := range ids {
		stored, _ := found[2*i+1].(string)
		_, sent := leased[id]
		settlement, err := lost(partition, id, stored, sent)
		if err == nil {
			var call store.Call
			call, err = s.ledger.settleCall(settlement, swept)
			calls, settled = append(calls, call), append(settled, id)
		}
		errs = errors.Join(errs, err)
	}
	n := 0
	for i, r := range s.ledger.client.RunAll(ctx, calls...) {
		if r.Err != nil {
			errs = errors.Join(errs, r.Err)
			continue
		}
		answer := reply{items: list(r.Value)}
		if answer.text() == string(admission.Admitted) {
			n++
			s.log.WarnContext(ctx, "call of a dead process settled", "call", settled[i], "leased", leased[settled[i]].Account)
		}
	}
	if errs == nil {
		errs = s.leases.Forget(ctx, settled)
	}
	return Swept{Settled: n}, errs
}

// lost is the settlement of a call whose process died.
func lost(partition int, id, stored string, sent bool) (admission.Settlement, error) {
	s := admission.Settlement{Call: id, Partition: partition}
	if stored == "" { // listed as due, but not open: only the listing is left
		return s, nil
	}
	parts := strings.SplitN(stored, " ", 3)
	if len(parts) != 3 {
		return s, fmt.Errorf("ledger: open call %s is stored in an unknown form", id)
	}
	var in admission.Intent
	if err := json.Unmarshal([]byte(parts[2]), &in); err != nil {
		return s, fmt.Errorf("ledger: open call %s: %w", id, err)
	}
	var row usage.Record
	if err := json.Unmarshal(in.Row, &row); err != nil {
		return s, fmt.Errorf("ledger: record of open call %s: %w", id, err)
	}
	if !sent && row.Account == "" { // a lease is forgotten by a failover; the row is renewed with the call
		row = row.Unsent()
	}
	s.Plan, s.Cost = in.Plan, row.Cost
	s.Tokens = row.Tokens()
	var err error
	s.Row, err = json.Marshal(row)
	return s, err
}

// clean removes done sets that are older than doneKept, once for each span.
func (s *Sweeper) clean(ctx context.Context) error {
	last := time.Now().Add(-doneKept).Unix()/int64(doneSpan/time.Second) - 1
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cleaned >= last {
		return nil
	}
	pipe := s.ledger.client.Redis().Pipeline()
	for p := range admission.Partitions {
		for back := range int64(doneBack) {
			if bucket := last - back; bucket > s.cleaned {
				pipe.Unlink(ctx, store.Done(p, bucket))
			}
		}
		oldest := time.Now().Unix()/int64(day/time.Second) - tombsKept - 1
		pipe.Unlink(ctx, store.Tombs(p, oldest), store.Tombs(p, oldest-1), store.Tombs(p, oldest-2))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return store.Fault(err)
	}
	s.cleaned = last
	return nil
}

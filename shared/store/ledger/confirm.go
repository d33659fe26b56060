package ledger

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice/shared/admission"
	"sluice/shared/store"
)

const (
	// confirmAfter is how old a settlement is when it is confirmed: by then it has
	// reached the replicas, or will not.
	confirmAfter = admission.BeatEvery
	// maxRecent bounds the settlements that are kept until they are confirmed.
	maxRecent = 50_000
	// confirmBatch is how many calls one script looks for.
	confirmBatch = 100
)

// recent are the settlements of this process that are yet to be confirmed: Redis
// answers before its replicas have a write, and a failover loses it then.
type recent struct {
	mu   sync.Mutex
	list []settled // oldest first
}

type settled struct {
	admission.Settlement
	at time.Time
}

func (r *recent) add(s admission.Settlement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == maxRecent { // the oldest has outlived the time that failovers take
		r.list = r.list[1:]
	}
	r.list = append(r.list, settled{s, time.Now()})
}

// take removes those that are old enough.
func (r *recent) take(now time.Time) []settled {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.list) && now.Sub(r.list[n].at) >= confirmAfter {
		n++
	}
	taken := r.list[:n:n]
	r.list = append([]settled(nil), r.list[n:]...)
	return taken
}

// giveBack returns what could not be looked for.
func (r *recent) giveBack(list []settled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(list, r.list...)
	if over := len(r.list) - maxRecent; over > 0 {
		r.list = r.list[over:]
	}
}

// Confirm looks for the settlements that this process made a beat ago or before,
// and makes those again that a failover lost. It says how many these were. It errs
// with fault.StoreDown, and looks for the same ones the next time.
func (l *Ledger) Confirm(ctx context.Context) (lost int, err error) {
	all := l.recent.take(time.Now())
	if len(all) == 0 {
		return 0, nil
	}
	missing, err := l.missing(ctx, all)
	if err != nil {
		l.recent.giveBack(all)
		return 0, err
	}
	var errs error
	for i, s := range missing {
		if err := l.Settle(ctx, s.Settlement); err != nil {
			l.recent.giveBack(missing[i:])
			return lost, errors.Join(errs, err)
		}
		lost++
	}
	return lost, nil
}

// missing are those of the settlements that Redis does not have.
func (l *Ledger) missing(ctx context.Context, all []settled) ([]settled, error) {
	type place struct{ done, tombs string }
	groups := make(map[place][]settled)
	for _, s := range all {
		at := place{doneKey(s.Partition, s.Call), tombKey(s.Partition, s.Call)}
		groups[at] = append(groups[at], s)
	}
	var calls []store.Call
	var asked [][]settled
	for at, group := range groups {
		for len(group) > 0 {
			batch := group[:min(len(group), confirmBatch)]
			group = group[len(batch):]
			args := make([]any, len(batch))
			for i, s := range batch {
				args[i] = s.Call
			}
			calls = append(calls, store.Call{Script: l.unconfirmed, Keys: []string{at.done, at.tombs}, Args: args})
			asked = append(asked, batch)
		}
	}
	var missing []settled
	for i, r := range l.client.RunAll(ctx, calls...) {
		if r.Err != nil {
			return nil, r.Err
		}
		gone := make(map[any]bool)
		for _, call := range list(r.Value) {
			gone[call] = true
		}
		for _, s := range asked[i] {
			if gone[s.Call] {
				missing = append(missing, s)
			}
		}
	}
	return missing, nil
}

package chaos

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/admission"
	"sluice/shared/money"
	"sluice/shared/store"
	"sluice/shared/usage"
)

// clientsAtOnce is how many calls run at once in an episode.
const clientsAtOnce = 12

// scene is an episode as it runs.
type scene struct {
	*arena
	episode *episode
	rand    *rand.Rand // of the faults
	keys    []key
	budgets map[string]money.Nanos
	calls   []call
	began   atomic.Int64 // calls
	started time.Time
	took    time.Duration // from its first call until its invariants held

	mu       sync.Mutex
	faults   []string
	overruns []string

	final   evidence
	verdict []violation
}

// random is a source for one purpose of an episode: what is drawn for one call does
// not depend on how many others were made before.
func (a *arena) random(episode string, of int) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", episode, of) // a hash takes everything
	return rand.New(rand.NewPCG(a.seed, h.Sum64()))
}

// play runs an episode and judges it.
func (a *arena) play(e *episode) *scene {
	a.t.Helper()
	a.heal()
	s := &scene{arena: a, episode: e, rand: a.random(e.name, -1), started: time.Now()}
	s.keys, s.budgets = a.owners(e.name, e.calls)
	s.calls = make([]call, len(s.keys))
	ctx, cancel := context.WithCancel(a.t.Context())
	var watching, running sync.WaitGroup
	watching.Go(func() { s.watch(ctx) })
	s.started = time.Now()
	for range clientsAtOnce {
		running.Go(func() { s.work(ctx) })
	}
	if e.faults != nil {
		e.faults(s)
	}
	running.Wait()
	a.calm()
	cancel()
	watching.Wait()
	s.settle()
	return s
}

// work makes calls, one after the other, at the pace of the episode.
func (s *scene) work(ctx context.Context) {
	for {
		i := int(s.began.Add(1)) - 1
		if i >= len(s.keys) {
			return
		}
		s.wait(time.Until(s.started.Add(s.episode.lasts * time.Duration(i) / time.Duration(len(s.keys)))))
		k, r := s.keys[i], s.random(s.episode.name, i)
		draw := s.episode.order
		if draw == nil {
			draw = usual
		}
		o := draw(r)
		c := &s.calls[i]
		*c = call{ID: fmt.Sprintf("%s-%d", s.episode.name, i), Key: k.ID, Owner: k.Team, Begun: time.Now()}
		p := s.pick(r)
		p.flight.Add(1)
		s.place(ctx, p, k, o, c)
		p.flight.Add(-1)
		c.Ended = time.Now()
		c.Killed = p.killedWithin(c.Begun, c.Ended)
		if c.Saw == broke && p.frozenWithin(c.Begun, c.Ended) {
			c.Saw = left // its client's patience ended before the process went on
		}
	}
}

// pick is a process that a balancer would choose.
func (a *arena) pick(r *rand.Rand) *process {
	first := r.IntN(len(a.fleet))
	for i := range a.fleet {
		if p := a.fleet[(first+i)%len(a.fleet)]; p.up.Load() {
			return p
		}
	}
	return a.fleet[first]
}

// wait lets time pass.
func (s *scene) wait(d time.Duration) {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	<-timer.C
}

// after waits until a share of the calls has begun.
func (s *scene) after(share float64) {
	s.t.Helper()
	want := int64(share * float64(len(s.keys)))
	eventually(s.t, 2*patience+s.episode.lasts, "calls began", func() bool { return s.began.Load() >= want })
}

// busy is a process of those that are up, once several calls run in it.
func (s *scene) busy() *process {
	s.t.Helper()
	const several = 2
	p := s.pick(s.rand)
	eventually(s.t, patience, "calls run in the process", func() bool {
		return p.flight.Load() >= several || s.began.Load() >= int64(len(s.keys))
	})
	return p
}

// fail notes that the episode did not go as it should.
func (s *scene) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// watch looks at the budgets while calls run. What cannot be read is looked at again.
func (s *scene) watch(ctx context.Context) {
	tick := time.NewTicker(5 * often)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for owner, budget := range s.budgets {
			have, err := s.direct.HGetAll(ctx, store.Balance(admission.PartitionOf(owner), owner)).Result()
			if err != nil {
				continue
			}
			if b := balanceOf(have); b.Total+b.Held > budget {
				s.mu.Lock()
				s.overruns = append(s.overruns, fmt.Sprintf("%s: $%s spent and $%s held of $%s", owner, b.Total, b.Held, budget))
				s.mu.Unlock()
			}
		}
	}
}

// settle waits until the invariants hold, and keeps the last verdict. What died or
// could not reach Redis may take until it is swept; all else has nothing to wait for,
// least of all for the end of a lease that nobody gave back.
func (s *scene) settle() {
	const promptly, margin = 12 * time.Second, 3 * time.Second // the machine of a test is busy
	ctx := s.t.Context()
	within := promptly
	if s.episode.deaths || s.episode.away {
		within = leaseTTL + sweepEvery + margin
	}
	if s.hasten && s.episode.deaths {
		if err := s.expire(ctx, s.budgets, s.keys); err != nil {
			s.fail("calls were not made to expire: %v", err)
		}
	}
	next := time.Now()
	poll(within, func() bool {
		if time.Now().Before(next) {
			return false
		}
		next = time.Now().Add(250 * time.Millisecond)
		s.judge(ctx)
		return len(s.verdict) == 0
	})
	s.took = time.Since(s.started)
}

// judge verifies the episode as it stands now.
func (s *scene) judge(ctx context.Context) {
	ids := make(map[string]bool)
	for i := range s.calls {
		ids[s.calls[i].ID] = true
	}
	e := evidence{Calls: s.calls, Budgets: s.budgets}
	e.Arrivals, e.Bill = s.vendor.seen(ids)
	s.mu.Lock()
	e.Faults, e.Overruns = slices.Clone(s.faults), slices.Clone(s.overruns)
	s.mu.Unlock()
	var err error
	if e.Books, err = s.books(ctx, s.budgets, s.keys); err != nil {
		e.Faults = append(e.Faults, fmt.Sprintf("the ledger cannot be read: %v", err))
	}
	s.final, s.verdict = e, verify(e, s.prices)
}

// tally counts what a line of the report shows.
func (s *scene) tally() (t struct{ calls, sent, complete, estimated, corrected, refused int }) {
	t.calls = len(s.calls)
	for i := range s.calls {
		if len(s.final.Arrivals[s.calls[i].ID]) > 0 {
			t.sent++
		}
		if s.calls[i].Saw == typed {
			t.refused++
		}
	}
	last := make(map[string]usage.Record)
	for _, r := range s.final.Books.Rows {
		if r.Corrects != nil {
			t.corrected++
		}
		last[r.Call] = r
	}
	for _, r := range last {
		if r.Outcome == usage.Complete {
			t.complete++
		}
		if r.Estimated {
			t.estimated++
		}
	}
	return t
}

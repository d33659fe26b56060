package rollup_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"sluice/shared/store"
	"sluice/shared/store/rollup"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

// between does something once, just before a client sends what is selected.
type between struct {
	is   func(command string) bool
	do   func()
	done bool
}

func (b *between) see(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if !b.done && b.is(fmt.Sprint(cmd.Args()...)) {
			b.done = true
			b.do()
		}
	}
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { b.see(cmd); return next(ctx, cmd) }
}

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { b.see(cmds...); return next(ctx, cmds) }
}

// hooked is a client of its own that sees b.
func hooked(t *testing.T, s *storetest.Server, b *between) *store.Client {
	c := s.Client(t)
	c.Redis().AddHook(b)
	return c
}

func has(parts ...string) func(string) bool {
	return func(command string) bool {
		for _, p := range parts {
			if !strings.Contains(command, p) {
				return false
			}
		}
		return true
	}
}

// A sum is right whatever happens at any moment of its reading.
func TestSumWhileItIsRolledUp(t *testing.T) {
	for name, is := range map[string]func(string) bool{
		"before the cursors are read": has("hgetall", "r:{5}"), "before the sums are read": has("hgetall", "r:{5}:day"),
		"before the entries are read": has("xrange", "u:{5}"),
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Single(t)
			w := newWorld(t, s.Client(t))
			all := history(900, start, 30*time.Hour, 5)
			w.settle(all[:600]...)
			w.roll()
			w.settle(all[600:]...)
			b := &between{is: is, do: func() { w.roll() }}
			rows, err := rollup.NewReader(hooked(t, s, b)).Sum(t.Context(), everywhere(), usage.Query{})
			if diff := cmp.Diff(naive(usage.Query{}, all), rows); err != nil || diff != "" || !b.done {
				t.Errorf("%v, %v (-records +sum)\n%s", b.done, err, diff)
			}
		})
	}
}

// Hours and entries that are removed while a sum is read are not missing from it.
func TestSumWhileDetailIsRemoved(t *testing.T) {
	for name, is := range map[string]func(string) bool{
		"before the sums are read": has("hgetall", "r:{5}:day"), "before the entries are read": has("xrange", "u:{5}"),
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Single(t)
			w := newWorld(t, s.Client(t))
			all := history(900, start, 30*24*time.Hour, 5)
			w.settle(all...)
			w.roll()
			b := &between{is: is, do: func() {
				w.clock = all[len(all)-1].at
				w.roll()
			}}
			q := usage.Query{From: all[100].at, To: all[500].at} // the entries of its first and last hour are read
			rows, err := rollup.NewReader(hooked(t, s, b)).Sum(t.Context(), everywhere(), q)
			q.Zone = time.UTC
			if diff := cmp.Diff(dated(q, usage.Day, all), rows); err != nil || diff != "" || !b.done {
				t.Errorf("%v, %v (-days +sum)\n%s", b.done, err, diff)
			}
		})
	}
}

// Two processes that close an object at once agree on what it holds.
func TestArchiversAgree(t *testing.T) {
	s := storetest.Single(t)
	w, to := newWorld(t, s.Client(t)), &shelf{}
	all := history(600, start, 4*time.Hour, 7)
	w.settle(all[:100]...)
	w.clock = all[599].at.Add(24 * time.Hour)
	reached, resume, failed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	other := rollup.New(rollup.Options{
		Client: w.client, Now: func() time.Time { return w.clock }, Object: rollup.Object{Records: 300, Span: 6 * time.Hour},
		Archive: putting(func(ctx context.Context, name string, body []byte) error {
			select {
			case <-reached:
			default:
				close(reached)
				<-resume
			}
			return to.Put(ctx, name, body)
		}),
	})
	// Just before the first says where its object ends, the second says another end.
	b := &between{is: func(command string) bool {
		return has("eval", "r:{7}", fmt.Sprint(all[99].at.UnixMilli()))(command) && !strings.Contains(command, "hour")
	}, do: func() {
		w.settle(all[100:]...)
		go func() {
			_, err := other.All(context.WithoutCancel(t.Context()))
			failed <- err
		}()
		<-reached
	}}
	first := newWorld(t, hooked(t, s, b))
	first.clock = w.clock
	if _, err := first.archiving(to).All(t.Context()); err != nil {
		t.Error(err)
	}
	close(resume)
	if err := <-failed; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(rows(t, all), to.lines(t)); diff != "" || !b.done {
		t.Errorf("%v (-records +archive)\n%s", b.done, diff)
	}
}

// A process that comes late to an object finds its entries partly removed: it leaves
// the object alone.
func TestArchiverTooLate(t *testing.T) {
	s := storetest.Single(t)
	w, to := newWorld(t, s.Client(t)), &shelf{}
	all := history(200, start, 4*time.Hour, 7)
	w.settle(all...)
	w.clock = all[199].at.Add(24 * time.Hour)
	full := &shelf{before: func(int) error { return errors.New("full") }}
	if _, err := w.archiving(full).All(t.Context()); err == nil {
		t.Fatal("the archive takes everything")
	}
	b := &between{is: has("xrange", "u:{7}0-0"), do: func() { // the first of the object's entries
		if _, err := w.archiving(to).All(t.Context()); err != nil {
			t.Error(err)
		}
		if err := w.client.Redis().XTrimMaxLen(t.Context(), store.Usage(7), 100).Err(); err != nil {
			t.Error(err)
		}
	}}
	late := newWorld(t, hooked(t, s, b))
	late.clock = w.clock
	if _, err := late.archiving(to).All(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(rows(t, all), to.lines(t)); diff != "" || !b.done {
		t.Errorf("%v (-records +archive)\n%s", b.done, diff)
	}
}

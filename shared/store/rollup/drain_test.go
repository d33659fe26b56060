package rollup_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/shared/archive"
	"sluice/shared/store"
	"sluice/shared/store/rollup"
	"sluice/shared/store/storetest"
	"sluice/shared/usage"
)

// shelf is an archive in memory.
type shelf struct {
	mu      sync.Mutex
	objects map[string][]byte
	puts    int
	before  func(put int) error // runs ahead of a put, without the lock
	after   func(put int) error
}

func (s *shelf) Put(_ context.Context, name string, body []byte) error {
	s.mu.Lock()
	s.puts++
	put := s.puts
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(put); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = map[string][]byte{}
	}
	s.objects[name] = body
	if s.after != nil {
		return s.after(put)
	}
	return nil
}

// lines are those of the objects, by the folder they are in, objects in order.
func (s *shelf) lines(t testing.TB) map[string][]string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[string][]string{}
	names := slices.SortedFunc(maps.Keys(s.objects), func(x, y string) int {
		return strings.Compare(fmt.Sprintf("%40s", x), fmt.Sprintf("%40s", y)) // of a folder they differ in length by a number
	})
	slices.SortStableFunc(names, func(x, y string) int { return len(x) - len(y) })
	for _, name := range names {
		z, err := gzip.NewReader(bytes.NewReader(s.objects[name]))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		folder := name[:strings.LastIndex(name, "/")]
		got[folder] = append(got[folder], strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n")...)
	}
	for _, all := range got {
		for i := range all {
			all[i] = strings.TrimSuffix(all[i], "\n")
		}
	}
	return got
}

// rows are records as they are in the archive.
func rows(t testing.TB, all []settled) map[string][]string {
	t.Helper()
	want := map[string][]string{}
	for _, s := range all {
		b, err := json.Marshal(s.Record)
		if err != nil {
			t.Fatal(err)
		}
		folder := fmt.Sprintf("usage/day=%s/p=%02d", s.at.Format(time.DateOnly), s.partition)
		want[folder] = append(want[folder], string(b))
	}
	return want
}

// archiving is a roller with an archive, of small objects.
func (w *world) archiving(to rollup.Archive) *rollup.Roller {
	return rollup.New(rollup.Options{
		Client: w.client, Archive: to, Object: rollup.Object{Records: 300, Span: 6 * time.Hour}, Now: func() time.Time { return w.clock },
	})
}

func TestArchive(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		w, to := newWorld(t, c), &shelf{}
		r := w.archiving(to)
		all := history(2000, start, 3*24*time.Hour, 0, 7, 7, 7, 63)
		var done rollup.Result
		for i, group := range slices.Collect(slices.Chunk(all, 500)) {
			w.settle(group...)
			w.clock = group[len(group)-1].at
			got, err := r.All(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			done.Archived += got.Archived
			done.Objects += got.Objects
			if i == 0 && got.Archived == len(group) {
				t.Error("what is younger than an object's span is archived")
			}
		}
		w.clock = w.clock.Add(6 * time.Hour)
		got, err := r.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rows(t, all), to.lines(t)); diff != "" {
			t.Errorf("(-records +archive)\n%s", diff)
		}
		if done.Archived+got.Archived != len(all) || done.Objects+got.Objects != len(to.objects) || to.puts != len(to.objects) {
			t.Errorf("says %+v and %+v; %d records, %d objects, %d puts", done, got, len(all), len(to.objects), to.puts)
		}
		for name, body := range to.objects {
			if z, err := gzip.NewReader(bytes.NewReader(body)); err != nil {
				t.Error(err)
			} else if b, err := io.ReadAll(z); err != nil || bytes.Count(b, []byte{'\n'}) > 300 {
				t.Errorf("%s holds %d records, %v", name, bytes.Count(b, []byte{'\n'}), err)
			}
		}
		if got, err := r.All(t.Context()); err != nil || got != (rollup.Result{}) {
			t.Errorf("again: %+v, %v", got, err)
		}
	})
}

// A put that fails, with the object stored or not, is repeated under its name with
// the same body, whatever was settled meanwhile.
func TestArchiveRepeats(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		all := history(900, start, 20*time.Hour, 7)
		for _, stored := range []bool{false, true} {
			if err := c.Redis().Del(t.Context(), store.Usage(7), store.Cursors(7)).Err(); err != nil {
				t.Fatal(err)
			}
			w, to := newWorld(t, c), &shelf{}
			fail := func(put int) error {
				if put == 2 {
					return errors.New("full")
				}
				return nil
			}
			to.before = fail
			if stored {
				to.before, to.after = nil, fail
			}
			w.settle(all[:600]...)
			w.clock = all[599].at.Add(6 * time.Hour)
			r := w.archiving(to)
			if _, err := r.All(t.Context()); err == nil || !strings.Contains(err.Error(), "full") {
				t.Errorf("a failing put: %v", err)
			}
			before := maps.Clone(to.objects)
			w.settle(all[600:]...)
			w.clock = all[899].at.Add(24 * time.Hour)
			if _, err := r.All(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name, body := range before {
				if !bytes.Equal(to.objects[name], body) {
					t.Errorf("%s was put again with another body", name)
				}
			}
			if diff := cmp.Diff(rows(t, all), to.lines(t)); diff != "" {
				t.Errorf("stored: %v (-records +archive)\n%s", stored, diff)
			}
		}
	})
}

// A process that is slow to put an object does so when another has put it and more.
func TestArchiveSlowWriter(t *testing.T) {
	c := storetest.Single(t).Client(t)
	w, to := newWorld(t, c), &shelf{}
	all := history(900, start, 20*time.Hour, 7)
	w.settle(all[:200]...)
	w.clock = all[899].at.Add(24 * time.Hour)
	reached, resume := make(chan struct{}), make(chan struct{})
	slow := rollup.New(rollup.Options{
		Client: c, Object: rollup.Object{Records: 300, Span: 6 * time.Hour}, Now: func() time.Time { return w.clock },
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
	failed := make(chan error)
	go func() {
		_, err := slow.All(context.WithoutCancel(t.Context()))
		failed <- err
	}()
	<-reached
	w.settle(all[200:]...)
	if _, err := w.archiving(to).All(t.Context()); err != nil {
		t.Error(err)
	}
	close(resume)
	if err := <-failed; err != nil {
		t.Error(err)
	}
	if to.puts != len(to.objects)+1 {
		t.Errorf("%d puts of %d objects: the slow one has moved the cursor back", to.puts, len(to.objects))
	}
	if diff := cmp.Diff(rows(t, all), to.lines(t)); diff != "" {
		t.Errorf("(-records +archive)\n%s", diff)
	}
}

type putting func(ctx context.Context, name string, body []byte) error

func (f putting) Put(ctx context.Context, name string, body []byte) error { return f(ctx, name, body) }

func TestArchiversAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, c *store.Client) {
		w, to := newWorld(t, c), &shelf{}
		all := history(2500, start, 2*24*time.Hour, 7, 8)
		w.settle(all...)
		w.clock = all[len(all)-1].at.Add(9 * 24 * time.Hour) // so that the stream is trimmed as well
		var rollers sync.WaitGroup
		for range 4 {
			r := w.archiving(to)
			rollers.Go(func() {
				if _, err := r.All(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		rollers.Wait()
		if _, err := w.archiving(to).All(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(rows(t, all), to.lines(t)); diff != "" {
			t.Errorf("(-records +archive)\n%s", diff)
		}
	})
}

// Records go from the stream to files, and the sums stay.
func TestArchiveFiles(t *testing.T) {
	w := newWorld(t, storetest.Embedded(t))
	to, err := archive.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	all := history(500, start, 20*time.Hour, 7)
	w.settle(all...)
	w.clock = start.AddDate(0, 0, 3)
	if got, err := w.archiving(to).All(t.Context()); err != nil || got.Archived != len(all) || got.Rolled != len(all) {
		t.Errorf("%+v, %v", got, err)
	}
	w.holds(usage.Query{GroupBy: []usage.Dimension{usage.ByKey}}, all)
}

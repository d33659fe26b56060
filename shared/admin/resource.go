package admin

import (
	"context"
	"net/http"
	"net/url"

	"sluice/shared/fault"
	"sluice/shared/llm"
)

const (
	defaultPage = 50
	maxPage     = 200
	// maxFilterReads is how often a list with a filter asks the store for one page.
	maxFilterReads = 10
)

// resource is the handling of one kind of record: R is the record, F its fields
// that a client writes, V what a client sees.
type resource[R, F, V any] struct {
	api     *api
	kind    string // in messages and logs
	path    string // of the list, under Prefix
	prefix  string // of ids
	records Records[R]

	blank   func(id string) R
	version func(*R) (id string, version int64)
	// fields are the writable fields of a record; of a blank one, the defaults.
	fields func(*R) F
	// screen refuses a body for reasons that come before its shape; may be nil.
	screen func(map[string]any) error
	// apply validates f and writes it into r. It errs with fault.Invalid at a field.
	apply func(ctx context.Context, f *F, r *R) error
	view  func(*R) V
	// annotate adds to views what changes by itself; may be nil.
	annotate func(ctx context.Context, views []V) error
	// detail adds to a view what only one record is shown with; may be nil.
	detail func(ctx context.Context, r *R, v *V) error
	// filter makes the filters of a list from its query; may be nil.
	filter  func(url.Values) (keep func(*R) bool, err error)
	filters []string // names of its parameters
}

// routes are those that every kind has.
func (s *resource[R, F, V]) routes() []route {
	return []route{
		{http.MethodGet, s.path, s.list},
		{http.MethodPost, s.path, s.create},
		{http.MethodGet, s.path + "/{id}", s.get},
		{http.MethodPatch, s.path + "/{id}", s.update},
		{http.MethodDelete, s.path + "/{id}", s.remove},
	}
}

func (s *resource[R, F, V]) list(c *call) error {
	q, err := c.query(append([]string{"cursor", "limit"}, s.filters...)...)
	if err != nil {
		return err
	}
	limit, err := number(q, "limit", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	keep := func(*R) bool { return true }
	if s.filter != nil {
		if keep, err = s.filter(q); err != nil {
			return err
		}
	}
	found, next, err := s.collect(c.r.Context(), q.Get("cursor"), limit, keep)
	if err != nil {
		return err
	}
	views := make([]V, len(found))
	for i := range found {
		views[i] = s.view(&found[i])
	}
	if s.annotate != nil {
		if err := s.annotate(c.r.Context(), views); err != nil {
			return err
		}
	}
	return c.json(http.StatusOK, newPage(views, next))
}

// collect reads pages until limit records are kept. When the filter keeps few, it
// gives up early, with a cursor to go on from. It never asks for more than is
// missing, so that the store's cursor is the right one.
func (s *resource[R, F, V]) collect(ctx context.Context, cursor string, limit int, keep func(*R) bool) ([]R, string, error) {
	var found []R
	for range maxFilterReads {
		records, next, err := s.records.List(ctx, cursor, limit-len(found))
		if err != nil {
			return nil, "", err
		}
		for i := range records {
			if keep(&records[i]) {
				found = append(found, records[i])
			}
		}
		cursor = next
		if len(found) == limit || next == "" {
			break
		}
	}
	return found, cursor, nil
}

func (s *resource[R, F, V]) get(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	r, err := s.records.Get(c.r.Context(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	views := []V{s.view(&r)}
	if s.annotate != nil {
		if err := s.annotate(c.r.Context(), views); err != nil {
			return err
		}
	}
	if s.detail != nil {
		if err := s.detail(c.r.Context(), &r, &views[0]); err != nil {
			return err
		}
	}
	return s.show(c, http.StatusOK, &r, views[0])
}

// show answers with a view of a record.
func (s *resource[R, F, V]) show(c *call, status int, r *R, v V) error {
	id, version := s.version(r)
	c.tag(version)
	if status == http.StatusCreated {
		c.w.Header().Set("Location", Prefix+s.path+"/"+id)
	}
	return c.json(status, v)
}

func (s *resource[R, F, V]) create(c *call) error {
	r, err := s.add(c, func(*R) {})
	if err != nil {
		return err
	}
	return s.show(c, http.StatusCreated, &r, s.view(&r))
}

// add stores the record that the body describes. prepare sets what no body can.
func (s *resource[R, F, V]) add(c *call, prepare func(*R)) (R, error) {
	r := s.blank(llm.NewID(s.prefix, s.api.Now()))
	body, err := c.object(plainJSON)
	if err != nil {
		return r, err
	}
	f := s.fields(&r)
	if err := s.read(body, &f); err != nil {
		return r, err
	}
	if err := s.apply(c.r.Context(), &f, &r); err != nil {
		return r, err
	}
	prepare(&r)
	id, _ := s.version(&r)
	err = s.api.record(c, "create", s.kind, id, func() error {
		r, err = s.records.Create(c.r.Context(), c.actor, r)
		return err
	})
	return r, err
}

// read makes a body into fields.
func (s *resource[R, F, V]) read(body map[string]any, f *F) error {
	if s.screen != nil {
		if err := s.screen(body); err != nil {
			return err
		}
	}
	if err := readOnly[F, V](body); err != nil {
		return err
	}
	return decode(body, f)
}

func (s *resource[R, F, V]) update(c *call) error {
	patch, err := c.object(plainJSON, mergePatch)
	if err != nil {
		return err
	}
	// The patch is read by itself too: a field that it sets to null would be gone
	// from the result, whatever its name.
	var ignored F
	if err := s.read(patch, &ignored); err != nil {
		return err
	}
	return s.change(c, "update", func(r *R) error {
		was := s.fields(r)
		current, err := encode(was)
		if err != nil {
			return err
		}
		merged, ok := merge(current, patch).(map[string]any)
		if !ok {
			return fault.New(fault.Internal, "a patch made no object")
		}
		blank := s.blank("")
		f := s.fields(&blank)
		if err := s.read(merged, &f); err != nil {
			return err
		}
		return s.apply(c.r.Context(), &f, r)
	})
}

// change writes a record that edit has changed, and answers with it.
func (s *resource[R, F, V]) change(c *call, action string, edit func(*R) error) error {
	r, err := s.edit(c, action, edit)
	if err != nil {
		return err
	}
	return s.show(c, http.StatusOK, &r, s.view(&r))
}

// edit reads the record of the request, has it changed and writes it.
func (s *resource[R, F, V]) edit(c *call, action string, change func(*R) error) (R, error) {
	id := c.r.PathValue("id")
	r, err := s.records.Get(c.r.Context(), id)
	if err != nil {
		return r, err
	}
	_, version := s.version(&r)
	if err := c.match(version); err != nil {
		return r, err
	}
	if err := change(&r); err != nil {
		return r, err
	}
	err = s.api.record(c, action, s.kind, id, func() error {
		r, err = s.records.Update(c.r.Context(), c.actor, r)
		return err
	})
	return r, err
}

func (s *resource[R, F, V]) remove(c *call) error {
	if err := c.nothing(); err != nil {
		return err
	}
	id := c.r.PathValue("id")
	var version int64 // whichever stands
	if c.conditional() {
		r, err := s.records.Get(c.r.Context(), id)
		if err != nil {
			return err
		}
		_, version = s.version(&r)
		if err := c.match(version); err != nil {
			return err
		}
	}
	err := s.api.record(c, "delete", s.kind, id, func() error {
		return s.records.Delete(c.r.Context(), c.actor, id, version)
	})
	if err != nil {
		return err
	}
	return c.none()
}

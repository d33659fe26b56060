package records

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"sluice/shared/archive"
	"sluice/shared/fault"
	"sluice/shared/store"
)

// The index is one slot:
//
//	n:{n}:<kind>s               ZSET  ids of one kind, ordered by themselves and so by time
//	n:{n}:<kind>s:p             HASH  id → place
//	n:{n}:<kind>s:of:<owner>    ZSET  ids of the kind that belong to an owner: its links

//go:embed index_put.lua
var indexPutSource string

//go:embed index_close.lua
var indexCloseSource string

//go:embed index_delete.lua
var indexDeleteSource string

// plural is the name of a kind's index.
func plural(kind archive.Kind) string { return string(kind) + "s" }

func listKey(kind archive.Kind) string   { return store.Index(plural(kind)) }
func placesKey(kind archive.Kind) string { return store.Index(plural(kind) + ":p") }
func linksKey(kind archive.Kind, owner string) string {
	return store.Index(plural(kind) + ":of:" + owner)
}

// find is the place of a record. It errs with fault.NotFound or StoreDown.
func (s *Store) find(ctx context.Context, r ref) (place, error) {
	text, err := s.client.Redis().HGet(ctx, placesKey(r.kind), r.id).Result()
	if errors.Is(err, redis.Nil) {
		return place{}, r.missing()
	}
	if err != nil {
		return place{}, store.Fault(err)
	}
	return parsePlace(text)
}

// index lists a record, says where it is and links it to its parents, and no
// longer to those that it had in before only. With check it errs with
// fault.Conflict when a parent is gone or being changed.
func (s *Store) index(ctx context.Context, r ref, before, at place, check bool) error {
	call := store.Call{
		Script: s.scripts.indexPut,
		Keys:   []string{listKey(r.kind), placesKey(r.kind)},
		Args:   []any{r.id, at.String(), check},
	}
	for _, p := range at.parents {
		call.Keys = append(call.Keys, placesKey(p.kind), linksKey(r.kind, p.id))
		call.Args = append(call.Args, p.id)
	}
	for _, p := range before.parents {
		if !slices.Contains(at.parents, p) {
			call.Keys = append(call.Keys, linksKey(r.kind, p.id))
		}
	}
	answer, err := s.client.Run(ctx, call)
	if err != nil {
		return err
	}
	if answer != "" {
		return fault.New(fault.Conflict, "%v is being changed or deleted; try again", answer)
	}
	return nil
}

// unindex takes a record out of the index.
func (s *Store) unindex(ctx context.Context, r ref, at place) error {
	call := store.Call{
		Script: s.scripts.indexDelete,
		Keys:   []string{listKey(r.kind), placesKey(r.kind)},
		Args:   []any{r.id},
	}
	for _, p := range at.parents {
		call.Keys = append(call.Keys, linksKey(r.kind, p.id))
	}
	_, err := s.client.Run(ctx, call)
	return err
}

// dependents are the kinds of record that can belong to an owner.
func dependents(kind archive.Kind) []archive.Kind {
	switch kind {
	case archive.Team:
		return []archive.Kind{archive.Key, archive.User}
	case archive.User:
		return []archive.Kind{archive.Key}
	default:
		return nil
	}
}

// unlinked errs with fault.Conflict, saying how many, when records belong to the
// owner. doing says what that prevents.
func (s *Store) unlinked(ctx context.Context, r ref, doing string) error {
	kinds := dependents(r.kind)
	pipe := s.client.Redis().Pipeline()
	counts := make([]*redis.IntCmd, len(kinds))
	for i, kind := range kinds {
		counts[i] = pipe.ZCard(ctx, linksKey(kind, r.id))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return store.Fault(err)
	}
	n := make([]int64, len(kinds))
	for i, c := range counts {
		n[i] = c.Val()
	}
	return inUse(r, n, doing)
}

// shut closes the owner to new links. It errs as unlinked.
func (s *Store) shut(ctx context.Context, r ref, doing string) error {
	call := store.Call{Script: s.scripts.indexClose, Keys: []string{placesKey(r.kind)}, Args: []any{r.id}}
	for _, kind := range dependents(r.kind) {
		call.Keys = append(call.Keys, linksKey(kind, r.id))
	}
	answer, err := s.client.Run(ctx, call)
	if err != nil {
		return err
	}
	list, ok := answer.([]any)
	if !ok {
		return fault.New(fault.Internal, "index_close answered %T", answer)
	}
	n := make([]int64, len(list))
	for i, v := range list {
		if n[i], ok = v.(int64); !ok {
			return fault.New(fault.Internal, "index_close answered a list of %T", v)
		}
	}
	return inUse(r, n, doing)
}

// inUse is the conflict of an owner that others belong to, nil when there are none.
func inUse(r ref, counts []int64, doing string) error {
	var parts []string
	for i, kind := range dependents(r.kind) {
		switch n := counts[i]; {
		case n == 1:
			parts = append(parts, "1 "+string(kind))
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, plural(kind)))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return fault.New(fault.Conflict, "the %s has %s and cannot be %s; delete those first", r.kind, strings.Join(parts, " and "), doing)
}

// page is the ids of one kind after a cursor, newest first, and the cursor of
// the page after it, "" when there is none.
func (s *Store) page(ctx context.Context, kind archive.Kind, cursor string, limit int) ([]string, string, error) {
	if err := checkCursor(cursor); err != nil {
		return nil, "", err
	}
	limit = pageSize(limit)
	from := "+"
	if cursor != "" {
		from = "(" + cursor
	}
	by := &redis.ZRangeBy{Max: from, Min: "-", Count: int64(limit) + 1}
	ids, err := s.client.Redis().ZRevRangeByLex(ctx, listKey(kind), by).Result()
	if err != nil {
		return nil, "", store.Fault(err)
	}
	if len(ids) <= limit {
		return ids, "", nil
	}
	return ids[:limit], ids[limit-1], nil
}

// checkCursor errs with fault.Invalid when a cursor, which is an id, is none.
func checkCursor(cursor string) error {
	if cursor != "" && (ref{id: cursor}).check() != nil {
		return fault.At("cursor", "%q is no cursor; use next_cursor of the page before", cursor)
	}
	return nil
}

// pageSize is the number of records of a page that was asked to have so many.
func pageSize(limit int) int {
	if limit <= 0 || limit > maxPage {
		return maxPage
	}
	return limit
}

// places are the places of records, in order; nil where there is none.
func (s *Store) places(ctx context.Context, kind archive.Kind, ids []string) ([]*place, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	texts, err := s.client.Redis().HMGet(ctx, placesKey(kind), ids...).Result()
	if err != nil {
		return nil, store.Fault(err)
	}
	all := make([]*place, len(ids))
	for i, v := range texts {
		text, ok := v.(string)
		if !ok {
			continue
		}
		p, err := parsePlace(text)
		if err != nil {
			return nil, err
		}
		all[i] = &p
	}
	return all, nil
}

// Counts are the numbers of records of each kind.
func (s *Store) Counts(ctx context.Context) (keys, users, teams, accounts int64, err error) {
	pipe := s.client.Redis().Pipeline()
	var n [4]*redis.IntCmd
	for i, kind := range []archive.Kind{archive.Key, archive.User, archive.Team} {
		n[i] = pipe.ZCard(ctx, listKey(kind))
	}
	n[3] = pipe.HLen(ctx, store.Accounts())
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, 0, 0, 0, store.Fault(err)
	}
	return n[0].Val(), n[1].Val(), n[2].Val(), n[3].Val(), nil
}

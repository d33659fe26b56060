package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// The file has a bucket of whole values, and one bucket within streams for each
// stream: streams grow for ever, so that only their new entries are written.
var (
	valuesBucket  = []byte("values")
	streamsBucket = []byte("streams")
)

// image is a copy of a key's value. The zero image is a key that is not there.
type image struct {
	kind    string // as TYPE names it; "" = absent
	value   []byte // JSON; of a stream the last id
	entries []entry
	first   string // id of a stream's first entry; what is older was trimmed
}

// entry is one entry of a stream.
type entry struct {
	ID     string
	Values []string
}

func (i image) same(saved image) bool {
	return i.kind == saved.kind && i.first == saved.first && bytes.Equal(i.value, saved.value)
}

// copy reads a key. Of a stream only the entries that the file lacks are copied.
func (s *Store) copy(key string) (image, error) {
	if !s.redis.Exists(key) {
		return image{}, nil
	}
	i := image{kind: s.redis.Type(key)}
	var v any
	var err error
	switch i.kind {
	case "string":
		v, err = s.redis.Get(key)
	case "hash":
		var fields []string
		fields, err = s.redis.HKeys(key)
		flat := make([]string, 0, 2*len(fields))
		for _, f := range fields {
			flat = append(flat, f, s.redis.HGet(key, f))
		}
		v = flat
	case "set":
		var members []string
		members, err = s.redis.Members(key)
		slices.Sort(members)
		v = members
	case "zset":
		v, err = s.redis.SortedSet(key)
	case "list":
		v, err = s.redis.List(key)
	case "stream":
		return s.copyStream(key, i)
	default:
		return image{}, fmt.Errorf("embedded: %s is a %s, which is not kept", key, i.kind)
	}
	if err != nil {
		return image{}, err
	}
	i.value, err = json.Marshal(v)
	return i, err
}

func (s *Store) copyStream(key string, i image) (image, error) {
	entries, err := s.redis.Stream(key)
	if err != nil || len(entries) == 0 {
		return image{}, err
	}
	last := string(s.saved[key].value)
	for _, e := range slices.Backward(entries) {
		if e.ID == last {
			break
		}
		i.entries = append(i.entries, entry{e.ID, slices.Clone(e.Values)})
	}
	i.first, i.value = entries[0].ID, []byte(entries[len(entries)-1].ID)
	return i, nil
}

// save writes images in one fsynced transaction.
func (s *Store) save(images map[string]image) error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		values, err := tx.CreateBucketIfNotExists(valuesBucket)
		if err != nil {
			return err
		}
		streams, err := tx.CreateBucketIfNotExists(streamsBucket)
		if err != nil {
			return err
		}
		for key, i := range images {
			if err := i.write(values, streams, []byte(key)); err != nil {
				return fmt.Errorf("embedded: write %s: %w", key, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key, i := range images {
		i.entries = nil
		s.saved[key] = i
		if i.kind == "" {
			delete(s.saved, key)
		}
	}
	return nil
}

func (i image) write(values, streams *bolt.Bucket, key []byte) error {
	if i.kind != "stream" {
		if err := streams.DeleteBucket(key); err != nil && streams.Bucket(key) != nil {
			return err
		}
		if i.kind == "" {
			return values.Delete(key)
		}
		return values.Put(key, append([]byte(i.kind+" "), i.value...))
	}
	b, err := streams.CreateBucketIfNotExists(key)
	if err != nil {
		return err
	}
	for _, e := range i.entries {
		raw, err := json.Marshal(e.Values)
		if err != nil {
			return err
		}
		if err := b.Put([]byte(sortable(e.ID)), raw); err != nil {
			return err
		}
	}
	c := b.Cursor()
	for k, _ := c.First(); k != nil && string(k) < sortable(i.first); k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// sortable is a stream id ("ms-seq") with both parts padded, which sorts as text.
func sortable(id string) string {
	ms, seq, _ := strings.Cut(id, "-")
	return fmt.Sprintf("%020s-%020s", ms, seq)
}

func unsortable(key string) string {
	ms, seq, _ := strings.Cut(key, "-")
	trim := func(s string) string {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return "0"
		}
		return strconv.FormatUint(n, 10)
	}
	return trim(ms) + "-" + trim(seq)
}

// load fills Redis from the file.
func (s *Store) load() error {
	return s.db.View(func(tx *bolt.Tx) error {
		if values := tx.Bucket(valuesBucket); values != nil {
			if err := values.ForEach(func(k, v []byte) error { return s.restore(string(k), v) }); err != nil {
				return err
			}
		}
		streams := tx.Bucket(streamsBucket)
		if streams == nil {
			return nil
		}
		return streams.ForEachBucket(func(k []byte) error { return s.restoreStream(string(k), streams.Bucket(k)) })
	})
}

func (s *Store) restore(key string, stored []byte) error {
	kind, value, ok := strings.Cut(string(stored), " ")
	if !ok {
		return fmt.Errorf("embedded: %s is stored in an unknown form", key)
	}
	s.saved[key] = image{kind: kind, value: []byte(value)}
	var text string
	var flat []string
	scores := map[string]float64{}
	into := map[string]any{"string": &text, "hash": &flat, "set": &flat, "list": &flat, "zset": &scores}[kind]
	if into == nil {
		return fmt.Errorf("embedded: %s is stored as an unknown %s", key, kind)
	}
	if err := json.Unmarshal([]byte(value), into); err != nil {
		return fmt.Errorf("embedded: %s: %w", key, err)
	}
	switch kind {
	case "string":
		return s.redis.Set(key, text)
	case "hash":
		s.redis.HSet(key, flat...)
	case "set":
		_, err := s.redis.SAdd(key, flat...)
		return err
	case "list":
		_, err := s.redis.Push(key, flat...)
		return err
	case "zset":
		var errs error
		for _, member := range slices.Sorted(maps.Keys(scores)) {
			_, err := s.redis.ZAdd(key, scores[member], member)
			errs = errors.Join(errs, err)
		}
		return errs
	}
	return nil
}

func (s *Store) restoreStream(key string, b *bolt.Bucket) error {
	saved := image{kind: "stream"}
	err := b.ForEach(func(k, v []byte) error {
		var values []string
		if err := json.Unmarshal(v, &values); err != nil {
			return fmt.Errorf("embedded: entry %s of %s: %w", k, key, err)
		}
		id := unsortable(string(k))
		if saved.first == "" {
			saved.first = id
		}
		saved.value = []byte(id)
		_, err := s.redis.XAdd(key, id, values)
		return err
	})
	if saved.first != "" {
		s.saved[key] = saved
	}
	return err
}

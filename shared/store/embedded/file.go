package embedded

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
	bolt "go.etcd.io/bbolt"
)

// The file has a bucket of values by key, and a bucket with one bucket within
// for each stream: streams only grow, so that just their new entries are written.
const (
	valuesBucket  = "values"
	streamsBucket = "streams"
	metaBucket    = "meta"
	formatKey     = "format"
	format        = "1"
)

// errThinned is a save that found a stream with entries removed from its middle.
var errThinned = errors.New("embedded: entries were removed from within a stream")

// save writes copies in one fsynced transaction; none when the file holds them.
func (s *Store) save(copies map[string]*image) error {
	encoded := make(map[string][]byte, len(copies))
	for key, i := range copies {
		if i.kind != absent {
			encoded[key] = i.encode()
		}
	}
	err := s.db.View(func(tx *bolt.Tx) error {
		values := tx.Bucket([]byte(valuesBucket))
		for key, i := range copies {
			same := bytes.Equal(values.Get([]byte(key)), encoded[key])
			if i.kind == stream {
				same = same && len(i.stream.fresh) == 0 && i.stream.kept == s.streams[key].count
			}
			if same {
				delete(copies, key)
			}
		}
		return nil
	})
	if err != nil || len(copies) == 0 {
		return err
	}
	spans := make(map[string]span)
	err = s.db.Update(func(tx *bolt.Tx) error {
		for key, i := range copies {
			if err := s.write(tx, key, i, encoded[key], spans); err != nil {
				return fmt.Errorf("embedded: write %s: %w", key, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key := range copies {
		delete(s.streams, key)
		if now, ok := spans[key]; ok {
			s.streams[key] = now
		}
	}
	return nil
}

func (s *Store) write(tx *bolt.Tx, key string, i *image, encoded []byte, spans map[string]span) error {
	values, streams := tx.Bucket([]byte(valuesBucket)), tx.Bucket([]byte(streamsBucket))
	if i.kind != stream || i.stream.whole {
		if streams.Bucket([]byte(key)) != nil {
			if err := streams.DeleteBucket([]byte(key)); err != nil {
				return err
			}
		}
	}
	switch i.kind {
	case absent:
		return values.Delete([]byte(key))
	case stream:
		b, err := streams.CreateBucketIfNotExists([]byte(key))
		if err != nil {
			return err
		}
		now, err := i.writeEntries(b, s.streams[key])
		if err != nil {
			if errors.Is(err, errThinned) {
				s.streams[key] = span{last: s.streams[key].last, count: unsure}
			}
			return err
		}
		spans[key] = now
	}
	return values.Put([]byte(key), encoded)
}

// writeEntries trims a stream's bucket and adds the fresh entries.
func (i *image) writeEntries(b *bolt.Bucket, had span) (span, error) {
	now := span{last: i.texts[0], youngest: had.youngest, count: had.count}
	if i.stream.whole {
		now.youngest, now.count = "", 0
	}
	var oldest []byte // none: every entry was trimmed
	if i.stream.first != "" {
		oldest = entryKey(i.stream.first)
	}
	c := b.Cursor()
	for k, _ := c.First(); k != nil && (oldest == nil || bytes.Compare(k, oldest) < 0); k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return now, err
		}
		now.count--
	}
	if now.count != i.stream.kept {
		return now, errThinned
	}
	for _, e := range i.stream.fresh {
		values := image{kind: list, texts: e.Values}
		if err := b.Put(entryKey(e.ID), values.encode()); err != nil {
			return now, err
		}
		now.youngest = e.ID
		now.count++
	}
	if now.count == 0 {
		now.youngest = ""
	}
	return now, nil
}

// entryKey is a stream id as 16 bytes that sort like ids.
func entryKey(id string) []byte {
	ms, seq, _ := strings.Cut(id, "-")
	b := make([]byte, 0, 16)
	for _, part := range []string{ms, seq} {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			n = 0 // the server gives and takes numbers only; a missing sequence is 0
		}
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func entryID(key []byte) (string, error) {
	if len(key) != 16 {
		return "", errForm
	}
	return fmt.Sprintf("%d-%d", binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])), nil
}

// load fills the server from the file and says how many keys there were.
func (s *Store) load() (keys int, err error) {
	err = s.db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{valuesBucket, streamsBucket, metaBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		meta := tx.Bucket([]byte(metaBucket))
		if have := meta.Get([]byte(formatKey)); have != nil && string(have) != format {
			return fmt.Errorf("its format is %q, this sluice reads %q", have, format)
		}
		return meta.Put([]byte(formatKey), []byte(format))
	})
	if err != nil {
		return 0, err
	}
	err = s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(valuesBucket)).ForEach(func(k, v []byte) error {
			keys++
			i, err := decode(v)
			if err == nil {
				err = s.restore(string(k), i, tx.Bucket([]byte(streamsBucket)).Bucket(k))
			}
			if err != nil {
				return fmt.Errorf("key %s: %w", k, err)
			}
			return nil
		})
	})
	return keys, err
}

// restore puts a value into the server; entries are those of a stream.
func (s *Store) restore(key string, i *image, entries *bolt.Bucket) error {
	var err error
	switch i.kind {
	case str:
		err = s.redis.Set(key, i.texts[0])
	case hash:
		s.redis.HSet(key, i.texts...)
	case set:
		_, err = s.redis.SAdd(key, i.texts...)
	case list:
		_, err = s.redis.Push(key, i.texts...)
	case sortedSet:
		for n, member := range i.texts {
			if _, err := s.redis.ZAdd(key, i.scores[n], member); err != nil {
				return err
			}
		}
	case stream:
		err = s.restoreStream(key, i.texts[0], entries)
	}
	return err
}

func (s *Store) restoreStream(key, last string, entries *bolt.Bucket) error {
	saved := span{last: last}
	if entries == nil {
		return errForm
	}
	err := entries.ForEach(func(k, v []byte) error {
		id, err := entryID(k)
		if err != nil {
			return err
		}
		values, err := decode(v)
		if err != nil {
			return err
		}
		saved.youngest = id
		saved.count++
		_, err = s.redis.XAdd(key, id, values.texts)
		return err
	})
	if err != nil {
		return err
	}
	s.streams[key] = saved
	if compareIDs(last, saved.youngest) <= 0 {
		return nil
	}
	return s.advance(key, last)
}

// advance makes a stream give ids above last though it holds no such entry, so
// that who has read up to there misses nothing when the clock was set back. The
// server remembers the last id that it gave itself; here it gives one more.
func (s *Store) advance(key, last string) error {
	ms, _, _ := strings.Cut(last, "-")
	n, err := strconv.ParseUint(ms, 10, 64)
	if err != nil {
		return errForm
	}
	id, err := s.redis.XAdd(key, strconv.FormatUint(n+1, 10)+"-*", []string{"", ""})
	if err != nil {
		return err
	}
	var reply bytes.Buffer
	w := bufio.NewWriter(&reply)
	peer := server.NewPeer(w)
	s.redis.Server().Dispatch(peer, []string{"AUTH", s.password.Reveal()})
	s.redis.Server().Dispatch(peer, []string{"XDEL", key, id})
	peer.Flush()
	if !strings.HasSuffix(reply.String(), ":1\r\n") {
		return fmt.Errorf("cannot set the last id: %q", reply.String())
	}
	return nil
}

package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/alicebob/miniredis/v2"
)

// kind is the type of a value, and the first byte of its form in the file.
type kind byte

const (
	absent    kind = 0
	str       kind = 's'
	hash      kind = 'h'
	set       kind = 'e'
	list      kind = 'l'
	sortedSet kind = 'z'
	stream    kind = 'x'
)

// image is a copy of a key's value. Strings are shared with the server, which
// never changes them.
type image struct {
	kind   kind
	texts  []string  // the string; fields and values; members; of a stream its last id
	scores []float64 // of the members
	stream tail
}

// tail is what a stream has that the file lacks.
type tail struct {
	fresh []miniredis.StreamEntry // younger than the youngest in the file
	first string                  // id of the oldest entry; older ones were trimmed
	kept  int                     // how many entries are not fresh
	whole bool                    // fresh are all entries: replace what the file holds
}

// span is what the file holds of a stream.
type span struct {
	last     string // id of the youngest entry that was ever there
	youngest string // id of the youngest entry, "" for none
	count    int    // entries, or unsure
}

// unsure is the count of a stream that must be written whole.
const unsure = -1

// copyKey copies a key; of a stream only the entries that the file lacks.
func (s *Store) copyKey(key string) (*image, error) {
	var i image
	var err error
	switch t := s.redis.Type(key); t {
	case "", "none":
		return &i, nil
	case "string":
		i.kind = str
		var value string
		value, err = s.redis.Get(key)
		i.texts = []string{value}
	case "hash":
		i.kind = hash
		i.texts, err = s.copyHash(key)
	case "set":
		i.kind = set
		i.texts, err = s.redis.Members(key)
	case "list":
		i.kind = list
		i.texts, err = s.redis.List(key)
		i.texts = slices.Clone(i.texts)
	case "zset":
		i.kind = sortedSet
		var scores map[string]float64
		scores, err = s.redis.SortedSet(key)
		i.texts = slices.Collect(maps.Keys(scores))
		i.scores = make([]float64, len(i.texts))
		for n, member := range i.texts {
			i.scores[n] = scores[member]
		}
	case "stream":
		i.kind = stream
		err = s.copyStream(key, &i)
	default:
		err = fmt.Errorf("a %s is not supported", t)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: copy %s: %w", key, err)
	}
	return &i, nil
}

func (s *Store) copyHash(key string) ([]string, error) {
	fields, err := s.redis.HKeys(key)
	flat := make([]string, 0, 2*len(fields))
	for _, f := range fields {
		flat = append(flat, f, s.redis.HGet(key, f))
	}
	return flat, err
}

func (s *Store) copyStream(key string, i *image) error {
	entries, err := s.redis.Stream(key)
	if err != nil {
		return err
	}
	have, known := s.streams[key]
	i.stream.whole = !known || have.count == unsure
	i.stream.kept, _ = slices.BinarySearchFunc(entries, have.youngest, func(e miniredis.StreamEntry, id string) int {
		if compareIDs(e.ID, id) <= 0 {
			return -1
		}
		return 1
	})
	i.stream.fresh = slices.Clone(entries[i.stream.kept:])
	last := have.last
	if n := len(entries); n > 0 {
		i.stream.first = entries[0].ID
		if compareIDs(entries[n-1].ID, last) > 0 {
			last = entries[n-1].ID
		}
	}
	i.texts = []string{last}
	return nil
}

// encode is the value as the file holds it; equal values have the same form.
func (i *image) encode() []byte {
	if i.kind == sortedSet {
		i.sortMembers()
	}
	size := 1
	for _, t := range i.texts {
		size += binary.MaxVarintLen32 + len(t)
	}
	b := append(make([]byte, 0, size+8*len(i.scores)), byte(i.kind))
	for n, t := range i.texts {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
		if i.kind == sortedSet {
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(i.scores[n]))
		}
	}
	return b
}

func (i *image) sortMembers() {
	scores := make(map[string]float64, len(i.texts))
	for n, member := range i.texts {
		scores[member] = i.scores[n]
	}
	slices.Sort(i.texts)
	for n, member := range i.texts {
		i.scores[n] = scores[member]
	}
}

var errForm = errors.New("a value is stored in an unknown form")

// decode reads what encode wrote.
func decode(b []byte) (*image, error) {
	if len(b) == 0 || !strings.ContainsRune("shelzx", rune(b[0])) {
		return nil, errForm
	}
	i := &image{kind: kind(b[0])}
	for b = b[1:]; len(b) > 0; {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, errForm
		}
		i.texts = append(i.texts, string(b[n:n+int(size)]))
		b = b[n+int(size):]
		if i.kind == sortedSet {
			if len(b) < 8 {
				return nil, errForm
			}
			i.scores = append(i.scores, math.Float64frombits(binary.BigEndian.Uint64(b)))
			b = b[8:]
		}
	}
	single := i.kind == str || i.kind == stream
	if single && len(i.texts) != 1 || i.kind == hash && len(i.texts)%2 != 0 {
		return nil, errForm
	}
	return i, nil
}

// compareIDs orders the ids of stream entries ("milliseconds-sequence"); "" is
// the lowest.
func compareIDs(a, b string) int {
	aMS, aSeq, _ := strings.Cut(a, "-")
	bMS, bSeq, _ := strings.Cut(b, "-")
	if c := compareNumbers(aMS, bMS); c != 0 {
		return c
	}
	return compareNumbers(aSeq, bSeq)
}

// compareNumbers orders decimal numbers without leading zeros.
func compareNumbers(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

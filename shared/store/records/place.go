package records

import (
	"slices"
	"strconv"
	"strings"

	"sluice/shared/admission"
	"sluice/shared/archive"
	"sluice/shared/fault"
)

// ref names a record.
type ref struct {
	kind archive.Kind
	id   string
}

// missing is the fault of a record that is not there.
func (r ref) missing() error { return fault.New(fault.NotFound, "there is no %s %q", r.kind, r.id) }

// maxID is the greatest length of an id.
const maxID = 100

// check refuses an id that could be mistaken within a key's name or a place.
func (r ref) check() error {
	for _, c := range []byte(r.id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return fault.At("id", "%q is no id: it may have letters, digits, _ and - only", r.id)
		}
	}
	if r.id == "" || len(r.id) > maxID {
		return fault.At("id", "an id has 1 to %d characters, this one has %d", maxID, len(r.id))
	}
	return nil
}

// place says in which partition a record is and to whom it belongs.
type place struct {
	partition int
	former    []int // where a user was before it changed its team; usage records stay there
	parents   []ref // whose links it is in
	closed    bool  // no record may be linked to it: it is being moved or deleted
}

// String is the place as the index keeps it: "<partition>[,<former>…]", then
// " <kind>=<id>" for each parent; the scripts know a closed one by its "!".
func (p place) String() string {
	var b strings.Builder
	if p.closed {
		b.WriteByte('!')
	}
	b.WriteString(strconv.Itoa(p.partition))
	for _, f := range p.former {
		b.WriteByte(',')
		b.WriteString(strconv.Itoa(f))
	}
	for _, r := range p.parents {
		b.WriteString(" " + string(r.kind) + "=" + r.id)
	}
	return b.String()
}

// parsePlace reads what String wrote.
func parsePlace(text string) (place, error) {
	var p place
	damaged := fault.New(fault.Internal, "the index of records is damaged: place %q", text)
	text, p.closed = strings.CutPrefix(text, "!")
	numbers, parents, _ := strings.Cut(text, " ")
	for i, part := range strings.Split(numbers, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n >= admission.Partitions {
			return place{}, damaged
		}
		if i == 0 {
			p.partition = n
		} else {
			p.former = append(p.former, n)
		}
	}
	for _, part := range strings.Fields(parents) {
		kind, id, ok := strings.Cut(part, "=")
		if !ok {
			return place{}, damaged
		}
		p.parents = append(p.parents, ref{archive.Kind(kind), id})
	}
	return p, nil
}

// after is the place with the former partitions of a record that was at old.
func (p place) after(old place) place {
	for _, f := range append([]int{old.partition}, old.former...) {
		if f != p.partition && !slices.Contains(p.former, f) {
			p.former = append(p.former, f)
		}
	}
	return p
}

// all are the partitions that have usage records of what is at the place.
func (p place) all() []int { return append([]int{p.partition}, p.former...) }

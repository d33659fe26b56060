package late

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// handle is what a segment needs of its file; *os.File is one. Tests have others,
// with a disk that is full or fails.
type handle interface {
	io.ReaderAt
	io.WriteCloser
	Truncate(size int64) error
	Sync() error
}

// segment is the file of one generation. It is written by Put until it is sealed,
// and then read by Drain, which adds marks; the two never overlap.
type segment struct {
	number int64
	path   string
	file   handle
	size   int64 // bytes of whole lines
	from   int64 // what is before has been applied or set aside
	marked int64 // the last mark in the file
	broken error // set when the file may hold more than size says: nothing is added then
}

const pattern = "late-%012d.jsonl"

// numbers are those of the generations in a directory, oldest first.
func numbers(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []int64
	for _, e := range entries {
		var n int64
		if _, err := fmt.Sscanf(e.Name(), pattern, &n); err == nil && e.Name() == fmt.Sprintf(pattern, n) {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}

// create begins a generation after all that there are. The order comes from the
// names and not from a clock, which may be set back.
func create(dir string, wrap func(*os.File) handle) (*segment, error) {
	taken, err := numbers(dir)
	if err != nil {
		return nil, err
	}
	next := int64(1)
	if len(taken) > 0 {
		next = taken[len(taken)-1] + 1
	}
	for ; ; next++ {
		s, err := take(dir, next, os.O_EXCL|os.O_CREATE, wrap)
		switch {
		case errors.Is(err, os.ErrExist):
		case err != nil:
			return nil, err
		case s != nil:
			// A name that is not on disk would lose what is synced under it.
			if err := syncDir(dir); err != nil {
				return nil, errors.Join(err, os.Remove(s.path), s.file.Close())
			}
			return s, nil
		}
	}
}

// take opens a generation and locks it. It gives nil when another process has it or
// was faster to remove it: one that is new has no lock yet, and whoever looks for
// leftovers at that moment may take it.
func take(dir string, number int64, flag int, wrap func(*os.File) handle) (*segment, error) {
	path := filepath.Join(dir, fmt.Sprintf(pattern, number))
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|flag, 0o600)
	if err != nil {
		return nil, err
	}
	ours, err := lock(file)
	if err == nil && ours {
		ours, err = still(file, path)
	}
	if err != nil || !ours {
		return nil, errors.Join(err, file.Close())
	}
	return &segment{number: number, path: path, file: wrap(file)}, nil
}

// still says whether the name is that of the open file.
func still(file *os.File, path string) (bool, error) {
	open, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, named), err
}

// recover reads the file of a process that died: how far it was applied, and how
// many entries wait. A last line without its end was cut short before it was
// acknowledged; it is removed from the file and returned.
func (s *segment) recover() (waiting int, torn []byte, err error) {
	in := bufio.NewReader(io.NewSectionReader(s.file, 0, 1<<62))
	var entries, ends []int64
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			torn = text
			break
		}
		if err != nil {
			return 0, nil, fmt.Errorf("%s: %w", s.path, err)
		}
		s.size += int64(len(text))
		c, _ := parse(text) // a damaged line is an entry until a Drain sets it aside
		if !c.mark {
			entries = append(entries, s.size)
		} else if _, known := slices.BinarySearch(ends, c.applied); known {
			s.from = max(s.from, c.applied)
		}
		ends = append(ends, s.size)
	}
	s.marked = s.from
	if len(torn) > 0 {
		s.broken = s.file.Truncate(s.size)
	}
	for _, end := range entries {
		if end > s.from {
			waiting++
		}
	}
	return waiting, torn, nil
}

// add writes whole lines and returns when they are on disk. When it errs the file
// is as before, or broken.
func (s *segment) add(text []byte) error {
	if s.broken != nil {
		return s.broken
	}
	if _, err := s.file.Write(text); err != nil {
		s.broken = s.file.Truncate(s.size)
		return errors.Join(err, s.broken)
	}
	if err := s.file.Sync(); err != nil {
		// What a failed sync left on disk is unknown, and a second one may lie.
		s.broken = err
		return errors.Join(err, s.file.Truncate(s.size))
	}
	s.size += int64(len(text))
	return nil
}

// mark writes down how far the file was applied.
func (s *segment) mark() error {
	if s.from == s.marked {
		return nil
	}
	if err := s.add(markLine(s.from)); err != nil {
		return err
	}
	s.marked = s.from
	return nil
}

// remove removes the file while it is locked, so that nobody adopts it in between.
func (s *segment) remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_ = s.file.Close() // what it could tell is of a file that is no more
	return nil
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}

package late

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"sluice/shared/admission"
	"sluice/shared/fault"
)

// DamagedName is the file, in the directory of a File, of what can never be applied:
// an object a line, with where it was found, why it was set aside, and itself.
const DamagedName = "late-damaged.jsonl"

// markEvery is how many settlements at most are applied again after a kill.
const markEvery = 100

// Drain applies what waited when it began, oldest first, and returns how many were
// applied. What was applied is removed; only after a kill, or where the disk takes
// no mark, may it be applied a second time.
//
// It stops, and everything from there on waits for the next Drain, when apply errs
// with fault.StoreDown or its time is over, when ctx ends, and when the disk fails;
// that error is returned. What apply refuses otherwise, and lines that are damaged,
// are set aside in DamagedName and told to the logger. One Drain runs at a time.
func (f *File) Drain(ctx context.Context, apply func(context.Context, admission.Settlement) error) (int, error) {
	f.draining.Lock()
	defer f.draining.Unlock()
	missed := f.adopt() // what cannot be read does not keep the rest waiting
	if missed != nil {
		missed = f.failed(missed)
	}
	n, err := f.drainSealed(ctx, apply)
	if err != nil {
		return n, errors.Join(err, missed)
	}
	// Sealed only now, a store that is down for long does not make a file each time.
	f.disk.Lock()
	if f.active != nil && f.active.size > 0 {
		err = f.seal()
	}
	f.disk.Unlock()
	if err != nil {
		return n, errors.Join(f.failed(err), missed)
	}
	more, err := f.drainSealed(ctx, apply)
	return n + more, errors.Join(err, missed)
}

func (f *File) failed(cause error) error {
	return fault.Wrap(fault.Internal, fmt.Errorf("%s: %w", f.dir, cause), "the late queue cannot be read")
}

// drainSealed applies the sealed generations and removes them.
func (f *File) drainSealed(ctx context.Context, apply func(context.Context, admission.Settlement) error) (n int, err error) {
	for {
		s := f.oldest()
		if s == nil {
			return n, nil
		}
		applied, err := f.drainOne(ctx, s, apply)
		n += applied
		if err == nil {
			if err = s.remove(); err != nil {
				err = f.failed(err)
			}
		}
		if err != nil {
			f.mark(s)
			return n, err
		}
		f.disk.Lock()
		f.sealed = f.sealed[1:]
		f.disk.Unlock()
		if err := syncDir(f.dir); err != nil {
			return n, f.failed(err)
		}
	}
}

func (f *File) oldest() *segment {
	f.disk.Lock()
	defer f.disk.Unlock()
	if len(f.sealed) == 0 {
		return nil
	}
	return f.sealed[0]
}

// drainOne applies what waits in a generation.
func (f *File) drainOne(ctx context.Context, s *segment, apply func(context.Context, admission.Settlement) error) (n int, err error) {
	end := s.size // marks are added after it meanwhile
	in := bufio.NewReader(io.NewSectionReader(s.file, s.from, end-s.from))
	for unmarked := 0; s.from < end; unmarked++ {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		text, err := in.ReadBytes('\n')
		if err != nil { // io.EOF too: somebody cut the file
			return n, f.failed(err)
		}
		c, refusal := parse(text)
		if !c.mark && refusal == nil {
			if refusal = apply(ctx, c.settlement); refusal == nil {
				n++
			} else if passing(ctx, refusal) {
				return n, refusal
			}
		}
		if refusal != nil {
			if err := f.setAside(s, text, refusal); err != nil {
				return n, f.failed(err)
			}
		}
		if !c.mark {
			f.waiting.Add(-1)
		}
		s.from += int64(len(text))
		if unmarked == markEvery {
			f.mark(s)
			unmarked = 0
		}
	}
	return n, nil
}

// passing says whether a settlement that was not applied may be later.
func passing(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		fault.CodeOf(err) == fault.StoreDown
}

// mark writes down how far a generation was applied. Without a mark nothing is lost.
func (f *File) mark(s *segment) {
	if err := s.mark(); err != nil {
		f.log.Warn("a late queue cannot note what was applied; it will be applied again after a restart",
			"file", s.path, "error", err)
	}
}

// damaged is a line of DamagedName.
type damaged struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
	Line   string `json:"line,omitempty"`  // as it was
	Bytes  []byte `json:"bytes,omitempty"` // in its place when it is no UTF-8
}

// setAside keeps a line that can never be applied where an operator finds it, and
// returns when it is on disk.
func (f *File) setAside(s *segment, text []byte, reason error) (err error) {
	f.log.Error("a late settlement can never be applied; it was set aside", "file", s.path, "offset", s.from,
		"error", reason, "content", string(text), "aside", filepath.Join(f.dir, DamagedName))
	entry := damaged{File: filepath.Base(s.path), Offset: s.from, Reason: reason.Error()}
	if utf8.Valid(text) {
		entry.Line = string(text)
	} else {
		entry.Bytes = text
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(f.dir, DamagedName), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	// A line before that was cut short by a full disk must not spoil this one.
	if last := make([]byte, 1); info.Size() > 0 {
		if _, err := file.ReadAt(last, info.Size()-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := file.Write(append(line, '\n')); err != nil {
		return err
	}
	return errors.Join(file.Sync(), syncDir(f.dir))
}

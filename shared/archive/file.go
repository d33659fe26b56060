package archive

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"sluice/shared/fault"
)

// FileName is the name of the config log in its directory.
const FileName = "config.jsonl"

// File is the config log as one file that only grows: an entry a line, each
// synced before Append returns. It is safe for concurrent use, and one process
// at a time has it open.
type File struct {
	path string

	mu     sync.Mutex
	file   *os.File
	size   int64 // bytes of whole entries
	seq    int64 // of the last entry
	torn   int64
	broken error // set when the file may hold something else than size says
}

// OpenFile opens the log in a directory, both made when missing. A last line that
// a crash cut short was never acknowledged: it is removed, and Torn tells of it.
// It errs when another process has the log open and when a line before the last
// is damaged, naming it.
func OpenFile(dir string) (_ *File, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("config log: %w", err)
	}
	path := filepath.Join(dir, FileName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("config log: %w", err)
	}
	f := &File{path: path, file: file}
	if err := f.recover(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("config log: %w", err), file.Close())
	}
	return f, nil
}

func (f *File) recover(dir string) error {
	if err := lock(f.file); err != nil {
		return fmt.Errorf("%s is in use by another process: %w", f.path, err)
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	err = f.scan(info.Size(), func(e Entry, end int64) error {
		f.size, f.seq = end, e.Seq
		return nil
	})
	if err != nil {
		return err
	}
	if f.torn = info.Size() - f.size; f.torn > 0 {
		if err := f.file.Truncate(f.size); err != nil {
			return err
		}
	}
	return errors.Join(f.file.Sync(), syncDir(dir))
}

// scan calls fn with each whole entry of the first size bytes, and where it ends.
// A damaged last line is passed over: only Append writes, and it had not returned.
func (f *File) scan(size int64, fn func(e Entry, end int64) error) error {
	in := bufio.NewReader(io.NewSectionReader(f.file, 0, size))
	var end, seq int64
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		end += int64(len(line))
		var e Entry
		switch err := json.Unmarshal(line, &e); {
		case err != nil && end == size:
			return nil
		case err != nil:
			return fmt.Errorf("%s line %d is damaged: %w", f.path, number, err)
		case e.Seq != seq+1:
			return fmt.Errorf("%s line %d is entry %d, want %d: lines are missing or out of order", f.path, number, e.Seq, seq+1)
		}
		seq = e.Seq
		if err := fn(e, end); err != nil {
			return err
		}
	}
}

// Torn is the number of bytes of a cut last line that OpenFile removed, 0 when
// there was none.
func (f *File) Torn() int64 { return f.torn }

// Append writes an entry and returns when it is on disk; Seq is given by the log.
// It errs with fault.StoreDown when it cannot be written; the log is as before
// then, or refuses every further entry.
func (f *File) Append(_ context.Context, e Entry) error {
	if err := e.Check(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return unwritable(f.broken)
	}
	e.Seq = f.seq + 1
	line, err := json.Marshal(e)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "a config log entry cannot be encoded")
	}
	line = append(line, '\n')
	if _, err := f.file.Write(line); err != nil {
		f.broken = f.file.Truncate(f.size)
		return unwritable(errors.Join(err, f.broken))
	}
	if err := f.file.Sync(); err != nil {
		// What a failed sync left on disk is unknown, and a second one may lie.
		f.broken = err
		return unwritable(err)
	}
	f.size += int64(len(line))
	f.seq = e.Seq
	return nil
}

func unwritable(cause error) error {
	return fault.Wrap(fault.StoreDown, cause, "the config log cannot be written; nothing was changed")
}

// Replay calls fn with every entry in order, as they were when it began, until fn
// errs; the error is returned.
func (f *File) Replay(ctx context.Context, fn func(Entry) error) error {
	f.mu.Lock()
	size := f.size
	f.mu.Unlock()
	return f.scan(size, func(e Entry, _ int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(e)
	})
}

// Close closes the file; entries are on disk already.
func (f *File) Close() error { return f.file.Close() }

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}

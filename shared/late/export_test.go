package late

import (
	"log/slog"
	"os"
	"runtime"

	"sluice/shared/admission"
)

// Handle is what a test puts between a queue and its disk.
type Handle = handle

// OpenOn opens a queue on a disk of the test's.
func OpenOn(dir string, log *slog.Logger, wrap func(*os.File) Handle) (*File, error) {
	return open(dir, log, wrap)
}

// Abandon does what the death of the process does: the kernel closes its files, and
// nothing else happens any more.
func (f *File) Abandon() {
	f.draining.Lock()
	defer f.draining.Unlock()
	f.disk.Lock()
	defer f.disk.Unlock()
	for _, s := range append(f.sealed, f.active) {
		if s != nil {
			_ = s.file.Close()
		}
	}
	f.active, f.sealed, f.closed = nil, nil, true
}

// Mark is the line that says how many bytes of a file were applied.
func Mark(applied int) string { return string(markLine(int64(applied))) }

// WaitFor returns when so many callers of Put wait for the next sync.
func (f *File) WaitFor(callers int64) {
	for {
		f.gather.Lock()
		have := f.next != nil && f.next.lines >= callers
		f.gather.Unlock()
		if have {
			return
		}
		runtime.Gosched()
	}
}

// Line is a line with a member that has the right checksum, whatever it holds.
func Line(member, text string) string { return string(enclose(member, []byte(text))) }

// Parse reads a line.
func Parse(text []byte) (s admission.Settlement, mark bool, applied int64, err error) {
	c, err := parse(text)
	return c.settlement, c.mark, c.applied, err
}

//go:build unix

package late

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the file for this process, and says false when another has it. The
// kernel gives it back when the process dies, however it does.
func lock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

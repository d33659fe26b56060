package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// machines are the architectures of Fargate and Lambda, as Go and as ELF names
// them.
func machines() map[string]elf.Machine {
	return map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}
}

// runnable errs when a binary could not run in the image. A task that cannot
// start says no more than "exec format error" or "no such file or directory",
// minutes after the push; here the reason is known.
func runnable(binary []byte, arch string) error {
	want, ok := machines()[arch]
	if !ok {
		return fmt.Errorf("cannot be for architecture %q (want arm64 or amd64)", arch)
	}
	build := fmt.Sprintf("build it with GOOS=linux GOARCH=%s CGO_ENABLED=0", arch)
	f, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return fmt.Errorf("is no Linux executable; %s: %w", build, err)
	}
	switch {
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return fmt.Errorf("is no executable but of type %s; %s", f.Type, build)
	case f.Machine != want:
		return fmt.Errorf("is for machine %s, the image is for %s (%s); %s", f.Machine, arch, want, build)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("is linked against shared libraries, and the image has none; " + build)
		}
	}
	return nil
}

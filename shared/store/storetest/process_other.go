//go:build !linux

package storetest

import "syscall"

// dieWithParent is not to be had here: a killed test binary leaves its servers.
func dieWithParent() *syscall.SysProcAttr { return nil }

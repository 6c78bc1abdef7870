//go:build !linux

package command

import "syscall"

// attach does nothing where the kernel has no such signal: a call that is under way
// when this process is killed goes on to its end.
func attach(*syscall.SysProcAttr) {}

//go:build unix && !linux

package vault

import "syscall"

// attributes put the server into a process group of its own, so that Ctrl-C
// does not reach it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

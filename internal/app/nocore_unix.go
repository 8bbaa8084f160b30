//go:build unix

package app

import "syscall"

// noCore keeps a crash from writing memory, which holds tokens and credentials, to a
// core file. That it can't be forbidden is no reason not to start.
func noCore() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }

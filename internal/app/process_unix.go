//go:build unix && !linux

package app

import "golang.org/x/sys/unix"

// keepMemory keeps a crash from writing memory, which holds tokens and credentials, to
// a core file. That it can't be forbidden is no reason not to start.
func keepMemory() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }

package app

import "golang.org/x/sys/unix"

// keepMemory keeps memory, which holds tokens and credentials, from core files and
// from other processes of the same user: no ptrace, no /proc/PID/mem or environ.
// That it can't be had is no reason not to start.
func keepMemory() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

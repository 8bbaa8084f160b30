//go:build unix

package app

import "golang.org/x/sys/unix"

// openFiles is how many files the process may have open; 0: not known. Go's runtime
// has raised the soft limit to the hard one at the start.
func openFiles() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // it is signed on some systems
}

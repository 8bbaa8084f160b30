//go:build unix

package http1

import "syscall"

// hasCome reports whether a socket has something to read, or its end, and leaves it there.
func hasCome(fd uintptr) bool {
	var one [1]byte
	_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
	return err == nil
}

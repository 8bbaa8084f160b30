//go:build unix

package http1

import "syscall"

// nothingToRead reports whether a socket is open and nothing has come.
func nothingToRead(fd uintptr) bool {
	var one [1]byte
	n, err := syscall.Read(int(fd), one[:])
	return n < 0 && (err == syscall.EAGAIN || err == syscall.EINTR)
}

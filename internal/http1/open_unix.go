//go:build unix

package http1

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// socketOf gives what is below a connection; nil: it can't be looked at.
func socketOf(conn net.Conn) syscall.RawConn {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// nothingToRead reports whether a socket is open and nothing has come.
func nothingToRead(fd uintptr) bool {
	var one [1]byte
	_, err := readSocket(fd, one[:])
	return errors.Is(err, errNothing)
}

// errNothing: nothing has come yet.
var errNothing = errors.New("nothing to read")

// readSocket reads without waiting.
func readSocket(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case err == syscall.EAGAIN:
			return 0, errNothing
		case err != syscall.EINTR:
			return 0, os.NewSyscallError("read", err)
		}
	}
}

//go:build !unix

package http1

import (
	"errors"
	"net"
	"syscall"
)

// socketOf would give what is below a connection, which can't be read here without waiting.
func socketOf(net.Conn) syscall.RawConn { return nil }

func nothingToRead(uintptr) bool { return true }

var errNothing = errors.New("nothing to read")

func readSocket(uintptr, []byte) (int, error) { return 0, errNothing }

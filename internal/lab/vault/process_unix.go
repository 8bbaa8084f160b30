//go:build unix

package vault

import (
	"os"
	"syscall"
)

const (
	signalKill     = syscall.SIGKILL
	signalStop     = syscall.SIGSTOP
	signalContinue = syscall.SIGCONT
)

// signalGroup signals a process and its children; it only fails when they are
// gone.
func signalGroup(p *os.Process, s syscall.Signal) { _ = syscall.Kill(-p.Pid, s) }

//go:build !unix

package vault

import (
	"os"
	"syscall"
)

const (
	signalKill     = syscall.SIGKILL
	signalStop     = syscall.Signal(0) // there is nothing like it
	signalContinue = syscall.Signal(0)
)

func attributes() *syscall.SysProcAttr { return nil }

func signalGroup(p *os.Process, s syscall.Signal) {
	if s == signalKill {
		_ = p.Kill() // it only fails when the process is gone
	}
}

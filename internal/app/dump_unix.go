//go:build unix

package app

import (
	"os"
	"syscall"
)

// dumpSignals ask for the last decisions.
func dumpSignals() []os.Signal { return []os.Signal{syscall.SIGUSR1} }

//go:build !unix

package app

import "os"

// dumpSignals: there is no signal for it here.
func dumpSignals() []os.Signal { return nil }

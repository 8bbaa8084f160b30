//go:build !unix

package app

// keepMemory has nothing to do where there are no core files.
func keepMemory() {}

// openFiles knows no limit here.
func openFiles() uint64 { return 0 }

//go:build !unix

package app

// noCore has nothing to do where there are no core files.
func noCore() {}

//go:build race

package app

// raced is true under the race detector, which makes sync.Pool forget at random, so that
// allocations can't be counted.
const raced = true

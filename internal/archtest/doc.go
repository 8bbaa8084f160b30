// Package archtest holds the rules about the whole repository that no compiler
// checks: which room may import which, where package comments are, and how long
// a file may grow. It is nothing but tests.
package archtest

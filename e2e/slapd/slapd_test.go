package slapd

import (
	"os"
	"testing"
)

// TestNothingIsLeft starts a server and stops it; its content is tested by a Vault
// that logs people in.
func TestNothingIsLeft(t *testing.T) {
	s, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
	if s.cmd.ProcessState == nil {
		t.Error("it still runs")
	}
}

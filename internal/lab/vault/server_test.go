package vault

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A real Vault is e2e's business; here the binary is one that does not serve.
func server(t *testing.T, script string) *Server {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("shell scripts stand in for Vault here")
	}
	bin := filepath.Join(t.TempDir(), "vault")
	if err := os.WriteFile(bin, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(ServerConfig{Bin: bin, Name: "c", RootToken: "root", APIAddr: func() string { return "http://c" }, Gone: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestAServerThatEndsIsAnErrorWithItsWords(t *testing.T) {
	t.Parallel()
	s := server(t, "echo out of order >&2; exit 1")
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("error %v", err)
	}
}

func TestAServerThatHangsIsKilled(t *testing.T) {
	t.Parallel()
	s := server(t, "sleep 600 & wait")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Start(ctx); err == nil {
		t.Error("it serves")
	}
	if s.PID() != 0 {
		t.Error("it still runs")
	}
	s.Freeze(true) // of nothing: no harm
	s.Close()
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
}

func TestAMissingBinary(t *testing.T) {
	t.Parallel()
	s, err := NewServer(ServerConfig{Bin: filepath.Join(t.TempDir(), "none"), Name: "c", APIAddr: func() string { return "" }, Gone: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Start(t.Context()); err == nil {
		t.Error("it started")
	}
}

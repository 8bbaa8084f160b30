// Package e2e tests vrproxy as it is used: the built binary as a process, real
// Vault servers behind the laboratory's replication front, a real PostgreSQL
// behind Vault's database engine, and the real vault CLI as the application.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/e2e/postgres"
	"github.com/vrproxy/vrproxy/e2e/vaultbin"
)

// TestMain hands these to the tests in the environment.
const (
	envVault    = "VRPROXY_E2E_RUN_VAULT"    // path of the binary
	envProxy    = "VRPROXY_E2E_RUN_PROXY"    // path of the binary
	envPostgres = "VRPROXY_E2E_RUN_POSTGRES" // host:port
	envSummary  = "VRPROXY_E2E_RUN_SUMMARY"  // file of lines to print at the end
)

// prepareWithin leaves room for a cold build of Vault on a small machine.
const prepareWithin = 45 * time.Minute

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), prepareWithin)
	defer cancel()
	began := time.Now()
	cleanup, err := prepare(ctx)
	defer cleanup()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	ready := time.Since(began)
	code := m.Run()
	if lines, err := os.ReadFile(os.Getenv(envSummary)); err == nil {
		fmt.Printf("\n%s", lines)
	}
	fmt.Printf("e2e: prepared in %s, all in %s\n", ready.Round(100*time.Millisecond), time.Since(began).Round(100*time.Millisecond))
	return code
}

// prepare finds or makes the real parts. The cleanup has to be called in any case.
func prepare(ctx context.Context) (cleanup func(), err error) {
	dir, err := os.MkdirTemp("", "vrproxy-e2e-")
	if err != nil {
		return func() {}, err
	}
	cleanup = func() { _ = os.RemoveAll(dir) }
	// First what fails fast, then what may take minutes.
	pg, err := postgres.Start(ctx)
	if err != nil {
		return cleanup, err
	}
	cleanup = func() {
		if err := pg.Stop(context.WithoutCancel(ctx)); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: stopping PostgreSQL:", err)
		}
		_ = os.RemoveAll(dir)
	}
	proxy := filepath.Join(dir, "vrproxy")
	if err := buildProxy(ctx, proxy); err != nil {
		return cleanup, err
	}
	vault, err := vaultbin.Finder{Module: "vault", Getenv: os.Getenv, Out: os.Stderr}.Find(ctx)
	if err != nil {
		return cleanup, err
	}
	return cleanup, setenv(map[string]string{envVault: vault, envProxy: proxy, envPostgres: pg.Host, envSummary: filepath.Join(dir, "summary")})
}

// buildProxy builds the binary as it is released.
func buildProxy(ctx context.Context, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./cmd/vrproxy")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building vrproxy: %w\n%s", err, said)
	}
	return nil
}

func setenv(all map[string]string) error {
	for name, value := range all {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// summarise logs a line and keeps it for the end of the run.
func summarise(t *testing.T, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf("e2e: "+format+"\n", args...)
	t.Log(strings.TrimSuffix(line, "\n"))
	f, err := os.OpenFile(os.Getenv(envSummary), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line); err != nil {
		t.Fatal(err)
	}
}

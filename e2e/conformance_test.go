package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/conformance"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// TestConformance holds the simulated clusters to a real Vault.
func TestConformance(t *testing.T) {
	real := runScript(t, startDevVault(t))
	for _, p := range conformance.Problems(real) {
		t.Errorf("the real Vault: %s", p)
	}
	l := labtest.Start(t, lab.Config{})
	simulated := runScript(t, l.Cluster("us-east").Address())
	differ, agree := conformance.Compare(real, simulated)
	for _, d := range differ {
		t.Errorf("the real Vault and the laboratory: %s", d)
	}
	summarise(t, "conformance: %d steps, %d agree, %d differences allowed", len(conformance.Script()), agree, conformance.Exceptions())
}

func runScript(t *testing.T, address string) []conformance.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all, err := conformance.Run(ctx, conformance.Target{Address: address, Token: lab.RootToken})
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	return all
}

// startDevVault runs a server without anything of the laboratory and returns its
// address once it is ready.
func startDevVault(t *testing.T) string {
	t.Helper()
	address := "http://" + runDevVault(t)
	w := &world{t: t, http: &http.Client{Transport: &http.Transport{}, Timeout: time.Second}}
	t.Cleanup(w.http.CloseIdleConnections)
	w.eventually("the dev server is ready", func() bool {
		return w.do(address, lab.RootToken, http.MethodGet, "sys/health", "").status == http.StatusOK
	})
	return address
}

// runDevVault starts a server and returns its host and port.
func runDevVault(t *testing.T, more ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // only its number was wanted
	args := append([]string{"server", "-dev", "-dev-listen-address=" + address, "-dev-root-token-id=" + lab.RootToken, "-dev-no-store-token"}, more...)
	cmd := exec.Command(os.Getenv(envVault), args...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it only fails when the server has ended
		_ = cmd.Wait()         // killed: not a clean end
	})
	return address
}

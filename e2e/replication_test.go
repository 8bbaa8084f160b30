package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplicationIsEnterpriseOnly runs the replication commands against a real Vault
// Community: they have to say so, and change nothing.
func TestReplicationIsEnterpriseOnly(t *testing.T) {
	address := devVault(t)
	file := filepath.Join(t.TempDir(), "vrproxy.yaml")
	yaml := fmt.Sprintf("region: here\nclusters:\n  - {name: one, region: here, addresses: [%q]}\n", address)
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		args []string
	}{
		{3, []string{"status"}},
		{3, []string{"status", "-o", "json"}},
		{1, []string{"enable-primary", "one"}},
		{1, []string{"enable-primary", "one", "--mode", "dr"}},
		{1, []string{"secondary-token", "one", "--id", "two"}},
		{1, []string{"promote", "one", "--confirm", "one"}},
		{1, []string{"generate-operation-token", "one"}},
	} {
		cmd := exec.Command(os.Getenv(envProxy), append([]string{"replication"}, c.args...)...)
		cmd.Env = append(os.Environ(), "VRPROXY_CONFIG="+file, "VAULT_TOKEN=root")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != c.code || !strings.Contains(string(out), "Vault Enterprise only") {
			t.Errorf("%v: %v\n%s", c.args, err, out)
		}
	}
}

// devVault starts a real Vault in dev mode, with the token root.
func devVault(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Getenv(envVault), "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+host)
	cmd.Env = append(os.Environ(), "VAULT_DEV_ROOT_TOKEN_ID=root")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it only fails when the process has ended
		_ = cmd.Wait()         // killed: not a clean end
	})
	w := &world{t: t}
	w.eventually("Vault serves", func() bool {
		resp, err := http.Get("http://" + host + "/v1/sys/health") //nolint:noctx // a test's
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return "http://" + host
}

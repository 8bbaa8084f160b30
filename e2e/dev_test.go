package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestDevWithRealVaults runs `vrproxy dev --vault-bin` and kills it in the worst
// way: its Vaults must not outlive it.
func TestDevWithRealVaults(t *testing.T) {
	cmd := exec.Command(os.Getenv(envProxy), "dev", "--vault-bin", os.Getenv(envVault),
		"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dns", "", "--lab-port", "0", "--latency=false")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // nobody is left to remove the storages
	screen, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it only fails when the process has ended
		_ = cmd.Wait()         // killed: not a clean end
	})
	w := &world{t: t, home: t.TempDir(), proxy: addressOn(t, screen)}
	w.login()
	if got := w.vault("kv", "get", "-mount=secret", "-field=greeting", "hello"); !strings.Contains(got, "hello") {
		t.Errorf("read %q", got)
	}
	vaults := children(t, cmd.Process.Pid)
	if len(vaults) != 3 {
		t.Fatalf("%d Vaults run", len(vaults))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range vaults {
		w.eventually("the Vaults end with it", func() bool { return gone(pid) })
	}
}

// addressOn reads the screen until it tells the proxy's address.
func addressOn(t *testing.T, screen io.Reader) string {
	t.Helper()
	var seen bytes.Buffer
	buf := make([]byte, 4096)
	for {
		n, err := screen.Read(buf)
		seen.Write(buf[:n])
		if found := regexp.MustCompile(`export VAULT_ADDR=(\S+)\n`).FindSubmatch(seen.Bytes()); found != nil {
			go func() { _, _ = io.Copy(io.Discard, screen) }() // until the process ends
			return string(found[1])
		}
		if err != nil {
			t.Fatalf("%v after:\n%s", err, &seen)
		}
	}
}

// children are the processes that a process has started.
func children(t *testing.T, parent int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var pid, ppid int
		var name, state string
		if n, _ := fmt.Sscanf(string(raw), "%d %s %s %d", &pid, &name, &state, &ppid); n == 4 && ppid == parent {
			out = append(out, pid)
		}
	}
	return out
}

// gone reports whether a process has ended; who adopted it may not have noticed.
func gone(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(raw), ") Z ") || syscall.Kill(pid, 0) != nil
}

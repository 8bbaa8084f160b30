package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

const patience = 60 * time.Second // for what has to happen some time

func here() platform { return platform{"linux", runtime.GOARCH} }

func ours() source {
	return source{root: "../..", version: "v1.2.3-4-gabcdef0", commit: "abcdef012345", when: time.Unix(1_700_000_000, 0).UTC()}
}

// builtFor gives a binary, which is built once for a platform: the go command remembers.
func builtFor(t *testing.T, p platform) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "vrproxy")
	if err := ours().build(t.Context(), p, to); err != nil {
		t.Fatal(err)
	}
	return to
}

// tool finds a program of Debian, and says which package has it.
func tool(t *testing.T, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: apt-get install %s", name, from)
	}
	return path
}

// must runs a command and gives all that it said.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, said)
	}
	return string(said)
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can enter the image's root and change the user; run this as root")
	}
}

// clusters is YAML for those of a laboratory.
func clusters(l *lab.Lab) string {
	var b strings.Builder
	b.WriteString("region: eu-west\nclusters:\n")
	for _, c := range l.Clusters() {
		fmt.Fprintf(&b, "  - {name: %s, region: %s, addresses: [%q]", c.Name(), c.Region(), c.Address())
		if primary, ok := strings.CutSuffix(c.Name(), "-dr"); ok {
			fmt.Fprintf(&b, ", dr_of: %s", primary)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func newLab(t *testing.T) *lab.Lab {
	t.Helper()
	return labtest.Start(t, lab.Config{Region: "eu-west"})
}

// ready is the line that the proxy logs when it is.
type ready struct {
	Msg       string   `json:"msg"`
	Listeners []string `json:"listeners"`
	Admin     string   `json:"admin"`
}

// startProxy runs a command that becomes a proxy, waits until it is ready, and ends it
// cleanly with the test.
func startProxy(t *testing.T, cmd *exec.Cmd) ready {
	t.Helper()
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log bytes.Buffer
	said, ended := make(chan ready, 1), make(chan error, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			mu.Lock()
			fmt.Fprintln(&log, lines.Text())
			mu.Unlock()
			var r ready
			if json.Unmarshal(lines.Bytes(), &r) == nil && r.Msg == "ready" {
				said <- r
			}
		}
		ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it did not end cleanly: %v", err)
			}
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Error("it did not end")
		}
		if t.Failed() {
			mu.Lock()
			defer mu.Unlock()
			t.Log(log.String())
		}
	})
	select {
	case r := <-said:
		return r
	case err := <-ended:
		ended <- errors.New("it is not there")
		t.Fatalf("it ended before it was ready: %v", err)
	case <-time.After(patience):
		t.Fatalf("not ready within %s", patience)
	}
	return ready{}
}

// serves asks the proxy for Vault's health.
func serves(t *testing.T, address string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v1/secret/data/nothing", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", lab.RootToken)
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound || resp.Header.Get("X-Vrproxy-Cluster") != "eu-west" {
		t.Errorf("%d from %q, want the 404 of the nearest cluster", resp.StatusCode, resp.Header.Get("X-Vrproxy-Cluster"))
	}
}

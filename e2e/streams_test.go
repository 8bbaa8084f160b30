package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/e2e/raft"
)

// TestStreams passes what never ends and what is large between a real Vault and its own
// command. Events, which are a websocket, are Vault Enterprise's; internal/wiretest has
// those.
func TestStreams(t *testing.T) {
	c, err := raft.Start(t.Context(), os.Getenv(envVault), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, home: t.TempDir(), http: &http.Client{Transport: &http.Transport{}, Timeout: patience}}
	t.Cleanup(w.http.CloseIdleConnections)
	h := &haWorld{w, c}
	h.fill()
	w.run(fmt.Sprintf("region: r\nlisteners: [{address: \"127.0.0.1:0\"}]\nclusters: [{name: only, region: r, addresses: [%s]}]\n%s", c.Nodes[0].Address, common))
	t.Run("monitor", func(t *testing.T) { h.on(t).monitor() })
	t.Run("snapshot", func(t *testing.T) { h.on(t).snapshot() })
}

func (h *haWorld) on(t *testing.T) *haWorld { return &haWorld{h.in(t), h.raft} }

// follow runs a command of Vault that does not end by itself, and gives its lines.
func (h *haWorld) follow(token string, args ...string) *bufio.Scanner {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*patience)
	cmd := exec.CommandContext(ctx, os.Getenv(envVault), args...)
	cmd.Env = []string{"HOME=" + h.home, "VAULT_ADDR=" + h.proxy, "VAULT_TOKEN=" + token, "PATH=" + os.Getenv("PATH")}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed: not a clean end
		if h.t.Failed() {
			h.t.Logf("vault %s said: %s", strings.Join(args, " "), &errs)
		}
	})
	return bufio.NewScanner(out)
}

// sees waits for a line, while something is done again and again that makes it come.
func (h *haWorld) sees(lines *bufio.Scanner, text string, provoke func()) {
	h.t.Helper()
	found := make(chan bool, 1)
	go func() {
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				found <- true
				return
			}
		}
		found <- false
	}()
	over := false
	h.eventually("a line with "+text, func() bool {
		select {
		case ok := <-found:
			if !ok {
				h.t.Fatal("the stream ended")
			}
			over = true
		default:
			provoke()
		}
		return over
	})
}

func (h *haWorld) monitor() {
	lines := h.follow(h.raft.Token, "monitor", "-log-level=debug", "-header=X-Vrproxy-Cluster=only")
	n := 0
	h.sees(lines, "streams-", func() { // mounting is worth a line of the log
		n++
		path := fmt.Sprintf("sys/mounts/streams-%d", n)
		h.do(h.proxy, h.raft.Token, http.MethodPost, path, `{"type":"kv"}`)
		h.do(h.proxy, h.raft.Token, http.MethodDelete, path, "")
	})
}

// snapshot saves and restores what the cluster holds, with something large in it.
func (h *haWorld) snapshot() {
	const pin = "-header=X-Vrproxy-Cluster=only"
	random, err := os.Open("/dev/urandom")
	if err != nil {
		h.t.Fatal(err)
	}
	defer random.Close()
	for i := range 12 {
		raw := make([]byte, 200<<10)
		if _, err := io.ReadFull(random, raw); err != nil {
			h.t.Fatal(err)
		}
		if r := h.do(h.proxy, h.raft.Token, http.MethodPost, fmt.Sprintf("secret/data/large/%d", i), fmt.Sprintf(`{"data":{"a":"%x"}}`, raw)); r.status != http.StatusOK {
			h.t.Fatalf("%+v", r)
		}
	}
	file := filepath.Join(h.t.TempDir(), "snap")
	env := []string{"VAULT_TOKEN=" + h.raft.Token}
	run := func(args ...string) string {
		h.t.Helper()
		out, err := h.cliWith(env, args...)
		if err != nil {
			h.t.Fatal(err)
		}
		return out
	}
	run("operator", "raft", "snapshot", "save", pin, file)
	if out := run("operator", "raft", "snapshot", "inspect", file); !strings.Contains(out, "Index") {
		h.t.Errorf("%s", out)
	}
	info, err := os.Stat(file)
	if err != nil || info.Size() < 2<<20 {
		h.t.Fatalf("%v %v", info, err)
	}
	h.do(h.proxy, h.raft.Token, http.MethodPost, "secret/data/hello", `{"data":{"greeting":"changed"}}`)
	run("operator", "raft", "snapshot", "restore", pin, file)
	h.eventually("what was saved is back", func() bool {
		r := h.do(h.proxy, h.raft.Token, http.MethodGet, "secret/data/hello", "")
		return r.status == http.StatusOK && strings.Contains(r.body, `"greeting":"hello"`)
	})
	summarise(h.t, "streams: a snapshot of %d KiB saved and restored through the proxy", info.Size()>>10)
}

package raft

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Node is one Vault server.
type Node struct {
	ID      string
	Address string // URL; its api_addr, too

	bin, dir string
	cmd      *exec.Cmd
	done     chan struct{} // closed when the process is gone; nil: there was none
}

// configure writes the node's file. The multiplier of 1 is the quickest that raft
// elects; the intervals are those of autopilot, which gives votes.
func (n *Node) configure(api, cluster string) error {
	if err := os.MkdirAll(filepath.Join(n.dir, "data"), 0o700); err != nil {
		return fmt.Errorf("making a directory for %s: %w", n.ID, err)
	}
	text := fmt.Sprintf(`
disable_mlock = true
api_addr      = "http://%[1]s"
cluster_addr  = "https://%[2]s"
listener "tcp" {
  address         = "%[1]s"
  cluster_address = "%[2]s"
  tls_disable     = true
}
storage "raft" {
  path                         = %[3]q
  node_id                      = %[4]q
  performance_multiplier       = 1
  autopilot_update_interval    = "200ms"
  autopilot_reconcile_interval = "200ms"
}
`, api, cluster, filepath.Join(n.dir, "data"), n.ID)
	if err := os.WriteFile(n.file(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("configuring %s: %w", n.ID, err)
	}
	return nil
}

func (n *Node) file() string { return filepath.Join(n.dir, "vault.hcl") }

// Log is what the node has said so far.
func (n *Node) Log() string {
	raw, err := os.ReadFile(filepath.Join(n.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// run starts the process, sealed.
func (n *Node) run() error {
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("starting %s: %w", n.ID, err)
	}
	defer func() { _ = log.Close() }()                        // the process has its own
	cmd := exec.Command(n.bin, "server", "-config="+n.file()) //nolint:noctx // Kill ends it
	cmd.Env = []string{"HOME=" + n.dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", n.ID, err)
	}
	done := make(chan struct{})
	n.cmd, n.done = cmd, done
	go func() {
		_ = cmd.Wait() // however it ended, it is gone
		close(done)
	}()
	return nil
}

// Kill ends the node with SIGKILL and waits for its end.
func (n *Node) Kill() {
	if n.done == nil {
		return
	}
	n.signal(syscall.SIGKILL)
	<-n.done
}

// Stall stops the node with SIGSTOP: its connections stand and nothing answers.
func (n *Node) Stall() { n.signal(syscall.SIGSTOP) }

// Resume lets a stalled node go on.
func (n *Node) Resume() { n.signal(syscall.SIGCONT) }

func (n *Node) signal(s syscall.Signal) {
	_ = n.cmd.Process.Signal(s) // it only fails when the process has ended
}

// Restart starts a killed node and unseals it.
func (c *Cluster) Restart(ctx context.Context, n *Node) error {
	if err := n.run(); err != nil {
		return err
	}
	return c.unseal(ctx, n)
}

// state is what a node says of itself.
type state struct {
	Sealed    bool `json:"sealed"`
	Standby   bool `json:"standby"`
	Connected bool `json:"ha_connection_healthy"`
}

func (c *Cluster) health(ctx context.Context, n *Node) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var h state
	err := c.ask(ctx, n, http.MethodGet, "sys/health?standbyok=true&sealedcode=200&uninitcode=200", "", &h)
	return h, err
}

// ask sends root's request to one node and decodes the answer into out, unless that
// is nil.
func (c *Cluster) ask(ctx context.Context, n *Node, method, path, body string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, n.Address+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking %s: %w", n.ID, err)
	}
	req.Header.Set("X-Vault-Token", c.Token)
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("asking %s: %w", n.ID, err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("asking %s: %w", n.ID, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s at %s: %d %s", method, path, n.ID, resp.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s %s at %s: %w", method, path, n.ID, err)
	}
	return nil
}

// until polls until f succeeds.
func (c *Cluster) until(ctx context.Context, what string, f func() error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("never happened: %s: %w\n%s", what, err, c.Nodes[0].Log())
		case <-tick.C:
		}
	}
}

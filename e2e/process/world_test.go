// Package process tests vrproxy as a process: what it may do, what it takes of the
// machine, and how one takes over from another.
package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

const (
	patience = 30 * time.Second // for what has to happen some time
	region   = "eu-west"
)

// TestMain hands the folder of the binaries to the tests in the environment.
const envBinaries = "VRPROXY_E2E_RUN_PROCESS"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vrproxy-process-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "process:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// The binary must be readable to the users that it runs as.
	err = errors.Join(os.Chmod(dir, 0o755), build(dir, "vrproxy", "../..", "./cmd/vrproxy"), build(dir, "confine", ".", "./confine"), os.Setenv(envBinaries, dir)) //nolint:gosec // see above
	if err != nil {
		fmt.Fprintln(os.Stderr, "process:", err)
		return 1
	}
	return m.Run()
}

// build builds as it is released.
func build(dir, name, module, what string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(dir, name), what)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, said)
	}
	return nil
}

func binary(name string) string { return filepath.Join(os.Getenv(envBinaries), name) }

// asRoot skips what only root can set up.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can set up what the process is confined to; run this as root")
	}
}

func newLab(t *testing.T) *lab.Lab {
	t.Helper()
	return labtest.Start(t, lab.Config{Region: region})
}

// configuration is YAML for the clusters of a laboratory.
func configuration(l *lab.Lab, extra string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "region: %s\nhealth: {interval: 500ms, timeout: 400ms}\nadmin: {address: \"127.0.0.1:0\"}\n%s\nclusters:\n", region, extra)
	for _, c := range l.Clusters() {
		fmt.Fprintf(&b, "  - {name: %s, region: %s, addresses: [%q]", c.Name(), c.Region(), c.Address())
		if strings.HasSuffix(c.Name(), "-dr") {
			fmt.Fprintf(&b, ", dr_of: %s", strings.TrimSuffix(c.Name(), "-dr"))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// process is one running vrproxy.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan error
	said ready

	mu    sync.Mutex
	lines []string
}

// ready is what it says when it is.
type ready struct {
	Msg       string   `json:"msg"`
	Listeners []string `json:"listeners"`
	Admin     string   `json:"admin"`
}

// start runs a command and waits until it is ready.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan error, 1)}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			p.mu.Unlock()
		}
		p.done <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		if t.Failed() {
			t.Log(p.log())
		}
	})
	eventually(t, "ready", func() bool {
		select {
		case err := <-p.done:
			t.Fatalf("it ended: %v\n%s", err, p.log())
		default:
		}
		return p.says("ready") != ""
	})
	if err := json.Unmarshal([]byte(p.says("ready")), &p.said); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// says gives the first log line with a message.
func (p *process) says(msg string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if strings.Contains(l, `"msg":"`+msg+`"`) {
			return l
		}
	}
	return ""
}

// end sends SIGTERM and waits for a clean end.
func (p *process) end() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Fatalf("it did not end cleanly: %v\n%s", err, p.log())
		}
	case <-time.After(patience):
		p.t.Fatalf("it did not end within %s\n%s", patience, p.log())
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-tick.C
	}
}

// ask sends a request with the laboratory's root token, and gives status and body.
func ask(ctx context.Context, c *http.Client, method, url, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("X-Vault-Token", lab.RootToken)
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

func want(t *testing.T, c *http.Client, method, url, body string, status int, text string) {
	t.Helper()
	got, answer, err := ask(t.Context(), c, method, url, body)
	if err != nil || got != status || !strings.Contains(answer, text) {
		t.Fatalf("%s %s: %d %.500s, %v; want %d and %q", method, url, got, answer, err, status, text)
	}
}

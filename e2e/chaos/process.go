package chaos

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a proxy that runs on its own.
type process struct{ admin string }

// footprint is what a leak would show in; bytes, where it is memory. heap is what was in use
// after the last garbage collection.
type footprint struct{ goroutines, files, heap, resident float64 }

// spawn builds the proxy and runs it before the world's lines until the test ends.
func (w *world) spawn(t *testing.T) process {
	t.Helper()
	dir := t.TempDir()
	binary, file := filepath.Join(dir, "vrproxy"), filepath.Join(dir, "vrproxy.yaml")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "./cmd/vrproxy")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the proxy: %v\n%s", err, out)
	}
	listener, admin := free(t), free(t)
	if err := os.WriteFile(file, []byte(w.configuration(listener, admin)+"log: {level: error}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(binary, "run", "-c", file) //nolint:noctx // it is stopped below, with SIGTERM
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the proxy ended with %v:\n%s", err, &said)
		}
	})
	w.url = "http://" + listener
	p := process{admin: "http://" + admin}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if status, _ := p.get(t.Context(), "/readiness"); status == http.StatusOK {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("the proxy does not become ready:\n%s", &said)
		}
	}
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p process) get(ctx context.Context, path string) (int, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+path, nil)
	if err != nil {
		return 0, ""
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // what is missing is missed by measure
	return resp.StatusCode, string(body)
}

// measure reads the proxy's own metrics.
func (p process) measure(t *testing.T) footprint {
	t.Helper()
	_, metrics := p.get(t.Context(), "/metrics")
	value := func(name string) float64 {
		for line := range strings.Lines(metrics) {
			if text, ok := strings.CutPrefix(line, name+" "); ok {
				v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
				if err == nil {
					return v
				}
			}
		}
		t.Errorf("the proxy does not tell its %s", name)
		return 0
	}
	// The next collection is due when as much again has been allocated as was in use.
	return footprint{value("go_goroutines"), value("process_open_fds"), value("go_memstats_next_gc_bytes") / 2, value("process_resident_memory_bytes")}
}

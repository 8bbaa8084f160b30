package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	startWithin = 60 * time.Second // a cold binary of this size takes its time
	startTries  = 3                // with another port each
	pollEvery   = 20 * time.Millisecond
	logTail     = 2 << 10 // of the server's output in an error
)

// ErrDown is returned while the process does not run or does not answer.
var ErrDown = errors.New("the Vault process is not reachable")

// ServerConfig describes a Server. All of it is required.
type ServerConfig struct {
	Bin       string        // the vault binary
	Name      string        // of the cluster
	APIAddr   func() string // where clients find the cluster
	RootToken string        // made at the first start, never expires
	Gone      func()        // called when the process ended without Kill
}

// Server is a Vault process and its storage.
type Server struct {
	cfg     ServerConfig
	dir     string
	address string // host:port, the same in all lives
	client  *http.Client

	mu   sync.Mutex
	proc *process // nil: killed
	key  string   // for unsealing
}

// NewServer makes the storage of a server, which Close removes.
func NewServer(cfg ServerConfig) (*Server, error) {
	bin, err := filepath.Abs(cfg.Bin) // the process runs in another directory
	if err != nil {
		return nil, fmt.Errorf("finding the Vault binary: %w", err)
	}
	cfg.Bin = bin
	dir, err := os.MkdirTemp("", "vrproxy-lab-"+cfg.Name+"-")
	if err != nil {
		return nil, fmt.Errorf("making a storage for Vault: %w", err)
	}
	return &Server{cfg: cfg, dir: dir, client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// PID is the process's id, 0 when none runs.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// Start starts the process and waits until it serves. The first time it is
// initialised, later it finds its data again.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	first := s.key == ""
	err := s.startOnce(ctx)
	for i := 1; first && err != nil && i < startTries; i++ { // someone may have taken the port
		s.Kill()
		s.address, s.key = "", ""
		_ = os.RemoveAll(filepath.Join(s.dir, "data"))
		err = s.startOnce(ctx)
	}
	if err != nil {
		s.Kill()
		return fmt.Errorf("starting the Vault of %s: %w%s", s.cfg.Name, err, s.tail())
	}
	return nil
}

func (s *Server) startOnce(ctx context.Context) error {
	if err := s.configure(ctx); err != nil {
		return err
	}
	output, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }() // the process has its own descriptor
	p, err := startProcess(s.cfg.Bin, s.dir, filepath.Join(s.dir, "vault.json"), output, s.cfg.Gone)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	return s.open(ctx, p)
}

// configure writes the server's configuration.
func (s *Server) configure(ctx context.Context) error {
	if s.address == "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("finding a free port: %w", err)
		}
		s.address = l.Addr().String()
		_ = l.Close() // only its number was wanted
	}
	raw, err := json.Marshal(map[string]any{
		"disable_mlock": true, "api_addr": s.cfg.APIAddr(), "log_level": "warn",
		"storage":  map[string]any{"file": map[string]any{"path": filepath.Join(s.dir, "data")}},
		"listener": map[string]any{"tcp": map[string]any{"address": s.address, "tls_disable": true}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "vault.json"), raw, 0o600)
}

// open initialises and unseals the server.
func (s *Server) open(ctx context.Context, p *process) error {
	if err := s.until(ctx, p, "sys/seal-status", http.StatusOK); err != nil {
		return err
	}
	root := ""
	if s.key == "" {
		var made struct {
			Keys []string `json:"keys"`
			Root string   `json:"root_token"`
		}
		if err := s.call(ctx, "", http.MethodPut, "sys/init", `{"secret_shares":1,"secret_threshold":1}`, &made); err != nil {
			return err
		}
		s.key, root = made.Keys[0], made.Root
	}
	if err := s.call(ctx, "", http.MethodPut, "sys/unseal", fmt.Sprintf(`{"key":%q}`, s.key), nil); err != nil {
		return err
	}
	if err := s.until(ctx, p, "sys/health", http.StatusOK); err != nil || root == "" {
		return err
	}
	return s.call(ctx, root, http.MethodPost, "auth/token/create", fmt.Sprintf(`{"id":%q,"policies":["root"],"no_parent":true}`, s.cfg.RootToken), nil)
}

// until polls a path until it answers with a status.
func (s *Server) until(ctx context.Context, p *process, path string, status int) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		resp, err := s.Do(ctx, Request{Method: http.MethodGet, Path: path})
		if err == nil && resp.Status == status {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", path, ctx.Err())
		case <-p.done:
			return fmt.Errorf("waiting for %s: the process ended", path)
		case <-tick.C:
		}
	}
}

// call sends JSON and reads JSON; an answer that tells of a failure is an error.
func (s *Server) call(ctx context.Context, token, method, path, body string, out any) error {
	resp, err := s.Do(ctx, Request{Method: method, Path: path, Body: []byte(body), Header: http.Header{"X-Vault-Token": {token}}})
	if err != nil {
		return err
	}
	if resp.Status >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %d: %s", method, path, resp.Status, bytes.TrimSpace(resp.Body))
	}
	if out == nil || len(resp.Body) == 0 {
		return nil
	}
	if err := json.Unmarshal(resp.Body, out); err != nil {
		return fmt.Errorf("%s %s: reading the answer: %w", method, path, err)
	}
	return nil
}

// tail is the end of what the server wrote.
func (s *Server) tail() string {
	raw, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil || len(raw) == 0 {
		return ""
	}
	return "\n" + string(raw[max(0, len(raw)-logTail):])
}

// Kill ends the process with SIGKILL. Its storage stays.
func (s *Server) Kill() {
	s.mu.Lock()
	p := s.proc
	s.proc = nil
	s.mu.Unlock()
	if p != nil {
		p.kill()
	}
	s.client.CloseIdleConnections()
}

// Freeze stops the process, or lets it go on, without its noticing.
func (s *Server) Freeze(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.freeze(yes)
	}
}

// Close kills the process and removes its storage.
func (s *Server) Close() {
	s.Kill()
	_ = os.RemoveAll(s.dir) // a temporary directory; the system removes it at last
}

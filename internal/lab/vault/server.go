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
	key  string   // for unsealing; empty: the storage is not initialised
	root string   // the first root token, until the configured one is made
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

// Init makes keys and a first root token in the storage. The server is not
// running before nor after.
func (s *Server) Init(ctx context.Context) error {
	return s.started(ctx, startTries, func(ctx context.Context, p *process) error {
		defer s.Kill() // sealed, so that nothing is being written
		if err := s.until(ctx, p, "sys/seal-status", http.StatusOK); err != nil {
			return err
		}
		var made struct {
			Keys []string `json:"keys"`
			Root string   `json:"root_token"`
		}
		if err := s.call(ctx, "", http.MethodPut, "sys/init", `{"secret_shares":1,"secret_threshold":1}`, &made); err != nil {
			return err
		}
		s.key, s.root = made.Keys[0], made.Root
		return nil
	})
}

// Clone copies the storage of a server that was initialised and never started.
// Both have the same keys then, as the clusters of a replication set have: what is
// valid by its encryption alone, an orphan batch token, is valid on both.
func (s *Server) Clone(from *Server) error {
	if err := os.CopyFS(s.data(), os.DirFS(from.data())); err != nil {
		return fmt.Errorf("copying the storage of %s: %w", from.cfg.Name, err)
	}
	s.key, s.root = from.key, from.root
	return nil
}

// Start starts the process and waits until it serves. A storage without keys is
// initialised first.
func (s *Server) Start(ctx context.Context) error {
	if s.key == "" {
		if err := s.Init(ctx); err != nil {
			return err
		}
	}
	tries := 1 // clients know its address
	if s.root != "" {
		tries = startTries
	}
	return s.started(ctx, tries, s.open)
}

// started starts the process and does something with it. Someone may have taken the
// port, so it is tried with several.
func (s *Server) started(ctx context.Context, tries int, then func(context.Context, *process) error) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	var err error
	for i := range tries {
		if i > 0 {
			s.address = ""
		}
		if s.key == "" {
			_ = os.RemoveAll(s.data()) // keys that nobody knows
		}
		if err = s.startOnce(ctx, then); err == nil {
			return nil
		}
		s.Kill()
	}
	return fmt.Errorf("starting the Vault of %s: %w%s", s.cfg.Name, err, s.tail())
}

func (s *Server) startOnce(ctx context.Context, then func(context.Context, *process) error) error {
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
	return then(ctx, p)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

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
		"storage":  map[string]any{"file": map[string]any{"path": s.data()}},
		"listener": map[string]any{"tcp": map[string]any{"address": s.address, "tls_disable": true}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "vault.json"), raw, 0o600)
}

// open unseals the server and, the first time, makes the configured root token.
func (s *Server) open(ctx context.Context, p *process) error {
	if err := s.until(ctx, p, "sys/seal-status", http.StatusOK); err != nil {
		return err
	}
	if err := s.call(ctx, "", http.MethodPut, "sys/unseal", fmt.Sprintf(`{"key":%q}`, s.key), nil); err != nil {
		return err
	}
	if err := s.until(ctx, p, "sys/health", http.StatusOK); err != nil || s.root == "" {
		return err
	}
	body := fmt.Sprintf(`{"id":%q,"policies":["root"],"no_parent":true}`, s.cfg.RootToken)
	err := s.call(ctx, s.root, http.MethodPost, "auth/token/create", body, nil)
	if err == nil {
		s.root = ""
	}
	return err
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

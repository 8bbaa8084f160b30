// Package postgres runs a private PostgreSQL server for tests.
package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrNotInstalled says what is missing.
var ErrNotInstalled = errors.New("PostgreSQL's server programs (initdb, pg_ctl) were not found; install the Debian package postgresql")

// The superuser of every server.
const (
	User     = "postgres"
	Password = "e2e-superuser"
)

// Server is a running server with its data in a temporary directory.
type Server struct {
	Host string // host:port

	bin, dir string
	port     string
	as       []string // prefix of commands that makes them run unprivileged
}

// Start makes a database cluster and serves it on a free loopback port.
func Start(ctx context.Context) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	if err := s.serve(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// binaries is the directory of initdb and pg_ctl, which Debian keeps out of
// PATH. The newest version is taken.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrNotInstalled
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // no number sorts first
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// prepare makes the data directory. PostgreSQL refuses to run as root, so root
// lends the directory to the user that the Debian package made.
func (s *Server) prepare(ctx context.Context) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "vrproxy-e2e-pg-"); err != nil {
		return fmt.Errorf("making a directory for PostgreSQL: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "password"), []byte(Password), 0o644); err != nil {
		return fmt.Errorf("making a directory for PostgreSQL: %w", err)
	}
	if os.Geteuid() == 0 {
		s.as = []string{"runuser", "-u", "postgres", "--"}
		if err := run(ctx, nil, "chown", "-R", "postgres", s.dir); err != nil {
			return err
		}
	}
	return run(ctx, s.as, filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", User, "--auth=scram-sha-256",
		"--pwfile="+filepath.Join(s.dir, "password"), "--encoding=UTF8", "--no-locale", "--no-sync")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) serve(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("finding a free port: %w", err)
	}
	s.Host = l.Addr().String()
	_ = l.Close() // only its number was wanted
	_, s.port, _ = net.SplitHostPort(s.Host)
	options := fmt.Sprintf("-p %s -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s -c fsync=off -c max_connections=200", s.port, s.dir)
	return run(ctx, s.as, filepath.Join(s.bin, "pg_ctl"), "-D", s.data(), "-l", filepath.Join(s.dir, "log"), "-w", "-t", "60", "-o", options, "start")
}

// URL is a connection string for a user of the database postgres.
func (s *Server) URL(user, password string) string {
	return fmt.Sprintf("postgresql://%s:%s@%s/postgres?sslmode=disable", user, password, s.Host)
}

// Stop ends the server and removes its data. ctx should outlive what the server
// was started for.
func (s *Server) Stop(ctx context.Context) error {
	var err error
	if s.Host != "" {
		err = run(ctx, s.as, filepath.Join(s.bin, "pg_ctl"), "-D", s.data(), "-w", "-m", "immediate", "stop")
	}
	if s.dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// run runs a command with a prefix. The output goes to a file: pg_ctl leaves the
// server behind, which would keep a pipe open.
func run(ctx context.Context, prefix []string, command ...string) error {
	out, err := os.CreateTemp("", "vrproxy-e2e-out-")
	if err != nil {
		return fmt.Errorf("running %s: %w", command[0], err)
	}
	defer func() { _, _ = out.Close(), os.Remove(out.Name()) }() // it was read, or is of no use
	all := append(slices.Clone(prefix), command...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Dir = "/" // where every user may be
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("running %s: %w: %s", filepath.Base(command[0]), err, bytes.TrimSpace(said))
	}
	return nil
}

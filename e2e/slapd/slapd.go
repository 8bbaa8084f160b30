// Package slapd runs a private OpenLDAP server for tests.
package slapd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrNotInstalled says what is missing.
var ErrNotInstalled = errors.New("OpenLDAP's server (slapd) was not found; install the Debian package slapd")

// What every server has: one person, who is in one group, and an account that may
// look for both.
const (
	Base         = "dc=example,dc=org"
	People       = "ou=people," + Base // by uid
	Groups       = "ou=groups," + Base // by member
	Bind         = "cn=vault," + Base
	BindPassword = "e2e-bind"
	User         = "ann"
	Password     = "e2e-ann"
	Group        = "readers"
)

const (
	upWithin   = 20 * time.Second
	downWithin = 5 * time.Second
	pollEvery  = 20 * time.Millisecond
)

// directory is the content.
const directory = `
dn: ` + Base + `
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: ` + People + `
objectClass: organizationalUnit

dn: ` + Groups + `
objectClass: organizationalUnit

dn: ` + Bind + `
objectClass: applicationProcess
objectClass: simpleSecurityObject
userPassword: ` + BindPassword + `

dn: uid=` + User + `,` + People + `
objectClass: inetOrgPerson
cn: Ann Example
sn: Example
userPassword: ` + Password + `

dn: cn=` + Group + `,` + Groups + `
objectClass: groupOfNames
member: uid=` + User + `,` + People + `
`

// Server is a running server with its data in a temporary directory.
type Server struct {
	URL string

	dir     string
	cmd     *exec.Cmd
	said    bytes.Buffer // by the process; read it after done
	done    chan struct{}
	account []string // the arguments that make root's server unprivileged
}

// Start makes a directory and serves it on a free loopback port.
func Start(ctx context.Context) (*Server, error) {
	bin, err := binary()
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if err := s.prepare(ctx, bin); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.serve(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// binary finds slapd, which Debian keeps where only root's PATH leads.
func binary() (string, error) {
	for _, name := range []string{"slapd", "/usr/sbin/slapd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

// prepare makes the configuration and the data.
func (s *Server) prepare(ctx context.Context, bin string) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "vrproxy-e2e-slapd-"); err != nil {
		return fmt.Errorf("making a directory for slapd: %w", err)
	}
	// Where AppArmor is in force it keeps the installed binary, known by its path, out
	// of a temporary directory.
	if err := copyProgram(s.bin(), bin); err != nil {
		return err
	}
	if err := os.Mkdir(s.path("data"), 0o700); err != nil {
		return fmt.Errorf("making a directory for slapd: %w", err)
	}
	for name, text := range map[string]string{"slapd.conf": s.configuration(), "content.ldif": directory} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("configuring slapd: %w", err)
		}
	}
	if err := run(ctx, s.bin(), "-T", "add", "-f", s.path("slapd.conf"), "-l", s.path("content.ldif")); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	s.account = []string{"-u", "openldap", "-g", "openldap"} // the package has made them
	return run(ctx, "chown", "-R", "openldap:openldap", s.dir)
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) bin() string { return s.path("slapd") }

func (s *Server) configuration() string {
	return `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "` + Base + `"
directory "` + s.path("data") + `"
dbnosync
access to attrs=userPassword by anonymous auth
access to * by dn.exact="` + Bind + `" read
`
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copying slapd: %w", err)
	}
	defer func() { _ = in.Close() }() // nothing was written
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return fmt.Errorf("copying slapd: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copying slapd: %w", err)
	}
	return nil
}

// serve starts the process and waits until it takes connections.
func (s *Server) serve(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("finding a free port: %w", err)
	}
	address := l.Addr().String()
	_ = l.Close() // only its number was wanted
	s.URL = "ldap://" + address
	// -d keeps it in the foreground; 0 says nothing but errors.
	cmd := exec.Command(s.bin(), append([]string{"-f", s.path("slapd.conf"), "-h", s.URL, "-d", "0"}, s.account...)...) //nolint:noctx // Stop ends it
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &s.said, &s.said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting slapd: %w", err)
	}
	s.cmd, s.done = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // however it ended, it is gone
		close(s.done)
	}()
	return s.ready(ctx, address)
}

func (s *Server) ready(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, upWithin)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
			return conn.Close()
		}
		select {
		case <-s.done:
			return fmt.Errorf("slapd ended: %s", strings.TrimSpace(s.said.String()))
		case <-ctx.Done():
			return fmt.Errorf("waiting for slapd: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Stop ends the server and removes its data.
func (s *Server) Stop() error {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it only fails when the process has ended
		select {
		case <-s.done:
		case <-time.After(downWithin):
			_ = s.cmd.Process.Kill()
			<-s.done
		}
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/" // where every user may be
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w: %s", filepath.Base(name), err, bytes.TrimSpace(said))
	}
	return nil
}

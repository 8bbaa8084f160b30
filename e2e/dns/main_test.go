// Package dns tests vrproxy's DNS server with the resolvers that stand before it in
// practice, each set up as docs/dns.md says, and with the clients behind them.
//
// All runs in a network namespace of its own, in which the addresses of docs/dns.md
// exist, and in a mount namespace, so that nothing of the machine is changed. The
// clients are in a second network namespace.
package dns

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/e2e/vaultbin"
)

// The test binary runs itself again in the namespaces; these tell it so, and where the
// real parts are.
const (
	envInside   = "VRPROXY_E2E_DNS_INSIDE"
	envProxy    = "VRPROXY_E2E_DNS_PROXY"
	envCoreDNS  = "VRPROXY_E2E_DNS_COREDNS"
	envResolved = "VRPROXY_E2E_DNS_RESOLVED"
	envVault    = "VRPROXY_E2E_DNS_VAULT"
)

// prepareWithin leaves room for a cold build of Vault on a small machine.
const prepareWithin = 45 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(envInside) == "" {
		os.Exit(outside())
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e/dns:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// outside makes the real parts, for which it needs the network, and then runs the tests
// inside.
func outside() int {
	ctx, cancel := context.WithTimeout(context.Background(), prepareWithin)
	defer cancel()
	dir, err := os.MkdirTemp("", "vrproxy-e2e-dns-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e/dns:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := prepare(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e/dns:", err)
		return 1
	}
	args := append([]string{"--net", "--mount", "--propagation", "private", os.Args[0]}, os.Args[1:]...)
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	inside := exec.Command("unshare", args...)
	inside.Env = append(os.Environ(), envInside+"=yes")
	inside.Stdin, inside.Stdout, inside.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := inside.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e/dns: in its network namespace:", err)
		return 1
	}
	return 0
}

// prepare finds or makes the real parts: first what fails fast.
func prepare(ctx context.Context, dir string) error {
	if err := installed(); err != nil {
		return err
	}
	resolved, err := findResolved(ctx, os.Getenv)
	if err != nil {
		return err
	}
	proxy, coredns := filepath.Join(dir, "vrproxy"), filepath.Join(dir, "coredns")
	if err := build(ctx, "../..", "./cmd/vrproxy", proxy); err != nil {
		return err
	}
	if err := build(ctx, "../coredns", ".", coredns); err != nil {
		return err
	}
	vault, err := vaultbin.Finder{Module: "../vault", Getenv: os.Getenv, Out: os.Stderr}.Find(ctx)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{envProxy: proxy, envCoreDNS: coredns, envResolved: resolved, envVault: vault} {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// installed names all that is missing at once.
func installed() error {
	var missing []string
	for program, pkg := range map[string]string{
		"unbound": "unbound", "dnsmasq": "dnsmasq-base", "dig": "bind9-dnsutils",
		"ip": "iproute2", "getent": "libc-bin", "unshare": "util-linux",
	} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("programs are missing; install the Debian packages %s", strings.Join(missing, " "))
	}
	return nil
}

func build(ctx context.Context, module, what, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, what)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s in %s: %w\n%s", what, module, err, said)
	}
	return nil
}

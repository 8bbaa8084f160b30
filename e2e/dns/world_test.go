package dns

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/internal/lab"
)

// The addresses of docs/dns.md.
const (
	proxyAddress    = "10.1.0.53"
	upstreamAddress = "10.0.0.2"      // knows all other names
	frontAddress    = "10.1.0.54"     // the resolver under test
	nodeLocal       = "169.254.20.10" // NodeLocal DNSCache's
	gateway         = "10.9.0.1"      // of the client
	clientAddress   = "10.9.0.2"
)

const patience = 30 * time.Second // for what has to happen some time

// addresses are where the clusters are: all on port 8200, as docs/dns.md advises.
func addresses() map[string]string {
	return map[string]string{"eu-west": "10.1.0.4", "us-west": "10.3.0.4", "us-east": "10.2.0.4"}
}

// furnish puts addresses into the namespace and makes the client's.
func furnish() error {
	lines := []string{
		"ip link set lo up",
		"mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns",
		"ip netns add client",
		"ip link add front type veth peer name eth0 netns client",
		"ip addr add " + gateway + "/24 dev front && ip link set front up",
		"ip -n client addr add " + clientAddress + "/24 dev eth0",
		"ip -n client link set lo up && ip -n client link set eth0 up",
		"ip -n client route add default via " + gateway,
	}
	local := []string{proxyAddress, upstreamAddress, frontAddress, nodeLocal}
	for _, a := range addresses() {
		local = append(local, a)
	}
	for _, a := range local {
		lines = append(lines, "ip addr add "+a+"/32 dev lo")
	}
	for _, line := range lines {
		if said, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s (this needs root, or user namespaces for everybody)", line, err, said)
		}
	}
	return nil
}

// inClient runs a program in the client's namespace with a resolv.conf of its own.
func inClient(t *testing.T, resolvConf string, args ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, file, resolvConf)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	script := []string{"netns", "exec", "client", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, file}
	cmd := exec.CommandContext(ctx, "ip", append(script, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%v: %w: %s%s", args, err, out, stderr.String())
	}
	return strings.TrimSpace(string(out)), err
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// world is clusters with a vrproxy that answers for them.
type world struct {
	lab *lab.Lab
}

// newWorld starts all of it; extra is YAML for dns.
func newWorld(t *testing.T, vaultBin, extra string) *world {
	t.Helper()
	w := &world{lab: startLab(t, vaultBin)}
	var b strings.Builder
	b.WriteString("region: eu-west\nrouting: {failover: [us-west, us-east]}\nlisteners: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\n")
	fmt.Fprintf(&b, "dns: {address: %q, allow: [10.0.0.0/8, 127.0.0.0/8], forward: [%q]%s}\nclusters:\n", proxyAddress+":53", upstreamAddress+":53", extra)
	for _, c := range w.lab.Clusters() {
		fmt.Fprintf(&b, "  - {name: %s, region: %s, addresses: [%q]}\n", c.Name(), c.Region(), c.Address())
	}
	file := filepath.Join(t.TempDir(), "vrproxy.yaml")
	write(t, file, b.String())
	background(t, os.Getenv(envProxy), "run", "-c", file)
	eventually(t, "vrproxy answers", func() bool {
		return slices.Equal(ask(proxyAddress, "vault.internal."), []string{addresses()["eu-west"]})
	})
	return w
}

func startLab(t *testing.T, vaultBin string) *lab.Lab {
	t.Helper()
	cfg := lab.Config{VaultBin: vaultBin, Region: "eu-west"}
	for _, name := range []string{"us-east", "us-west", "eu-west"} {
		role := "secondary"
		if name == "us-east" {
			role = "primary"
		}
		cfg.Clusters = append(cfg.Clusters, lab.ClusterConfig{Name: name, Region: name, Role: role, Address: addresses()[name] + ":8200"})
	}
	l, err := lab.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running the lab: %v", err)
		}
	})
	return l
}

// background runs a program until the test ends, and shows what it said if that failed.
func background(t *testing.T, args ...string) {
	t.Helper()
	var said safeBuffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	var stopping atomic.Bool
	go func() {
		err := cmd.Wait()
		if !stopping.Load() {
			t.Errorf("%s ended: %v", filepath.Base(args[0]), err)
		}
		done <- err
	}()
	t.Cleanup(func() {
		stopping.Store(true)
		_ = cmd.Process.Signal(syscall.SIGTERM) // it only fails when it has ended, which done tells
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		<-done
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(args[0]), said.String())
		}
	})
}

// safeBuffer is written by a process and read by a test.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// query asks a server once.
func query(server string, m *dns.Msg) (*dns.Msg, error) {
	resp, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(m, net.JoinHostPort(server, "53"))
	return resp, err
}

// ask gives the addresses that a server answers with; nil for anything but an answer.
func ask(server, name string) (out []string) {
	resp, err := query(server, new(dns.Msg).SetQuestion(name, dns.TypeA))
	if err != nil || resp.Rcode != dns.RcodeSuccess {
		return nil
	}
	for _, rr := range resp.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	return out
}

// eventually polls until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !f() {
		if t.Failed() { // a process has ended
			t.FailNow()
		}
		select {
		case <-deadline.C:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// upstream is the resolver that knows all other names: a real unbound with names of its
// own.
func upstream(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	big := ""
	for i := range 20 {
		big += fmt.Sprintf("    local-data: 'big.corp. 60 TXT \"%d %s\"'\n", i, strings.Repeat("x", 200))
	}
	write(t, filepath.Join(dir, "unbound.conf"), unboundBase(dir, upstreamAddress)+`
    local-zone: "corp." static
    local-data: "corp. 60 SOA ns.corp. host.corp. 1 60 60 60 30"
    local-data: "www.corp. 60 A 192.0.2.80"
    local-data: "odd.corp. 60 TYPE65280 \# 3 010203"
    local-zone: "cluster.local." static
    local-data: "cluster.local. 60 SOA ns.corp. host.corp. 1 60 60 60 30"
`+big)
	background(t, "unbound", "-d", "-c", filepath.Join(dir, "unbound.conf"))
	eventually(t, "the upstream answers", func() bool { return ask(upstreamAddress, "www.corp.") != nil })
}

// unboundBase is what any unbound in a test needs.
func unboundBase(dir, address string) string {
	return fmt.Sprintf(`server:
    interface: %s
    access-control: 10.0.0.0/8 allow
    do-daemonize: no
    username: ""
    chroot: ""
    directory: %q
    pidfile: ""
    use-syslog: no
    module-config: "iterator"
remote-control:
    control-enable: no
server:
`, address, dir)
}

// example is the code block below a heading of docs/dns.md, as it stands there.
func example(t *testing.T, heading string) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/dns.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(raw), "\n### "+heading+"\n")
	if !ok {
		t.Fatalf("docs/dns.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n### ")
	parts := strings.SplitN(section, "\n```", 3)
	if len(parts) < 3 {
		t.Fatalf("the section %q of docs/dns.md has no example", heading)
	}
	_, block, _ := strings.Cut(parts[1], "\n")
	return block + "\n"
}

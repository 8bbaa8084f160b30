package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// command is one run of the program, in this process.
type command struct {
	out, errs syncBuffer
	signals   chan os.Signal
	exit      chan int
}

func start(env map[string]string, args ...string) *command {
	c := &command{signals: make(chan os.Signal, 4), exit: make(chan int, 1)}
	p := Process{Getenv: func(k string) string { return env[k] }, Stdout: &c.out, Stderr: &c.errs, Signals: c.signals}
	go func() { c.exit <- Main(args, p) }()
	return c
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "vrproxy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestVersion(t *testing.T) {
	t.Parallel()
	c := start(nil, "version")
	if code := <-c.exit; code != 0 || !regexp.MustCompile(`^vrproxy \S+ \(commit \S+, go1\.\d+`).MatchString(c.out.String()) {
		t.Errorf("%d %q", code, c.out.String())
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ args, want string }{
		{"frobnicate", `unknown command "frobnicate"`},
		{"run --frobnicate", "unknown flag: --frobnicate"},
		{"run", "no configuration"},
		{"check -c /nowhere/at/all.yaml", "/nowhere/at/all.yaml:1: the file can't be read"},
	} {
		c := start(nil, strings.Fields(tc.args)...)
		if code := <-c.exit; code != 2 || !strings.Contains(c.errs.String(), tc.want) {
			t.Errorf("%s: exit %d, %q", tc.args, code, c.errs.String())
		}
	}
}

func TestCheckReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	file := write(t, "regoin: eu-west\nclusters:\n  - name: a\n    region: r\n    addresses: [\"ftp://x\"]\n    tls: {ca_file: missing.pem}\n")
	c := start(nil, "check", "-c", file)
	code := <-c.exit
	lines := strings.Split(strings.TrimSpace(c.errs.String()), "\n")
	if code != 2 || len(lines) < 2 {
		t.Fatalf("exit %d: %s", code, c.errs.String())
	}
	for _, l := range lines {
		if !regexp.MustCompile(`^` + regexp.QuoteMeta(file) + `:\d+: .+`).MatchString(l) {
			t.Errorf("not FILE:LINE: message: %q", l)
		}
	}
}

func TestCertificateFiles(t *testing.T) {
	t.Parallel()
	file := write(t, "region: r\nclusters:\n  - name: a\n    region: r\n    addresses: [\"https://127.0.0.1:1\"]\n    tls: {ca_file: ca.pem}\n")
	message := file + ":6: clusters[0].tls: "
	for _, tc := range []struct {
		name, pem string
		args      []string
		code      int
		want      string
	}{
		{"missing, where it may not have to be", "", []string{"check"}, 0, message + "warning: "},
		{"missing, where it is needed", "", []string{"check", "--connect"}, 2, message},
		{"missing at start", "", []string{"run"}, 2, message},
		{"not a certificate", "hello", []string{"check"}, 2, message},
	} {
		if tc.pem != "" {
			if err := os.WriteFile(filepath.Join(filepath.Dir(file), "ca.pem"), []byte(tc.pem), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := start(nil, append(tc.args, "-c", file)...)
		if code := <-c.exit; code != tc.code || !strings.Contains(c.errs.String(), tc.want) {
			t.Errorf("%s: exit %d: %s", tc.name, code, c.errs.String())
		}
	}
}

func TestCheckConnect(t *testing.T) {
	t.Parallel()
	w := &world{tb: t, lab: labtest.Start(t, lab.Config{Region: "eu-west"})}
	good := write(t, w.yaml("identity: {method: approle, options: {role_id: demo, secret_id: demo}}"))
	c := start(nil, "check", "--connect", "-c", good)
	if code := <-c.exit; code != 0 || strings.Count(c.out.String(), "login ok") != 3 {
		t.Errorf("exit %d: %s%s", code, c.out.String(), c.errs.String())
	}
	bad := write(t, w.yaml("identity: {method: approle, options: {role_id: demo, secret_id: wrong}}"))
	c = start(nil, "check", "--connect", "-c", bad)
	if code := <-c.exit; code != 1 || !strings.Contains(c.out.String(), "cannot be repeated") && !strings.Contains(c.out.String(), "invalid") {
		t.Errorf("exit %d: %s%s", code, c.out.String(), c.errs.String())
	}
	if strings.Contains(c.out.String()+c.errs.String(), "wrong") {
		t.Errorf("the secret id is shown: %s", c.out.String())
	}
}

func TestRunUntilSignal(t *testing.T) {
	t.Parallel()
	w := &world{tb: t, lab: labtest.Start(t, lab.Config{Region: "eu-west"})}
	file := write(t, w.yaml(""))
	c := start(nil, "run", "-c", file)
	eventually(t, "ready", func() bool { return strings.Contains(c.errs.String(), `"msg":"ready"`) })
	c.signals <- syscall.SIGHUP
	eventually(t, "reloaded", func() bool { return strings.Contains(c.errs.String(), "configuration reloaded") })
	if err := os.WriteFile(file, []byte("region: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.signals <- syscall.SIGHUP
	eventually(t, "the bad file is refused", func() bool {
		return strings.Contains(c.errs.String(), "the old configuration stays in use") && strings.Contains(c.errs.String(), file+":1: ")
	})
	c.signals <- syscall.SIGTERM
	if code := <-c.exit; code != 0 {
		t.Errorf("exit %d: %s", code, c.errs.String())
	}
}

func TestWatchReloads(t *testing.T) {
	t.Parallel()
	w := &world{tb: t, lab: labtest.Start(t, lab.Config{Region: "eu-west"})}
	file := write(t, w.yaml(""))
	c := start(nil, "run", "--watch", "-c", file)
	eventually(t, "ready", func() bool { return strings.Contains(c.errs.String(), `"msg":"ready"`) })
	if err := os.WriteFile(file, []byte(w.yaml("log: {level: debug}")), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reloaded", func() bool { return strings.Contains(c.errs.String(), "configuration reloaded") })
	c.signals <- syscall.SIGINT
	if code := <-c.exit; code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestSignalBeforeReady(t *testing.T) {
	t.Parallel()
	for signal, want := range map[os.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		w := &world{tb: t, lab: labtest.Start(t, lab.Config{Region: "eu-west"})}
		w.lab.Cluster("us-east").Blackhole()
		c := start(nil, "run", "-c", write(t, w.yaml("health: {interval: 20s, timeout: 20s}")))
		c.signals <- signal
		if code := <-c.exit; code != want {
			t.Errorf("%v: exit %d, want %d: %s", signal, code, want, c.errs.String())
		}
	}
}

func TestBusyPortIsARuntimeFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	other := strings.Replace(w.yaml(""), `listeners: [{address: "127.0.0.1:0"}]`, `listeners: [{address: "`+w.app.Addresses()[0]+`"}]`, 1)
	c := start(nil, "run", "-c", write(t, other))
	if code := <-c.exit; code != 1 || !strings.Contains(c.errs.String(), "address already in use") {
		t.Errorf("exit %d: %s", code, c.errs.String())
	}
}

func TestDevShowsAWorkingScreen(t *testing.T) {
	t.Parallel()
	c := start(nil, "dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dns", "127.0.0.1:0", "--lab-port", "0", "--latency=false")
	eventually(t, "the screen", func() bool { return strings.Contains(c.out.String(), "Ctrl-C") })
	addr := regexp.MustCompile(`export VAULT_ADDR=(\S+)`).FindStringSubmatch(c.out.String())
	req, err := http.NewRequestWithContext(t.Context(), "GET", addr[1]+"/v1/secret/data/hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", "root")
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("X-Vrproxy-Cluster") != "eu-west" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	c.signals <- syscall.SIGINT
	if code := <-c.exit; code != 0 {
		t.Errorf("exit %d: %s", code, c.errs.String())
	}
}

// A reload under load drops nothing, keeps sessions and drained clusters, and says
// what needs a restart.
func TestReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	if err := w.app.cores.p.Load().checker.Drain("us-west"); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if r, err := w.try("GET", "secret/data/hello", ""); err != nil || r.status != 200 {
				t.Errorf("a read failed during a reload: %v %d %s", err, r.status, r.body)
			}
		}
	}()
	next := w.config("routing: {never: [eu-west]}\nsessions: {max: 17}")
	if err := w.app.Reload(context.Background(), next); err != nil {
		t.Fatal(err)
	}
	w.want(w.do("GET", "secret/data/hello", ""), 200, "us-east")
	close(stop)
	<-done
	w.state("us-west", health.StateDrained)
	if !strings.Contains(w.logs.String(), "next restart") {
		t.Error("nothing said about sessions")
	}
}

// The DNS server comes, changes, moves and goes with the configuration.
func TestReloadDNS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	reload := func(extra string) error { return w.app.Reload(context.Background(), w.config(extra)) }
	answers := func(about, name, prefix string) { // in the end: on a busy machine probes may fail
		t.Helper()
		eventually(t, about, func() bool {
			m, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion(name, dns.TypeTXT), w.app.DNSAddress())
			return err == nil && len(m.Answer) == 1 && strings.HasPrefix(m.Answer[0].(*dns.TXT).Txt[0], prefix)
		})
	}
	const block = "dns: {address: \"127.0.0.1:0\", forward: [], zone: %s}"
	if err := reload(fmt.Sprintf(block, "vault.internal.")); err != nil {
		t.Fatal(err)
	}
	before := w.app.DNSAddress()
	answers("the server has started", "vault.internal.", "cluster=eu-west ")
	if err := reload(fmt.Sprintf(block, "vault.corp.") + "\nrouting: {never: [eu-west]}"); err != nil {
		t.Fatal(err)
	}
	answers("it has changed", "vault.corp.", "cluster=us-")
	if now := w.app.DNSAddress(); now != before {
		t.Errorf("at %s, before at %s", now, before)
	}
	if err := reload("dns: {address: \"127.0.0.1:0\", forward: [/nonexistent/resolv.conf]}"); err == nil {
		t.Error("a resolv.conf that does not exist was accepted")
	}
	answers("it is as it was", "vault.corp.", "cluster=us-")
	if err := reload("dns: {address: \"127.0.0.2:0\", forward: []}"); err != nil {
		t.Fatal(err)
	}
	answers("it has moved", "vault.internal.", "cluster=eu-west ")
	if now := w.app.DNSAddress(); !strings.HasPrefix(now, "127.0.0.2:") {
		t.Errorf("moved to %s", now)
	}
	if err := reload(""); err != nil || w.app.DNSAddress() != "" {
		t.Errorf("gone: %v, still at %q", err, w.app.DNSAddress())
	}
}

func TestUnixSocketAndTLSKeepTheirModes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "vault.sock")
	w := newWorld(t, "listeners: [{address: \"127.0.0.1:0\"}, {address: \"unix://"+path+"\", mode: \"0600\"}]")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if got := w.app.Addresses()[1]; got != path {
		t.Errorf("bound %s", got)
	}
}

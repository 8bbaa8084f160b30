package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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
	nearest  = "eu-west"        // the region of the proxy
)

// world is three real Vaults in three regions, with a proxy in front.
type world struct {
	t     *testing.T
	lab   *lab.Lab
	http  *http.Client
	proxy string // URL of its first listener
	home  string // of the vault CLI
	log   *proxyLog
	said  ready
	stop  func() // ends the proxy before the test does
}

// ready is what the proxy says when it is.
type ready struct {
	Msg       string   `json:"msg"`
	Listeners []string `json:"listeners"`
	Admin     string   `json:"admin"`
}

func clusters() []lab.ClusterConfig {
	return []lab.ClusterConfig{
		{Name: "us-east", Region: "us-east", Role: "primary"},
		{Name: "us-west", Region: "us-west", Role: "secondary"},
		{Name: nearest, Region: nearest, Role: "secondary"},
	}
}

// newWorld starts all of it. extra is YAML added to the proxy's configuration.
func newWorld(t *testing.T, extra string) *world {
	t.Helper()
	w := &world{t: t, home: t.TempDir(), http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: patience,
	}}
	t.Cleanup(w.http.CloseIdleConnections)
	w.lab = labtest.Start(t, lab.Config{VaultBin: os.Getenv(envVault), Clusters: clusters(), Region: nearest, Latency: true})
	w.startProxy(extra)
	return w
}

// common is in each configuration.
const common = `
admin: {address: "127.0.0.1:0"}
health: {interval: 500ms, timeout: 400ms}
shutdown: {drain_timeout: 5s}
log: {level: debug}
`

func (w *world) configuration(region, extra string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "region: %s\nlisteners: [{address: \"127.0.0.1:0\"}]\n%s%s\nclusters:\n", region, common, extra)
	for _, c := range w.lab.Clusters() {
		fmt.Fprintf(&b, "  - {name: %s, region: %s, addresses: [%q]}\n", c.Name(), c.Region(), c.Address())
	}
	return b.String()
}

// proxyLog keeps what the proxy writes and finds the address in it.
type proxyLog struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *proxyLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines.WriteString(line + "\n")
}

func (l *proxyLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// startProxy runs the proxy of the nearest region until the test ends.
func (w *world) startProxy(extra string) {
	w.t.Helper()
	w.run(w.configuration(nearest, extra))
}

// proxyIn is the same world as seen through another proxy, in another region.
func (w *world) proxyIn(region string) *world {
	w.t.Helper()
	there := *w
	there.run(w.configuration(region, ""))
	return &there
}

// run runs `vrproxy run` until the test ends.
func (w *world) run(configuration string) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "vrproxy.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(os.Getenv(envProxy), "run", "-c", file)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	log, up, ended := &proxyLog{}, make(chan ready, 1), make(chan struct{})
	go log.read(stderr, up, ended)
	w.log, w.stop = log, sync.OnceFunc(func() { w.stopProxy(cmd, log, ended) })
	w.t.Cleanup(w.stop)
	select {
	case w.said = <-up:
		w.proxy = "http://" + w.said.Listeners[0]
	case <-ended:
		w.t.Fatalf("the proxy ended:\n%s", w.log)
	case <-time.After(patience):
		w.t.Fatalf("the proxy is not ready:\n%s", w.log)
	}
}

func (l *proxyLog) read(r io.Reader, up chan<- ready, ended chan<- struct{}) {
	defer close(ended)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		l.add(lines.Text())
		var said ready
		if json.Unmarshal(lines.Bytes(), &said) == nil && said.Msg == "ready" {
			up <- said
		}
	}
}

// stopProxy wants the exit code of a clean stop.
func (w *world) stopProxy(cmd *exec.Cmd, log *proxyLog, ended <-chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // it only fails when the proxy has ended, which Wait tells
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	<-ended
	if err := cmd.Wait(); err != nil {
		w.t.Errorf("the proxy's end: %v", err)
	}
	if w.t.Failed() {
		w.t.Logf("the proxy's log:\n%s", log)
	}
}

// cli runs the vault CLI as an application would.
func (w *world) cli(args ...string) (string, error) { return w.cliWith(nil, args...) }

func (w *world) cliWith(env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv(envVault), args...)
	cmd.Env = append([]string{"HOME=" + w.home, "VAULT_ADDR=" + w.proxy, "VAULT_MAX_RETRIES=0", "PATH=" + os.Getenv("PATH")}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("vault %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// vault runs the CLI and wants success.
func (w *world) vault(args ...string) string {
	w.t.Helper()
	out, err := w.cli(args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// vaultJSON runs the CLI with -format=json after the words of the command.
func (w *world) vaultJSON(words int, args ...string) tree {
	w.t.Helper()
	all := append(append(append([]string{}, args[:words]...), "-format=json"), args[words:]...)
	return w.parse(w.vault(all...))
}

// tree is JSON to walk in.
type tree struct{ v any }

func (w *world) parse(raw string) tree {
	w.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		w.t.Fatalf("%v in %s", err, raw)
	}
	return tree{v}
}

func (x tree) at(path ...string) any {
	v := x.v
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func (x tree) text(path ...string) string { return fmt.Sprint(x.at(path...)) }

// reply is an answer over HTTP.
type reply struct {
	status  int
	cluster string
	code    string // of the proxy's own error
	body    string
	err     error
}

// do sends a request to a base URL. header is pairs of name and value.
func (w *world) do(base, token, method, path, body string, header ...string) reply {
	req, err := http.NewRequestWithContext(w.t.Context(), method, base+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	req.Header.Set("X-Vault-Token", token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header.Get("X-Vrproxy-Cluster"), resp.Header.Get("X-Vrproxy-Error"), string(raw), err}
}

// root asks a cluster itself, past the proxy.
func (w *world) root(cluster, method, path, body string) reply {
	w.t.Helper()
	r := w.do(w.lab.Cluster(cluster).Address(), lab.RootToken, method, path, body)
	if r.err != nil {
		w.t.Fatal(r.err)
	}
	return r
}

// setUp writes at the primary and waits until all clusters have got it.
func (w *world) setUp(writes ...[2]string) {
	w.t.Helper()
	for _, s := range writes {
		if r := w.root("us-east", http.MethodPost, s[0], s[1]); r.status >= 300 {
			w.t.Fatalf("%s: %d %s", s[0], r.status, r.body)
		}
	}
	w.caughtUp()
}

// caughtUp waits until the secondaries have what the primary has.
func (w *world) caughtUp() {
	w.t.Helper()
	wal := func(cluster, name string) float64 {
		n, _ := w.parse(w.root(cluster, http.MethodGet, "sys/replication/performance/status", "").body).at("data", name).(float64)
		return n
	}
	w.eventually("the secondaries catch up", func() bool {
		want := wal("us-east", "last_performance_wal")
		return want > 0 && wal("us-west", "last_remote_wal") == want && wal(nearest, "last_remote_wal") == want
	})
}

// login logs the CLI in and returns the token it keeps in its home.
func (w *world) login() string {
	w.t.Helper()
	w.vault("login", "-method=userpass", "username=demo", "password=demo")
	raw, err := os.ReadFile(filepath.Join(w.home, ".vault-token"))
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// eventually polls until f holds.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			w.t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

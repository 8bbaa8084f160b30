package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
	"github.com/vrproxy/vrproxy/internal/replication"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a laboratory with a proxy in front, as a user's application sees it.
type world struct {
	tb     testing.TB
	lab    *lab.Lab
	app    *App
	logs   *syncBuffer
	http   *http.Client
	token  string
	files  []*os.File // sockets that are passed
	yamlOf string     // instead of the usual configuration
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newWorld starts three regions, a DR copy and a proxy in eu-west. extra is YAML
// added to the configuration.
func newWorld(tb testing.TB, extra string) *world {
	tb.Helper()
	return newWorldOn(tb, lab.Config{}, extra)
}

// newWorldOn is newWorld on another laboratory, and passes sockets to the proxy.
func newWorldOn(tb testing.TB, cfg lab.Config, extra string, files ...*os.File) *world {
	tb.Helper()
	cfg.Region = "eu-west"
	w := &world{tb: tb, lab: labtest.Start(tb, cfg), logs: &syncBuffer{}, token: lab.RootToken, files: files}
	w.http = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32}}
	w.run(extra)
	for _, c := range w.lab.Clusters() { // a busy machine may have let the first probes time out
		w.state(c.Name(), health.StateHealthy)
	}
	return w
}

// run starts a proxy before the laboratory, in the place of the one before.
func (w *world) run(extra string) {
	w.tb.Helper()
	w.runConfig(w.config(extra))
}

func (w *world) runConfig(cfg *configs.Config) {
	w.tb.Helper()
	tb := w.tb
	level := zap.NewAtomicLevel()
	app, err := New(context.Background(), Options{Config: cfg, Logger: newLogger(w.logs, configs.Log{Level: "debug", Format: "json"}, level), Level: level, Files: w.files})
	if err != nil {
		tb.Fatal(err)
	}
	w.app = app
	if err := app.Start(context.Background()); err != nil {
		tb.Fatal(err)
	}
	level.SetLevel(zapcore.DebugLevel)
	tb.Cleanup(func() {
		w.http.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if app.state.Load() == stopping {
			return // by stop
		}
		if err := app.Stop(ctx); err != nil {
			tb.Errorf("stopping: %v", err)
		}
		if tb.Failed() && testing.Verbose() {
			tb.Log(w.logs.String())
		}
	})
}

// stop ends the proxy before the test ends.
func (w *world) stop() {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.app.Stop(ctx); err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) yaml(extra string) string {
	if w.yamlOf != "" {
		return w.yamlOf
	}
	var b strings.Builder
	b.WriteString("region: eu-west\n")
	if !strings.Contains(extra, "shutdown:") {
		b.WriteString("shutdown: {drain_timeout: 5s}\n")
	}
	if !strings.Contains(extra, "admin:") {
		b.WriteString("admin: {address: \"127.0.0.1:0\"}\n")
	}
	if !strings.Contains(extra, "listeners:") {
		b.WriteString("listeners: [{address: \"127.0.0.1:0\"}]\n")
	}
	if !strings.Contains(extra, "health:") {
		b.WriteString("health: {interval: 500ms, timeout: 500ms}\n")
	}
	b.WriteString(extra + "\nclusters:\n")
	for _, c := range lab.DefaultClusters() {
		fmt.Fprintf(&b, "  - {name: %s, region: %s, addresses: [%q]", c.Name, c.Region, w.lab.Cluster(c.Name).Address())
		if c.DROf != "" {
			fmt.Fprintf(&b, ", dr_of: %s", c.DROf)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func (w *world) config(extra string) *configs.Config {
	w.tb.Helper()
	cfg, err := configs.Parse("test.yaml", []byte(w.yaml(extra)), func(string) string { return "" })
	if err != nil {
		w.tb.Fatal(err)
	}
	return cfg
}

// reply is one answer as the application sees it.
type reply struct {
	status int
	header http.Header
	body   string
	data   map[string]any // "data" of a JSON answer
	auth   map[string]any
	whole  map[string]any
}

func (r reply) cluster() string { return r.header.Get("X-Vrproxy-Cluster") }
func (r reply) code() string    { return r.header.Get("X-Vrproxy-Error") }

// do sends one request through the proxy with the world's token. header are name,
// value pairs.
func (w *world) do(method, path, body string, header ...string) reply {
	w.tb.Helper()
	r, err := w.try(method, path, body, header...)
	if err != nil {
		w.tb.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (w *world) try(method, path, body string, header ...string) (reply, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+w.app.Addresses()[0]+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if w.token != "" {
		req.Header.Set("X-Vault-Token", w.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	return decoded(resp)
}

func decoded(resp *http.Response) (reply, error) {
	raw, err := io.ReadAll(resp.Body)
	out := reply{status: resp.StatusCode, header: resp.Header, body: string(raw)}
	if json.Unmarshal(raw, &out.whole) == nil {
		out.data, _ = out.whole["data"].(map[string]any)
		out.auth, _ = out.whole["auth"].(map[string]any)
	}
	return out, err
}

// want checks status and, where named, the answering cluster.
func (w *world) want(r reply, status int, cluster string) {
	w.tb.Helper()
	if r.status != status || (cluster != "" && r.cluster() != cluster) {
		w.tb.Fatalf("got %d from %q (%s), want %d from %q; body: %s", r.status, r.cluster(), r.code(), status, cluster, r.body)
	}
}

// login logs in as the demo user and takes over its token.
func (w *world) login() string {
	w.tb.Helper()
	w.token = ""
	r := w.do("POST", "auth/userpass/login/demo", `{"password":"demo"}`)
	w.want(r, 200, "")
	w.token, _ = r.auth["client_token"].(string)
	if w.token == "" {
		w.tb.Fatalf("no token in %s", r.body)
	}
	return w.token
}

// boss logs in as somebody who may do everything, and whose login can be repeated on
// every cluster, which a root token cannot.
func (w *world) boss() {
	w.tb.Helper()
	// Past the proxy: what it saw written would lead logins, and who logs in, to the primary.
	w.want(w.direct("us-east", "POST", "sys/policies/acl/all", `{"policy":"path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\", \"list\", \"sudo\"] }"}`), 204, "")
	w.want(w.direct("us-east", "POST", "auth/userpass/users/boss", `{"password":"boss","policies":"all"}`), 204, "")
	w.token = ""
	eventually(w.tb, "the user is replicated", func() bool {
		r := w.do("POST", "auth/userpass/login/boss", `{"password":"boss"}`)
		w.token, _ = r.auth["client_token"].(string)
		return w.token != ""
	})
}

// patience is how long anything may take that has no time of its own: only a test that
// fails waits as long, so it is far more than a busy machine needs.
const patience = 30 * time.Second

// eventually polls until ok, and gives up when its patience ends.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %s", patience, what)
		}
		<-tick.C
	}
}

// state waits until the proxy sees a cluster in a state.
func (w *world) state(cluster string, s health.State) {
	w.tb.Helper()
	eventually(w.tb, cluster+" "+string(s), func() bool {
		c, ok := w.app.Topology().Cluster(cluster)
		return ok && c.State == s
	})
}

// served counts the requests a cluster executed for a path.
func (w *world) served(cluster, path string) int {
	n := 0
	for _, s := range w.lab.Cluster(cluster).Served() {
		if strings.TrimPrefix(s.Path, "/v1/") == path {
			n++
		}
	}
	return n
}

// copied waits until a DR copy holds everything its primary holds now.
func (w *world) copied(primary, dr string) {
	w.tb.Helper()
	want := w.replication(primary).DR.LastDRWAL.Value
	eventually(w.tb, dr+" has caught up", func() bool { return w.replication(dr).DR.LastRemoteWAL.Value >= want })
}

func (w *world) replication(cluster string) replication.Status {
	w.tb.Helper()
	s, err := replication.Decode([]byte(w.direct(cluster, "GET", "sys/replication/status", "").body))
	if err != nil {
		w.tb.Fatal(err)
	}
	return s
}

// metric sums what the admin listener says of one metric and some of its labels.
func (w *world) metric(name string, labels ...string) float64 {
	w.tb.Helper()
	families, err := w.app.registry.Gather()
	if err != nil {
		w.tb.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetName()+"="+l.GetValue())
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(have, l) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// ask gives the body of a page of the admin listener.
func (w *world) ask(path string) string {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+w.app.AdminAddress()+path, nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.tb.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
	}
	return string(raw)
}

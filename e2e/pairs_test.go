package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// TestPairsBesideVaultProxy: eight clients write, read what they wrote at once, and read
// something else, through a region whose cluster is 600 ms behind. vrproxy, with and
// without its guarantee, and `vault proxy` with enforce_consistency=always in front of
// that cluster.
func TestPairsBesideVaultProxy(t *testing.T) {
	w := &world{t: t, home: t.TempDir(), http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: patience,
	}}
	t.Cleanup(w.http.CloseIdleConnections)
	w.lab = labtest.Start(t, lab.Config{Region: nearest, Latency: true, Lag: 600 * time.Millisecond})
	w.setUp(
		[2]string{"sys/policies/acl/writer", `{"policy":"path \"secret/*\" { capabilities = [\"create\", \"read\", \"update\"] }"}`},
		[2]string{"auth/userpass/users/writer", `{"password":"writer","token_policies":"writer"}`},
	)
	behind := w.lab.Cluster(nearest).Address()
	ours, none := *w, *w
	ours.run(w.configuration(nearest, ""))
	none.run(w.configuration(nearest, "routing: {consistency: none}\n"))
	for _, c := range []struct {
		name, url string
		promises  bool
	}{
		{"vrproxy", ours.proxy, true},
		{"vrproxy, consistency: none", none.proxy, false},
		{"vault proxy, retry", w.vaultProxy(behind, "retry"), true},
	} {
		p := w.pairs(c.url)
		summarise(t, "pairs: %-27s %d of %d reads of own writes old, %d refused; median %v, worst %v; other reads: median %v", c.name, p.old, len(p.own), p.refused, middle(p.own), slices.Max(p.own).Round(time.Millisecond), middle(p.others))
		if c.promises && p.old > 0 || !c.promises && p.old == 0 {
			t.Errorf("%s: %d of %d reads are old", c.name, p.old, len(p.own))
		}
		if c.url == ours.proxy && p.refused > 0 {
			t.Errorf("%s refused %d reads", c.name, p.refused)
		}
	}
}

// pairing is what the clients saw.
type pairing struct {
	mu           sync.Mutex
	own, others  []time.Duration // how long reads took
	old, refused int
}

func (w *world) pairs(url string) *pairing {
	w.t.Helper()
	p := &pairing{}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { w.pair(url, i, p) })
	}
	all.Wait()
	return p
}

func (w *world) pair(url string, client int, p *pairing) {
	login := w.do(url, "", http.MethodPost, "auth/userpass/login/writer", `{"password":"writer"}`)
	_, rest, _ := strings.Cut(login.body, `"client_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	for i := range 6 {
		path, value := fmt.Sprintf("secret/data/pairs/%s-%d", strings.TrimPrefix(url, "http://"), client), fmt.Sprintf("value-%d", i)
		if r := w.do(url, token, http.MethodPost, path, fmt.Sprintf(`{"data":{"v":%q}}`, value)); r.status != http.StatusOK {
			w.t.Errorf("client %d can't write: %+v", client, r)
			return
		}
		began := time.Now()
		r := w.do(url, token, http.MethodGet, path, "")
		took := time.Since(began)
		began = time.Now()
		w.do(url, token, http.MethodGet, "secret/data/hello", "")
		p.add(r, value, took, time.Since(began))
	}
}

func (p *pairing) add(r reply, value string, own, other time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own, p.others = append(p.own, own), append(p.others, other)
	switch {
	case r.status == http.StatusOK && !strings.Contains(r.body, value), r.status == http.StatusNotFound:
		p.old++
	case r.status != http.StatusOK:
		p.refused++
	}
}

func middle(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2].Round(time.Millisecond)
}

// vaultProxy runs HashiCorp's proxy in front of one cluster until the test ends.
func (w *world) vaultProxy(cluster, whenInconsistent string) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binding does not block
	if err != nil {
		w.t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.t.TempDir(), "proxy.hcl")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
vault { address = %q }
api_proxy {
  enforce_consistency = "always"
  when_inconsistent   = %q
}
listener "tcp" {
  address     = %q
  tls_disable = true
}`, cluster, whenInconsistent, address), 0o600); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(os.Getenv(envVault), "proxy", "-config="+file)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it only fails when the process has ended
		_ = cmd.Wait()         // killed: not a clean end
	})
	url := "http://" + address
	w.eventually("vault proxy serves", func() bool { return w.do(url, "", http.MethodGet, "sys/health", "").status == http.StatusOK })
	return url
}

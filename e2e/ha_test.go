package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/e2e/raft"
)

const (
	only      = "only" // the cluster
	backSoon  = 5 * time.Second
	stalled   = time.Second // beyond the election
	afterwork = 20          // reads and writes that end a fault
)

// haWorld is one cluster of three Vault nodes with integrated storage, and a proxy in
// front that knows them all.
type haWorld struct {
	*world
	raft *raft.Cluster
}

func newHAWorld(t *testing.T, probes string) *haWorld {
	t.Helper()
	began := time.Now()
	c, err := raft.Start(t.Context(), os.Getenv(envVault), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range c.Nodes {
			if t.Failed() {
				t.Logf("the log of %s:\n%s", n.ID, n.Log())
			}
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: patience,
		// A redirect that the proxy does not follow has to be seen.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(w.http.CloseIdleConnections)
	h := &haWorld{w, c}
	h.fill()
	var addresses []string
	for _, n := range c.Nodes {
		addresses = append(addresses, n.Address)
	}
	w.run(fmt.Sprintf(`
region: eu-west
listeners: [{address: "127.0.0.1:0"}]
clusters: [{name: only, region: eu-west, addresses: [%s]}]
health: {%s, timeout: 400ms}
admin: {address: "127.0.0.1:0"}
log: {level: info}
`, strings.Join(addresses, ", "), probes))
	t.Logf("three nodes and the proxy up after %s", time.Since(began).Round(time.Millisecond))
	return h
}

// fill sets up what the clients need.
func (h *haWorld) fill() {
	h.t.Helper()
	for _, s := range [][2]string{
		{"sys/mounts/secret", `{"type":"kv","options":{"version":"2"}}`},
		{"sys/policies/acl/app", `{"policy":"path \"secret/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }"}`},
		{"sys/auth/userpass", `{"type":"userpass"}`},
		{"auth/userpass/users/demo", `{"password":"demo","token_policies":"app"}`},
	} {
		if r := h.do(h.active().Address, h.raft.Token, http.MethodPost, s[0], s[1]); r.status >= 300 {
			h.t.Fatalf("%s: %+v", s[0], r)
		}
	}
	h.eventually("the engine takes writes", func() bool { // it upgrades its storage first
		return h.do(h.active().Address, h.raft.Token, http.MethodPost, "secret/data/hello", `{"data":{"greeting":"hello"}}`).status == http.StatusOK
	})
}

// demo logs in through the proxy.
func (h *haWorld) demo() string {
	h.t.Helper()
	r := h.do(h.proxy, "", http.MethodPost, "auth/userpass/login/demo", `{"password":"demo"}`)
	if r.status != http.StatusOK {
		h.t.Fatalf("logging in: %+v", r)
	}
	return h.parse(r.body).text("auth", "client_token")
}

// active waits for the active node.
func (h *haWorld) active() *raft.Node { return h.activeBut(nil) }

// activeBut waits for an active node that is another one.
func (h *haWorld) activeBut(old *raft.Node) (n *raft.Node) {
	h.t.Helper()
	h.eventually("a node is active", func() bool {
		for _, n = range h.raft.Actives(h.t.Context()) {
			if n != old {
				return true
			}
		}
		return false
	})
	return n
}

// fault is something that makes the cluster elect another node.
type fault struct {
	name string
	do   func(h *haWorld, active *raft.Node)
	mend func(h *haWorld, old *raft.Node) // once another node is active; nil: nothing to mend
}

func faults() []fault {
	return []fault{
		{"active node killed (SIGKILL)", (*haWorld).kill, (*haWorld).restart},
		{"active node stalled (SIGSTOP)", (*haWorld).stall, (*haWorld).resume},
		// The last one: Vault keeps a node that stepped down from becoming active for ten
		// seconds, even if raft elects it.
		{"step-down", (*haWorld).stepDown, nil},
	}
}

func (h *haWorld) kill(n *raft.Node) { n.Kill() }

func (h *haWorld) restart(n *raft.Node) {
	if err := h.raft.Restart(h.t.Context(), n); err != nil {
		h.t.Fatal(err)
	}
}

// stepDown asks through the proxy, which wants to be told the cluster.
func (h *haWorld) stepDown(*raft.Node) {
	if r := h.do(h.proxy, h.raft.Token, http.MethodPut, "sys/step-down", "", "X-Vrproxy-Cluster", only); r.status != http.StatusNoContent {
		h.t.Errorf("step-down: %+v", r)
	}
}

func (h *haWorld) stall(n *raft.Node) { n.Stall() }

func (h *haWorld) resume(n *raft.Node) {
	select {
	case <-time.After(stalled):
	case <-h.t.Context().Done():
	}
	n.Resume()
}

// TestElections lets nodes inside one cluster fail while clients read and write with
// one token: nothing acknowledged is lost, nothing is done twice, refusals are honest,
// and work goes on as soon as the cluster can.
func TestElections(t *testing.T) {
	h := newHAWorld(t, "interval: 500ms")
	l := &load{h: h, token: h.demo()}
	stop := l.start()
	h.eventually("clients read and write", func() bool { return l.served(time.Time{}, 100) })
	var eras []era
	for _, f := range faults() {
		eras = append(eras, h.ride(l, f))
	}
	all := stop()
	between := l.report(eras, all)
	for _, c := range between {
		if !c.ok() {
			t.Errorf("failed while nothing was wrong: %+v", c)
		}
	}
	l.check(all)
	if n := h.logins(only); n != 0 {
		t.Errorf("the proxy logged in %d times", n)
	}
}

// ride does a fault and returns when all nodes are back and clients are at work.
func (h *haWorld) ride(l *load, f fault) era {
	h.t.Helper()
	old := h.active()
	e := era{name: f.name, began: time.Now()}
	f.do(h, old)
	h.activeBut(old)
	e.elected = time.Now()
	e.read, e.write = l.first(l.read), l.first(l.write)
	if f.mend != nil {
		f.mend(h, old)
	}
	h.eventually("all nodes serve", func() bool { return len(h.raft.Standbys(h.t.Context())) == len(h.raft.Nodes)-1 })
	e.mended = time.Now()
	h.eventually("clients are at work again", func() bool { return l.served(e.mended, afterwork) })
	e.ended = time.Now()
	return e
}

// TestStandbyRedirects sends what Vault may not forward to a node that was active when
// the proxy last looked: Vault answers with a redirect, which the proxy follows.
func TestStandbyRedirects(t *testing.T) {
	h := newHAWorld(t, "interval: 1m") // the proxy does not see the change
	token, old := h.demo(), h.active()
	noForward := []string{"X-Vault-No-Request-Forwarding", "true"}
	if r := h.do(old.Address, h.raft.Token, http.MethodPut, "sys/step-down", ""); r.status != http.StatusNoContent {
		t.Fatalf("step-down: %+v", r)
	}
	h.activeBut(old)
	h.eventually("the old node knows the new one", func() bool {
		return h.do(old.Address, token, http.MethodPost, "secret/data/probe", `{"data":{}}`, noForward...).status == http.StatusTemporaryRedirect
	})
	for _, c := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"a write", http.MethodPost, "secret/data/moved", `{"data":{"n":"1"}}`, http.StatusOK},
		{"a write without an answer", http.MethodPut, "secret/metadata/other", `{"max_versions":3}`, http.StatusNoContent},
		{"a read", http.MethodGet, "secret/data/hello", "", http.StatusOK},
	} {
		if r := h.do(h.proxy, token, c.method, c.path, c.body, noForward...); r.status != c.status {
			t.Errorf("%s: %+v, want %d", c.name, r, c.status)
		}
	}
	if r := h.do(h.proxy, token, http.MethodGet, "secret/metadata/moved", ""); h.parse(r.body).text("data", "current_version") != "1" {
		t.Errorf("written once, and Vault says %+v", r)
	}
	if r := h.do(h.proxy, token, http.MethodPost, "secret/data/probe", `{"data":{}}`); r.status != http.StatusOK {
		t.Errorf("a write that the standby forwards: %+v", r)
	}
	summarise(t, "standby with forwarding off: 3 redirects (307) followed to the active node")
}

// TestForwardedWritesAreHonest kills the active node while the proxy writes through a
// standby. When the answer of a forwarded write is lost, Vault's standby answers 307 as if
// nothing had happened, so that is no word to repeat a write by.
func TestForwardedWritesAreHonest(t *testing.T) {
	h := newHAWorld(t, "interval: 1m") // the proxy takes the old node for active
	l, old := &load{h: h, token: h.demo()}, h.active()
	if r := h.do(old.Address, h.raft.Token, http.MethodPut, "sys/step-down", ""); r.status != http.StatusNoContent {
		t.Fatalf("step-down: %+v", r)
	}
	active := h.activeBut(old)
	h.eventually("all nodes serve", func() bool { return len(h.raft.Standbys(t.Context())) == len(h.raft.Nodes)-1 })
	stop := l.start()
	h.eventually("clients write through a standby", func() bool { return l.served(time.Time{}, 100) })
	active.Kill()
	all := stop()
	h.activeBut(active)
	l.check(all)
}

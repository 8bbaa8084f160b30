package proxy

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/http1"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// pair is a proxy before two clusters that answer what a test says. Which of them is
// nearer can change.
type pair struct {
	t     *testing.T
	proxy *Proxy
	front *httptest.Server
	near  atomic.Value // string
	stuck atomic.Pointer[stuck]
	// standby: the first node of cluster one is known to be one.
	standby bool

	mu      sync.Mutex
	answers map[string]func(cluster string, w http.ResponseWriter) // by path
	got     []string                                               // "cluster METHOD path"
}

func (p *pair) Topology() *health.Topology {
	t := &health.Topology{Region: "here", Primary: "one"}
	for _, name := range []string{"one", "two"} {
		c := health.Cluster{Name: name, Region: "there", Role: health.RoleSecondary, State: health.StateHealthy, Linked: true,
			Nodes: []health.Node{{Address: "http://" + name, State: health.StateHealthy, Serves: true, Active: true}}}
		if name == "one" {
			c.Role = health.RolePrimary
			c.Nodes[0].Standby = p.standby
			c.Nodes = append(c.Nodes, health.Node{Address: "http://one-b", State: health.StateHealthy, Serves: true, Led: true})
		}
		if name == p.near.Load() {
			c.Region = "here"
		}
		t.Clusters = append(t.Clusters, c)
	}
	return t
}

func (*pair) Changed() <-chan struct{}    { return nil }
func (*pair) Failed(_, _ string, _ error) {}
func (*pair) Succeeded(_, _ string)       {}
func (*pair) Table() *routing.Table {
	return (&routing.Table{}).With("", []routing.Mount{
		{Path: "auth/people/", Type: "auth/userpass"}, {Path: "auth/sso/", Type: "auth/oidc"},
		{Path: "pki/", Type: "pki"}, {Path: "otp/", Type: "ssh"},
	})
}

// Send is all nodes of both clusters.
func (p *pair) Send(ctx context.Context, _ string, call *http1.Call, _ bool) (resp *http.Response, sent bool, err error) {
	r := wholeRequest(ctx, call)
	cluster := r.URL.Host
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	path := r.URL.Opaque
	p.mu.Lock()
	p.got = append(p.got, cluster+" "+r.Method+" "+path)
	p.mu.Unlock()
	if s := p.stuck.Load(); s != nil && s.node == cluster {
		select {
		case <-s.until:
		case <-r.Context().Done():
			return nil, true, r.Context().Err()
		}
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	p.mu.Lock()
	defer p.mu.Unlock()
	if answer := p.answers[path]; answer != nil {
		answer(cluster, w)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	return w.Result(), true, nil
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, answers: make(map[string]func(string, http.ResponseWriter))}
	p.near.Store("one")
	tokens, err := tokencache.New(tokencache.Config{Vault: unreachable{}, Replay: true})
	if err != nil {
		t.Fatal(err)
	}
	proxy := New(Config{
		Health: p, Mounts: pairMounts{p: p}, Upstream: p, Router: routing.New(nil),
		Planner: routing.NewPlanner(routing.Preferences{}), Tokens: tokens, Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	p.proxy, p.front = proxy, httptest.NewServer(proxy.Handler(Policy{Lend: LendNever}))
	t.Cleanup(p.front.Close)
	return p
}

// pairMounts knows the mounts of a pair and learns nothing.
type pairMounts struct {
	noMounts
	p *pair
}

func (m pairMounts) Table() *routing.Table { return m.p.Table() }

// stuck is a node that answers later.
type stuck struct {
	node  string
	until <-chan struct{}
}

func (p *pair) hold(until <-chan struct{}, node string) { p.stuck.Store(&stuck{node, until}) }

// asked are all requests so far.
func (p *pair) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// say sets what a path answers.
func (p *pair) say(path string, status int, body string, header ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[path] = func(_ string, w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// send sends one request and returns which cluster answered.
func (p *pair) send(method, path, body string) (cluster string, status int) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.front.URL+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := p.front.Client().Transport.RoundTrip(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get(HeaderCluster), resp.StatusCode
}

// jws is an ACME request signed by an account, or for a new one by an EAB key.
func jws(account, eab string) string {
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	protected, payload := `{"alg":"ES256","jwk":{}}`, `{}`
	if account != "" {
		protected = `{"alg":"ES256","kid":"https://vault/v1/pki/acme/account/` + account + `"}`
	}
	if eab != "" {
		payload = `{"externalAccountBinding":{"protected":"` + encode(`{"kid":"`+eab+`"}`) + `"}}`
	}
	return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":"x"}`, encode(protected), encode(payload))
}

// TestFlowsStayWithTheirCluster: what begins on one cluster goes on there, also when
// another has become the nearest.
func TestFlowsStayWithTheirCluster(t *testing.T) {
	t.Parallel()
	type request struct{ method, path, body string }
	for _, c := range []struct {
		name   string
		begin  request
		status int
		answer string
		header []string
		goes   []request
	}{
		{"login MFA", request{"POST", "/v1/auth/people/login/ann", `{"password":"p"}`}, 200, `{"auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"r1"}}}`, nil,
			[]request{{"POST", "/v1/sys/mfa/validate", `{"mfa_request_id":"r1","mfa_payload":{}}`}}},
		{"OIDC login", request{"POST", "/v1/auth/sso/oidc/auth_url", `{"role":"r"}`}, 200, `{"data":{"auth_url":"https://idp.example/authorize?nonce=n&state=st_1"}}`, nil,
			[]request{{"GET", "/v1/auth/sso/oidc/callback?code=c&state=st_1", ""}}},
		{"code of the OIDC provider", request{"GET", "/v1/identity/oidc/provider/default/authorize?client_id=x", ""}, 200, `{"code":"c1","state":"s"}`, nil,
			[]request{{"POST", "/v1/identity/oidc/provider/default/token", "grant_type=authorization_code&code=c1"}}},
		{"ACME account", request{"POST", "/v1/pki/acme/new-account", jws("", "")}, 201, `{}`, []string{"Location", "https://vault/v1/pki/acme/account/a1"},
			[]request{{"POST", "/v1/pki/acme/new-order", jws("a1", "")}, {"POST", "/v1/pki/roles/web/acme/order/o1/finalize", jws("a1", "")}}},
		{"EAB key", request{"POST", "/v1/pki/acme/new-eab", ""}, 200, `{"data":{"id":"e1","key":"k"}}`, nil,
			[]request{{"POST", "/v1/pki/acme/new-account", jws("", "e1")}, {"DELETE", "/v1/pki/eab/e1", ""}}},
		{"certificate", request{"POST", "/v1/pki/issue/web", `{"common_name":"x"}`}, 200, `{"data":{"serial_number":"11:AB:22"}}`, nil,
			[]request{{"POST", "/v1/pki/revoke", `{"serial_number":"11-ab-22"}`}, {"GET", "/v1/pki/cert/11:ab:22", ""}, {"GET", "/v1/pki/cert/11-ab-22/raw/pem", ""}}},
		{"one-time password", request{"POST", "/v1/otp/creds/host", `{"ip":"10.0.0.1"}`}, 200, `{"data":{"key":"o1","key_type":"otp"}}`, nil,
			[]request{{"POST", "/v1/otp/verify", `{"otp":"o1"}`}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			path, _, _ := strings.Cut(c.begin.path, "?")
			p.say(path, c.status, c.answer, c.header...)
			if cluster, status := p.send(c.begin.method, c.begin.path, c.begin.body); cluster != "one" || status != c.status {
				t.Fatalf("began at %q with %d", cluster, status)
			}
			p.near.Store("two")
			if cluster, _ := p.send("GET", "/v1/pki/ca/pem", ""); cluster != "two" {
				t.Fatalf("%q is nearest", cluster)
			}
			for _, r := range c.goes {
				if cluster, _ := p.send(r.method, r.path, r.body); cluster != "one" {
					t.Errorf("%s %s went to %q", r.method, r.path, cluster)
				}
			}
		})
	}
}

// TestWhatOnlyOneClusterKnowsIsAskedOfAll: after a restart, or begun through another
// proxy. The wrong cluster says that it does not know it, and does nothing.
func TestWhatOnlyOneClusterKnowsIsAskedOfAll(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, body, unknown string }{
		{"/v1/otp/verify", `{"otp":"o1"}`, "OTP not found"},
		{"/v1/sys/mfa/validate", `{"mfa_request_id":"r1"}`, "invalid request ID"},
	} {
		p := newPair(t)
		knows := "two"
		p.mu.Lock()
		p.answers[c.path] = func(cluster string, w http.ResponseWriter) {
			if cluster != knows {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprintf(w, `{"errors":[%q]}`, c.unknown)
			}
		}
		p.mu.Unlock()
		if cluster, status := p.send("POST", c.path, c.body); cluster != "two" || status != 200 {
			t.Errorf("%s: %d from %q", c.path, status, cluster)
		}
		knows = "nobody"
		if cluster, status := p.send("POST", c.path, c.body); cluster != "one" || status != 400 {
			t.Errorf("%s, known to nobody: %d from %q", c.path, status, cluster)
		}
	}
}

// TestAStandbysRedirectIsFollowedInsideTheCluster: to a node that is configured, once
// more only, with the body. A write is told not to be forwarded by a standby, or its
// redirect would prove nothing. All other redirects are the client's.
func TestAStandbysRedirectIsFollowedInsideTheCluster(t *testing.T) {
	t.Parallel()
	const urls = "/v1/pki/config/urls"
	for _, c := range []struct {
		name, method, location string
		standby                bool // as health knows it
		want                   string
		status                 int
	}{
		{"a write at a standby", "POST", "http://one-b" + urls, true, "one one-b", 200},
		{"a read", "GET", "http://one-b" + urls, false, "one one-b", 200},
		{"a write, perhaps forwarded", "POST", "http://one-b" + urls, false, "one", 502},
		{"a write, to nobody we know, by our wish", "POST", "http://10.0.0.9:8200" + urls, true, "one one-b", 200},
		{"to a node of another cluster", "POST", "http://two" + urls, false, "one", 307},
		{"to nobody we know", "POST", "http://10.0.0.9:8200" + urls, false, "one", 307},
		{"to another path", "POST", "http://one-b/v1/pki/config", false, "one", 307},
		{"to another scheme", "GET", "https://one-b" + urls, false, "one", 307},
		{"a read to itself, which became active", "GET", "http://one" + urls, false, "one one one one-b", 200},
		{"a write to itself, told not to forward it", "POST", "http://one" + urls, true, "one one one one-b", 200},
		{"a write to itself, perhaps forwarded", "POST", "http://one" + urls, false, "one", 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.standby = c.standby
			p.mu.Lock()
			p.answers[urls] = func(node string, w http.ResponseWriter) {
				if node == "one" {
					w.Header().Set("Location", c.location)
					w.WriteHeader(http.StatusTemporaryRedirect)
				}
			}
			p.mu.Unlock()
			_, status := p.send(c.method, urls, `{"a":"b"}`)
			var nodes []string
			for _, got := range p.asked() {
				node, _, _ := strings.Cut(got, " ")
				nodes = append(nodes, node)
			}
			if got := strings.Join(nodes, " "); got != c.want || status != c.status {
				t.Errorf("%d after asking %s, want %d after %s", status, got, c.status, c.want)
			}
		})
	}
}

// TestNodesThatSendARequestToEachOther have no active node yet, each believing another to
// be it. That is not for the client to follow: others are asked.
func TestNodesThatSendARequestToEachOther(t *testing.T) {
	t.Parallel()
	const urls = "/v1/pki/config/urls"
	p := newPair(t)
	p.mu.Lock()
	p.answers[urls] = func(node string, w http.ResponseWriter) {
		switch node {
		case "one":
			w.Header().Set("Location", "http://one-b"+urls)
			w.WriteHeader(http.StatusTemporaryRedirect)
		case "one-b":
			w.Header().Set("Location", "http://one"+urls)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}
	p.mu.Unlock()
	if cluster, status := p.send("GET", urls, ""); cluster != "two" || status != http.StatusOK {
		t.Errorf("%d from %s after asking %v", status, cluster, p.asked())
	}
	if n := len(p.asked()); n > 2*(maxMoves+1)+1 {
		t.Errorf("asked %d times: %v", n, p.asked())
	}
}

package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/vrproxy/vrproxy/internal/http1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server and a pool whose cluster "a" it is.
func serve(t *testing.T, h http.HandlerFunc) (*httptest.Server, *Pool) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv, pool(t, Cluster{Name: "a"})
}

func pool(t *testing.T, clusters ...Cluster) *Pool {
	t.Helper()
	p := New(Config{Clusters: clusters, DialTimeout: 20 * time.Second}) // on a busy machine too
	t.Cleanup(p.Close)
	return p
}

func get(t *testing.T, p *Pool, cluster, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, _, err := p.Send(t.Context(), cluster, callOf(req), false)
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

// callOf is a request as it comes from an exchange.
func callOf(req *http.Request) *http1.Call {
	req.URL.Opaque = cmp.Or(req.URL.EscapedPath(), "/")
	return &http1.Call{Request: req}
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestRedirectsAreTheClientsAffair(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/v1/elsewhere", http.StatusTemporaryRedirect)
	})
	resp, err := get(t, p, "a", srv.URL+"/v1/x")
	if err != nil || resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != "/v1/elsewhere" {
		t.Errorf("%+v, %v", resp, err)
	}
	client, err := p.Client("a", srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = client.Logical().ReadWithContext(t.Context(), "x"); err == nil {
		t.Error("the control client followed a redirect")
	}
	if asked.Load() != 2 {
		t.Errorf("%d requests, want one each", asked.Load())
	}
}

func TestNothingIsRetried(t *testing.T) {
	t.Parallel()
	for _, status := range []int{412, 429, 500, 503} {
		var asked atomic.Int32
		srv, p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			answer(w, status, `{"errors":["no"]}`)
		})
		if resp, err := get(t, p, "a", srv.URL+"/v1/x"); err != nil || resp.StatusCode != status {
			t.Errorf("%d: %+v, %v", status, resp, err)
		}
		client, err := p.Client("a", srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Logical().WriteWithContext(t.Context(), "x", nil)
		if refused := new(api.ResponseError); !errors.As(err, &refused) || refused.StatusCode != status {
			t.Errorf("%d: %v", status, err)
		}
		if asked.Load() != 2 {
			t.Errorf("%d: %d requests, want one each", status, asked.Load())
		}
	}
}

// TestTheEnvironmentIsNotAsked: the proxy runs in the environments of applications
// that are configured for Vault.
func TestTheEnvironmentIsNotAsked(t *testing.T) {
	var seen http.Header
	srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header
		answer(w, 200, `{"data":{}}`)
	})
	for name, value := range map[string]string{
		"VAULT_TOKEN": "hvs.stolen", "VAULT_NAMESPACE": "team", "VAULT_ADDR": "http://127.0.0.1:1", "VAULT_AGENT_ADDR": "http://127.0.0.1:1",
		"VAULT_WRAP_TTL": "1h", "VAULT_MAX_RETRIES": "5", "VAULT_HEADERS": `{"X-Env":"yes"}`, "VAULT_PROXY_ADDR": "http://127.0.0.1:1",
		"HTTP_PROXY": "http://127.0.0.1:1",
	} {
		t.Setenv(name, value)
	}
	client, err := p.Client("a", srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Logical().WriteWithContext(t.Context(), "auth/userpass/login/demo", map[string]any{"password": "demo"}); err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"X-Vault-Token", "X-Vault-Namespace", "X-Vault-Wrap-Ttl", "X-Env"} {
		if v, ok := seen[h]; ok {
			t.Errorf("%s: %q was sent", h, v)
		}
	}
	if seen.Get("X-Vault-Request") != "true" {
		t.Error("a listener that requires X-Vault-Request would refuse this")
	}
}

func TestUnknownClustersAreErrors(t *testing.T) {
	t.Parallel()
	p := pool(t, Cluster{Name: "a"})
	_, roundTrip := get(t, p, "b", "http://127.0.0.1:1/v1/x")
	_, client := p.Client("b", "http://127.0.0.1:1")
	_, health := p.Health(t.Context(), "b", "http://127.0.0.1:1")
	_, status := p.Replication(t.Context(), "b", "http://127.0.0.1:1")
	for name, err := range map[string]error{"Send": roundTrip, "Client": client, "Health": health, "Replication": status} {
		if !errors.Is(err, ErrUnknownCluster) || !strings.Contains(err.Error(), `"b"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWrittenBytesAreCounted: zero written bytes mean that a request cannot have
// arrived, so that even a write may be sent elsewhere.
func TestWrittenBytesAreCounted(t *testing.T) {
	t.Parallel()
	srv, p := serve(t, func(http.ResponseWriter, *http.Request) {})
	var before, after int64
	var conn interface{ Written() int64 }
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		conn, _ = i.Conn.(interface{ NetConn() net.Conn }).NetConn().(interface{ Written() int64 })
		before = conn.Written()
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/v1/x", strings.NewReader("some body"))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = "/v1/x"
	resp, _, err := p.Send(ctx, "a", &http1.Call{Request: req}, false)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if after = conn.Written(); before != 0 || after < int64(len("POST /v1/x HTTP/1.1")+len("some body")) {
		t.Errorf("%d bytes before and %d after", before, after)
	}
	client, server := net.Pipe()
	_ = server.Close()
	broken := &countingConn{Conn: client}
	if _, err := broken.Write([]byte("lost")); err == nil || broken.Written() != 4 {
		t.Errorf("a failed write counts as if it had arrived: %d, %v", broken.Written(), err)
	}
}

// TestADryConnection is not read; TLS goes on over it afterwards.
func TestADryConnection(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe() // a read of it would wait
	defer server.Close()
	c := &countingConn{Conn: client}
	c.Dry(true)
	n, err := c.Read(make([]byte, 1))
	passes, ok := err.(interface{ Temporary() bool })
	var timeout net.Error
	if n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() || !ok || !passes.Temporary() {
		t.Errorf("%d, %v", n, err)
	}
	c.Dry(false)
	_ = server.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("when it is over: %v", err)
	}
}

func TestHealthOfWhatIsNoVault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, kind, body, want string
		status                 int
	}{
		{"a web page", "text/html", "<html>welcome</html>", "is this a Vault address?", 200},
		{"a load balancer without backends", "text/plain", "no backend", "status 503", 503},
		{"something else that speaks JSON", "application/json", `{"errors":["not found"]}`, "not what Vault answers", 404},
		{"broken JSON", "application/json", `{"initialized":tr`, "decoding sys/health", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv, p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			if r, err := p.Health(t.Context(), "a", srv.URL); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, error %v; want %q", r, err, c.want)
			}
		})
	}
}

func TestHealthReadsTheBodyWhateverTheStatus(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 429, 472, 473, 501, 503} {
		var token string
		srv, p := serve(t, func(w http.ResponseWriter, r *http.Request) {
			token = r.Header.Get("X-Vault-Token")
			if r.URL.Path != "/v1/sys/health" {
				w.WriteHeader(http.StatusNotFound)
			}
			answer(w, status, `{"initialized":true,"sealed":false,"standby":true,"replication_performance_mode":"secondary"}`)
		})
		r, err := p.Health(t.Context(), "a", srv.URL+"/")
		if err != nil || !r.Initialized || !r.Standby || r.PerformanceMode != "secondary" || token != "" {
			t.Errorf("%d: %+v, %v, token %q", status, r, err, token)
		}
	}
}

// TestAReplicationStatusThatIsSwitchedOffIsNotDisabled: "disabled" would take away
// the link of a secondary that works.
func TestAReplicationStatusThatIsSwitchedOffIsNotDisabled(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 404, 503} {
		srv, p := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, status, `{"errors":["no"]}`) })
		if s, err := p.Replication(t.Context(), "a", srv.URL); err == nil {
			t.Errorf("%d: %+v", status, s)
		}
	}
	srv, p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"data":{"performance":{"mode":"secondary","connection_state":"ready"}}}`)
	})
	if s, err := p.Replication(t.Context(), "a", srv.URL); err != nil || !s.Performance.Linked() {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestProbesEndWithTheirDeadline(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	srv, p := serve(t, func(http.ResponseWriter, *http.Request) { <-hang })
	t.Cleanup(func() { close(hang) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Health(ctx, "a", srv.URL); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestEachClusterHasItsOwnCA(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"initialized":true}`)
	}))
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	p := pool(t, Cluster{Name: "trusts", TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}, Cluster{Name: "does-not"})
	if _, err := p.Health(t.Context(), "trusts", srv.URL); err != nil {
		t.Error(err)
	}
	if resp, err := get(t, p, "trusts", srv.URL); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v", err)
	}
	client, err := p.Client("trusts", srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Sys().HealthWithContext(t.Context()); err != nil {
		t.Error(err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := p.Health(t.Context(), "does-not", srv.URL); !errors.As(err, &unknown) {
		t.Errorf("trusted without reason: %v", err)
	}
}

func TestAnAddressThatIsNone(t *testing.T) {
	t.Parallel()
	p := pool(t, Cluster{Name: "a"})
	if _, err := p.Client("a", "http://bad host"); err == nil || !strings.Contains(err.Error(), "a") {
		t.Errorf("%v", err)
	}
	if _, err := p.Health(t.Context(), "a", "http://bad host"); err == nil {
		t.Error("no error")
	}
}

// TestWarmConnectionsAreThereForRequests: the requests that follow dial nothing.
func TestWarmConnectionsAreThereForRequests(t *testing.T) {
	t.Parallel()
	var dialled atomic.Int32
	var together sync.WaitGroup // so that no connection is used twice in a round
	together.Add(warmed)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		together.Done()
		together.Wait()
		answer(w, 200, `{"initialized":true}`)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			dialled.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	p := pool(t, Cluster{Name: "a"})
	if err := p.Warm(t.Context(), "a", srv.URL); err != nil || dialled.Load() != warmed {
		t.Fatalf("%d connections, %v", dialled.Load(), err)
	}
	together.Add(warmed)
	var requests errgroup.Group
	for range warmed {
		requests.Go(func() error {
			resp, err := get(t, p, "a", srv.URL+"/v1/x")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
			}
			return err
		})
	}
	if err := requests.Wait(); err != nil || dialled.Load() != warmed {
		t.Errorf("%d connections, %v", dialled.Load(), err)
	}
	srv.Close()
	if err := p.Warm(t.Context(), "a", srv.URL); err == nil {
		t.Error("a closed server was warmed")
	}
	if err := p.Warm(t.Context(), "b", srv.URL); !errors.Is(err, ErrUnknownCluster) {
		t.Errorf("%v", err)
	}
}

// Package upstream owns the connections to Vault: one pool per cluster for client
// requests, a second one for probes and logins so that neither waits for the other.
// It does not choose: the caller names cluster and node.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/errgroup"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/replication"
)

// Cluster is how to connect to one cluster.
type Cluster struct {
	Name string
	TLS  *tls.Config // nil for plain HTTP or the system's defaults
}

// Config is all that a Pool needs.
type Config struct {
	Clusters    []Cluster
	DialTimeout time.Duration // TCP connect and TLS handshake, each; default 1s
	CallTimeout time.Duration // whole control call (login, lookup); default 10s
	// Lookup gives the addresses of a host name, the preferred ones first; default: the
	// system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// ErrUnknownCluster is returned for a cluster that is not configured.
var ErrUnknownCluster = errors.New("no connection pool for this cluster")

// maxControlBody bounds what is read of a control answer; sys/health and
// sys/replication/status are a few KiB.
const maxControlBody = 1 << 20

// healthPath asks every state to answer 200, so that only a broken node answers
// otherwise; the body tells the state.
const healthPath = "/v1/sys/health?standbyok=true&perfstandbyok=true"

// Pool is safe for concurrent use. Close it to drop idle connections.
type Pool struct {
	data        map[string]*line
	bare        map[string]*line // without a client certificate; where there is none, data
	control     map[string]*line
	names       map[string]*names
	lookup      func(ctx context.Context, host string) ([]netip.Addr, error)
	callTimeout time.Duration
}

// New makes the pools. Nothing is dialled yet.
func New(cfg Config) *Pool {
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = time.Second
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = 10 * time.Second
	}
	if cfg.Lookup == nil {
		cfg.Lookup = lookup
	}
	p := &Pool{
		data: make(map[string]*line), bare: make(map[string]*line), control: make(map[string]*line),
		names: make(map[string]*names), lookup: cfg.Lookup, callTimeout: cfg.CallTimeout,
	}
	for _, c := range cfg.Clusters {
		n := &names{}
		p.names[c.Name] = n
		p.data[c.Name] = newLine(c.TLS, n, cfg.DialTimeout, 256)
		p.bare[c.Name] = p.data[c.Name]
		if c.TLS != nil && (c.TLS.GetClientCertificate != nil || len(c.TLS.Certificates) > 0) {
			t := c.TLS.Clone()
			t.Certificates, t.GetClientCertificate = nil, nil
			p.bare[c.Name] = newLine(t, n, cfg.DialTimeout, 8)
		}
		p.control[c.Name] = newLine(c.TLS, n, cfg.DialTimeout, 8)
	}
	return p
}

// countingConn knows how many bytes were written to it, so that after a failure it
// can be told whether any part of a request may have arrived.
type countingConn struct {
	net.Conn
	written atomic.Int64
}

// Write counts what it was asked to write, before it writes.
func (c *countingConn) Write(b []byte) (int, error) {
	c.written.Add(int64(len(b)))
	return c.Conn.Write(b)
}

// Written is how many bytes were given to Write so far.
func (c *countingConn) Written() int64 { return c.written.Load() }

// Close drops idle connections. Requests in flight go on.
func (p *Pool) Close() {
	for _, pools := range []map[string]*line{p.data, p.bare, p.control} {
		for _, t := range pools {
			t.CloseIdleConnections()
		}
	}
}

// RoundTrip sends one client request to a cluster; its URL names the node. bare sends
// it over a connection on which no client certificate is shown.
// Redirects are not followed and nothing is retried beyond what net/http does
// before a byte was sent.
func (p *Pool) RoundTrip(cluster string, req *http.Request, bare bool) (*http.Response, error) {
	pools := p.data
	if bare {
		pools = p.bare
	}
	t, ok := pools[cluster]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownCluster, cluster)
	}
	return t.RoundTrip(req)
}

// Forget drops the idle connections to a cluster, so that the next request dials
// anew. Used after a node was lost.
func (p *Pool) Forget(cluster string) {
	if t, ok := p.data[cluster]; ok {
		t.CloseIdleConnections()
	}
}

// Client makes a vault/api client for one node: no retries, no redirects, no token,
// no namespace, whatever the process's environment says.
func (p *Pool) Client(cluster, address string) (*api.Client, error) {
	t, ok := p.control[cluster]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownCluster, cluster)
	}
	client, err := api.NewClient(&api.Config{
		Address:          address,
		HttpClient:       &http.Client{Transport: t, CheckRedirect: noRedirect},
		Timeout:          p.callTimeout,
		MaxRetries:       0,
		DisableRedirects: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", cluster, err)
	}
	client.ClearToken()
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	return client, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Health asks sys/health of one node.
func (p *Pool) Health(ctx context.Context, cluster, address string) (health.Report, error) {
	_, body, err := p.get(ctx, cluster, address, healthPath)
	if err != nil {
		return health.Report{}, err
	}
	return health.DecodeReport(body)
}

// Replication asks sys/replication/status of one node.
func (p *Pool) Replication(ctx context.Context, cluster, address string) (replication.Status, error) {
	status, body, err := p.get(ctx, cluster, address, "/v1/sys/replication/status")
	if err != nil {
		return replication.Status{}, err
	}
	if status != http.StatusOK { // switched off, sealed: not the same as "disabled"
		return replication.Status{}, fmt.Errorf("asking %s: status %d for the replication status", cluster, status)
	}
	return replication.Decode(body)
}

// warmed is how many connections Warm opens: the rest is dialled as load needs it.
const warmed = 4

// Warm opens connections for client requests to a node, or keeps those there from
// growing old. An error means that requests would fail.
func (p *Pool) Warm(ctx context.Context, cluster, address string) error {
	t, ok := p.data[cluster]
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknownCluster, cluster)
	}
	var g errgroup.Group
	for range warmed {
		g.Go(func() error {
			_, _, err := ask(ctx, t, cluster, address, healthPath)
			return err
		})
	}
	return g.Wait() //nolint:wrapcheck // ask did
}

// get reads a small JSON document without a token, whatever its status.
func (p *Pool) get(ctx context.Context, cluster, address, path string) (status int, body []byte, err error) {
	t, ok := p.control[cluster]
	if !ok {
		return 0, nil, fmt.Errorf("%w: %q", ErrUnknownCluster, cluster)
	}
	return ask(ctx, t, cluster, address, path)
}

func ask(ctx context.Context, t http.RoundTripper, cluster, address, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+path, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("asking %s: %w", cluster, err)
	}
	req.Header.Set(api.RequestHeaderName, "true")
	resp, err := t.RoundTrip(req)
	if err != nil {
		return 0, nil, fmt.Errorf("asking %s: %w", cluster, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxControlBody))
	if err != nil {
		return 0, nil, fmt.Errorf("reading from %s: %w", cluster, err)
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		return 0, nil, fmt.Errorf("asking %s: status %d without JSON: is this a Vault address?", cluster, resp.StatusCode)
	}
	return resp.StatusCode, body, nil
}

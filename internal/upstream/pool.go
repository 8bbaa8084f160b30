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
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/errgroup"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/http1"
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
	PerNode     int           // connections for client requests to one node; default: no limit
	IdlePerNode int           // of them, kept without a request; default 256
	IdleTimeout time.Duration // for so long; default 90s
	Lifetime    time.Duration // how long a connection takes new requests; default 5m
	NoHTTP2     bool
	// Lookup gives the addresses of a host name, the preferred ones first; default: the
	// system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// LookupSRV gives the SRV records of a name; default: the system's resolver.
	LookupSRV func(ctx context.Context, name string) ([]*net.SRV, error)
	// Proxy says through which proxy an address is reached; nil: through none.
	Proxy func(*url.URL) (*url.URL, error)
}

func (c Config) withDefaults() Config {
	if c.DialTimeout <= 0 {
		c.DialTimeout = time.Second
	}
	if c.CallTimeout <= 0 {
		c.CallTimeout = 10 * time.Second
	}
	if c.IdlePerNode <= 0 {
		c.IdlePerNode = 256
	}
	if c.IdleTimeout <= 0 {
		// Below Vault's own idle timeout (5 minutes), so that a connection is not
		// reused in the moment the server closes it.
		c.IdleTimeout = 90 * time.Second
	}
	if c.Lifetime <= 0 {
		c.Lifetime = 5 * time.Minute
	}
	if c.Lookup == nil {
		c.Lookup = lookup
	}
	if c.LookupSRV == nil {
		c.LookupSRV = lookupSRV
	}
	return c
}

// ErrUnknownCluster is returned for a cluster that is not configured.
var ErrUnknownCluster = errors.New("no connection pool for this cluster")

// maxControlBody bounds what is read of a control answer; sys/health and
// sys/replication/status are a few KiB.
const maxControlBody = 1 << 20

// healthPath asks every state to answer 200, so that only a broken node answers
// otherwise; the body tells the state.
const healthPath = "/v1/sys/health?standbyok=true&perfstandbyok=true"

// idleControl is how many connections for control calls are kept, per node.
const idleControl = 8

// Pool is safe for concurrent use. Close it to drop idle connections.
type Pool struct {
	cfg   Config
	links map[string]*link
}

// New makes the pools. Nothing is dialled yet.
func New(cfg Config) *Pool {
	p := &Pool{cfg: cfg.withDefaults(), links: make(map[string]*link)}
	for _, c := range cfg.Clusters {
		l := &link{names: &names{}}
		l.use(c.TLS, p.cfg)
		p.links[c.Name] = l
	}
	return p
}

// Run makes new connections in the place of those whose lifetime is over, until ctx
// ends.
func (p *Pool) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, l := range p.links {
		g.Go(func() error { l.renew(ctx, p.cfg); return nil })
	}
	return g.Wait()
}

// Use speaks TLS to a cluster anew: connections made from now on, and requests begun
// from now on, are under t. Requests in flight go on.
func (p *Pool) Use(cluster string, t *tls.Config) {
	if l, ok := p.links[cluster]; ok {
		l.use(t, p.cfg)
	}
}

// current gives the transports to a cluster.
func (p *Pool) current(cluster string) (*transports, error) {
	l, ok := p.links[cluster]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownCluster, cluster)
	}
	return l.now.Load(), nil
}

// countingConn knows how many bytes were written to it, so that after a failure it
// can be told whether any part of a request may have arrived. Who reads it may have it be dry.
type countingConn struct {
	net.Conn
	written atomic.Int64
	dry     bool
}

// dry is the error of a connection that is. It passes, or TLS above would keep it for good.
type dry struct{}

func (dry) Error() string   { return "not read now" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

// Dry has reads give nothing, without a look at the socket: so can be found what was read of
// it already.
func (c *countingConn) Dry(on bool) { c.dry = on }

// Read reads, unless it is dry.
func (c *countingConn) Read(b []byte) (int, error) {
	if c.dry {
		return 0, dry{}
	}
	return c.Conn.Read(b)
}

// Write counts what it was asked to write, before it writes.
func (c *countingConn) Write(b []byte) (int, error) {
	c.written.Add(int64(len(b)))
	return c.Conn.Write(b)
}

// NetConn is the connection below.
func (c *countingConn) NetConn() net.Conn { return c.Conn }

// Written is how many bytes were given to Write so far.
func (c *countingConn) Written() int64 { return c.written.Load() }

// Close drops idle connections. Requests in flight go on.
func (p *Pool) Close() {
	for _, l := range p.links {
		l.close()
	}
}

// Send sends one client request to a cluster; its URL names the node. bare sends it over a
// connection on which no client certificate is shown. sent reports, beside an error, whether
// a part of it may have arrived. Redirects are not followed, and nothing is repeated but
// what did not arrive, or may be.
func (p *Pool) Send(ctx context.Context, cluster string, call *http1.Call, bare bool) (resp *http.Response, sent bool, err error) {
	t, err := p.current(cluster)
	if err != nil {
		return nil, false, err
	}
	if bare {
		return t.bare.send(ctx, call)
	}
	return t.data.send(ctx, call)
}

// Client makes a vault/api client for one node: no retries, no redirects, no token,
// no namespace, whatever the process's environment says.
func (p *Pool) Client(cluster, address string) (*api.Client, error) {
	t, err := p.current(cluster)
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(&api.Config{
		Address:          address,
		HttpClient:       &http.Client{Transport: t.control, CheckRedirect: noRedirect},
		Timeout:          p.cfg.CallTimeout,
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
	t, err := p.current(cluster)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for range warmed {
		g.Go(func() error {
			_, _, err := ask(ctx, t.data.warm, cluster, address, healthPath)
			return err
		})
	}
	return g.Wait() //nolint:wrapcheck // ask did
}

// get reads a small JSON document without a token, whatever its status.
func (p *Pool) get(ctx context.Context, cluster, address, path string) (status int, body []byte, err error) {
	t, err := p.current(cluster)
	if err == nil {
		err = p.undiscovered(ctx, cluster, address)
	}
	if err != nil {
		return 0, nil, err
	}
	return ask(ctx, t.control.RoundTrip, cluster, address, path)
}

func ask(ctx context.Context, roundTrip func(*http.Request) (*http.Response, error), cluster, address, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+path, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("asking %s: %w", cluster, err)
	}
	req.Header.Set(api.RequestHeaderName, "true")
	resp, err := roundTrip(req)
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

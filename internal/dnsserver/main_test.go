package dnsserver

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/vrproxy/vrproxy/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster builds a healthy cluster whose nodes all serve.
func cluster(name, region string, role health.Role, order int, addresses ...string) health.Cluster {
	c := health.Cluster{
		Name: name, Region: region, Role: role, Order: order, State: health.StateHealthy,
		RTT: time.Duration(10*(order+1)) * time.Millisecond,
	}
	for _, a := range addresses {
		c.Nodes = append(c.Nodes, health.Node{Address: a, State: health.StateHealthy, Serves: role != health.RoleDR})
	}
	return c
}

// world is a set as in the contract: the proxy sits in eu-west, us-east is primary.
func world(change ...func(*health.Topology)) *health.Topology {
	t := &health.Topology{
		Generation: 7, Region: "eu-west", Primary: "us-east",
		Clusters: []health.Cluster{
			cluster("us-east", "us-east", health.RolePrimary, 0, "https://10.0.0.1:8200", "https://10.0.0.2:8200"),
			cluster("us-west", "us-west", health.RoleSecondary, 1, "http://10.1.0.1"),
			cluster("EU-West", "eu-west", health.RoleSecondary, 2, "https://10.2.0.2:8201", "https://10.2.0.1:8200", "https://[2001:db8::1]"),
			cluster("us-east-dr", "us-west", health.RoleDR, 3, "https://10.3.0.1:8200"),
		},
	}
	t.Clusters[3].DROf = "us-east"
	for _, f := range change {
		f(t)
	}
	return t
}

func with(name string, f func(*health.Cluster)) func(*health.Topology) {
	return func(t *health.Topology) {
		if c, ok := t.Cluster(name); ok {
			f(c)
		}
	}
}

func down(c *health.Cluster) {
	c.State = health.StateDown
	for i := range c.Nodes {
		c.Nodes[i].State = health.StateDown
	}
}

// running is a server on loopback whose topology can be exchanged.
type running struct {
	*Server
	topology atomic.Pointer[health.Topology]
	registry *prometheus.Registry
}

func start(t *testing.T, topology *health.Topology, adjust ...func(*Config)) *running {
	t.Helper()
	r := &running{registry: prometheus.NewRegistry()}
	r.topology.Store(topology)
	cfg := Config{
		Addr: "127.0.0.1:0", Zone: "vault.internal", TTL: 5 * time.Second, NegativeTTL: 5 * time.Second, CacheSize: 100,
		Topology: r.topology.Load, Registry: r.registry,
	}
	for _, f := range adjust {
		f(&cfg)
	}
	var err error
	if r.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	runUntilCleanup(t, r.Run)
	return r
}

func runUntilCleanup(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (r *running) ask(t *testing.T, network string, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 10 * time.Second}
	resp, _, err := c.Exchange(m, r.Addr().String())
	if err != nil {
		t.Fatalf("asking %v: %v", m.Question, err)
	}
	if resp.Id != m.Id || !resp.Response {
		t.Fatalf("not an answer to %d: %v", m.Id, resp)
	}
	return resp
}

func (r *running) query(t *testing.T, name string, qtype uint16) *dns.Msg {
	t.Helper()
	return r.ask(t, "udp", new(dns.Msg).SetQuestion(name, qtype))
}

// ips are the addresses in a section, in order.
func ips(rrs []dns.RR) []string {
	out := []string{}
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, rr.A.String())
		case *dns.AAAA:
			out = append(out, rr.AAAA.String())
		}
	}
	return out
}

// fakeUpstream is a resolver on loopback; port 0 on TCP and UDP alike.
func fakeUpstream(t *testing.T, handler dns.HandlerFunc) string {
	t.Helper()
	s := new(Server)
	if err := s.bind("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*dns.Server{{PacketConn: s.udp.UDPConn, Handler: handler}, {Listener: s.tcp, Handler: handler}} {
		started, done := make(chan struct{}), make(chan error, 1)
		srv.NotifyStartedFunc = func() { close(started) }
		go func() { done <- srv.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			_ = srv.Shutdown()
			if err := <-done; err != nil {
				t.Errorf("serving: %v", err)
			}
		})
	}
	return s.addr.String()
}

// silentUpstream takes questions and never answers.
func silentUpstream(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	return pc.LocalAddr().String()
}

func rr(t *testing.T, text string) dns.RR {
	t.Helper()
	out, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// eventually polls until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// metric is the value with these labels, in the order of their names.
func (r *running) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(values, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

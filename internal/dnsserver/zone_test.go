package dnsserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/health"
)

func TestZone(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	euWest := []string{"10.2.0.2", "10.2.0.1"}
	tests := []struct {
		name  string
		qtype uint16
		rcode int
		want  []string // addresses; empty: NODATA, unless other types are checked elsewhere
	}{
		{"vault.internal.", dns.TypeA, dns.RcodeSuccess, euWest},
		{"vault.internal.", dns.TypeAAAA, dns.RcodeSuccess, []string{"2001:db8::1"}},
		{"nearest.vault.internal.", dns.TypeA, dns.RcodeSuccess, euWest},
		{"primary.vault.internal.", dns.TypeA, dns.RcodeSuccess, []string{"10.0.0.1", "10.0.0.2"}},
		{"primary.vault.internal.", dns.TypeAAAA, dns.RcodeSuccess, nil},
		{"us-west.vault.internal.", dns.TypeA, dns.RcodeSuccess, []string{"10.1.0.1"}},
		{"eu-west.vault.internal.", dns.TypeA, dns.RcodeSuccess, euWest},
		{"us-east-dr.vault.internal.", dns.TypeA, dns.RcodeSuccess, []string{"10.3.0.1"}},
		{"node-1.us-east.vault.internal.", dns.TypeA, dns.RcodeSuccess, []string{"10.0.0.1"}},
		{"node-1.eu-west.vault.internal.", dns.TypeA, dns.RcodeSuccess, []string{"10.2.0.1"}},
		{"node-3.us-east.vault.internal.", dns.TypeA, dns.RcodeNameError, nil},
		{"ns.vault.internal.", dns.TypeA, dns.RcodeSuccess, []string{"127.0.0.1"}},
		{"ns.vault.internal.", dns.TypeAAAA, dns.RcodeSuccess, nil},
		{"nowhere.vault.internal.", dns.TypeA, dns.RcodeNameError, nil},
		{"x.primary.vault.internal.", dns.TypeA, dns.RcodeNameError, nil},
		{"_tcp.vault.internal.", dns.TypeA, dns.RcodeSuccess, nil},
		{"_tcp.primary.vault.internal.", dns.TypeANY, dns.RcodeSuccess, nil},
		{"_vault._tcp.vault.internal.", dns.TypeA, dns.RcodeSuccess, nil},
		{"_http._tcp.vault.internal.", dns.TypeSRV, dns.RcodeNameError, nil},
		{"vault.internal.", dns.TypeMX, dns.RcodeSuccess, nil},
		{"primary.vault.internal.", dns.TypeSOA, dns.RcodeSuccess, nil},
		{"primary.vault.internal.", dns.TypeNS, dns.RcodeSuccess, nil},
		{"primary.vault.internal.", dns.TypeSRV, dns.RcodeSuccess, nil},
		{"evilvault.internal.", dns.TypeA, dns.RcodeRefused, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name+dns.TypeToString[tt.qtype], func(t *testing.T) {
			t.Parallel()
			resp := s.query(t, tt.name, tt.qtype)
			if resp.Rcode != tt.rcode || !slices.Equal(ips(resp.Answer), tt.want) {
				t.Fatalf("got %s %v, want %s %v", dns.RcodeToString[resp.Rcode], resp.Answer, dns.RcodeToString[tt.rcode], tt.want)
			}
			if tt.rcode == dns.RcodeRefused {
				return
			}
			if !resp.Authoritative {
				t.Error("the answer is not authoritative")
			}
			if len(tt.want) == 0 && !isSOA(resp.Ns) {
				t.Errorf("negative answer without SOA: %v", resp)
			}
		})
	}
}

func isSOA(rrs []dns.RR) bool {
	if len(rrs) != 1 {
		return false
	}
	soa, ok := rrs[0].(*dns.SOA)
	return ok && soa.Hdr.Name == "vault.internal." && soa.Hdr.Ttl == 5 && soa.Minttl == 5 && soa.Serial == 7
}

func TestApexRecords(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	if resp := s.query(t, "vault.internal.", dns.TypeSOA); !isSOA(resp.Answer) {
		t.Errorf("SOA: %v", resp)
	}
	resp := s.query(t, "vault.internal.", dns.TypeNS)
	if len(resp.Answer) != 1 || resp.Answer[0].(*dns.NS).Ns != "ns.vault.internal." || !slices.Equal(ips(resp.Extra), []string{"127.0.0.1"}) {
		t.Errorf("NS: %v", resp)
	}
	resp = s.query(t, "vault.internal.", dns.TypeANY)
	if len(resp.Answer) != 1 || resp.Answer[0].(*dns.HINFO).Cpu != "RFC8482" {
		t.Errorf("ANY: %v", resp)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	s := start(t, world(with("us-west", down)))
	for name, want := range map[string]string{
		"vault.internal.":            "cluster=EU-West region=eu-west role=secondary state=healthy",
		"nearest.vault.internal.":    "cluster=EU-West region=eu-west role=secondary state=healthy",
		"primary.vault.internal.":    "cluster=us-east region=us-east role=primary state=healthy",
		"us-west.vault.internal.":    "cluster=us-west region=us-west role=secondary state=down",
		"us-east-dr.vault.internal.": "cluster=us-east-dr region=us-west role=dr state=healthy",
	} {
		resp := s.query(t, name, dns.TypeTXT)
		if len(resp.Answer) != 1 || strings.Join(resp.Answer[0].(*dns.TXT).Txt, "") != want {
			t.Errorf("%s: %v, want %s", name, resp, want)
		}
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	const east = "0 100 8200 node-1.us-east.vault.internal.,0 100 8200 node-2.us-east.vault.internal."
	const all = "0 100 8201 node-2.eu-west.vault.internal.,0 100 8200 node-1.eu-west.vault.internal.," +
		"0 100 443 node-3.eu-west.vault.internal.," +
		"1 100 8200 node-1.us-east.vault.internal.,1 100 8200 node-2.us-east.vault.internal.," +
		"2 100 80 node-1.us-west.vault.internal."
	for name, want := range map[string]string{
		"_vault._tcp.vault.internal.":            all,
		"_vault._tcp.nearest.vault.internal.":    all,
		"_vault._tcp.primary.vault.internal.":    east,
		"_vault._tcp.us-east.vault.internal.":    east,
		"_vault._tcp.us-east-dr.vault.internal.": "0 100 8200 node-1.us-east-dr.vault.internal.",
	} {
		resp := s.ask(t, "tcp", new(dns.Msg).SetQuestion(name, dns.TypeSRV))
		var got []string
		for _, rr := range resp.Answer {
			srv := rr.(*dns.SRV)
			got = append(got, fmt.Sprintf("%d %d %d %s", srv.Priority, srv.Weight, srv.Port, srv.Target))
			for _, a := range s.query(t, srv.Target, dns.TypeA).Answer {
				if !slices.ContainsFunc(resp.Extra, func(x dns.RR) bool { return x.String() == a.String() }) {
					t.Errorf("%s: additional section lacks %s", name, a)
				}
			}
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%s:\n got %s\nwant %s", name, strings.Join(got, ","), want)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	nodeDown := func(c *health.Cluster) { c.Nodes[0].State = health.StateDown }
	standby := func(c *health.Cluster) { c.Nodes[0].Serves = false }
	drained := func(c *health.Cluster) { c.State = health.StateDrained }
	degraded := func(c *health.Cluster) { c.State = health.StateDegraded }
	allDown := func(tp *health.Topology) {
		for i := range tp.Clusters {
			down(&tp.Clusters[i])
		}
	}
	split := func(tp *health.Topology) { tp.Primary, tp.SplitBrain = "", true }
	tests := []struct {
		about    string
		topology *health.Topology
		name     string
		want     []string // nil: SERVFAIL
	}{
		{"own region down", world(with("EU-West", down)), "vault.internal.", []string{"10.0.0.1", "10.0.0.2"}},
		{"own region drained", world(with("EU-West", drained)), "nearest.vault.internal.", []string{"10.0.0.1", "10.0.0.2"}},
		{"own region degraded", world(with("EU-West", degraded)), "vault.internal.", []string{"10.2.0.2", "10.2.0.1"}},
		{"one node down", world(with("EU-West", nodeDown)), "vault.internal.", []string{"10.2.0.1"}},
		{"that node by name", world(with("EU-West", nodeDown)), "node-2.eu-west.vault.internal.", nil},
		{"one node does not serve", world(with("EU-West", standby)), "vault.internal.", []string{"10.2.0.1"}},
		{"a cluster down, by name", world(with("EU-West", down)), "eu-west.vault.internal.", nil},
		{"a cluster drained, by name", world(with("EU-West", drained)), "eu-west.vault.internal.", nil},
		{"everything down", world(allDown), "vault.internal.", nil},
		{"primary down", world(with("us-east", down)), "primary.vault.internal.", nil},
		{"split brain", world(split), "primary.vault.internal.", nil},
		{"split brain, reads", world(split), "vault.internal.", []string{"10.2.0.2", "10.2.0.1"}},
		{"nothing known", nil, "us-east.vault.internal.", nil},
		{"nothing known, apex", nil, "vault.internal.", nil},
		{"no clusters", &health.Topology{}, "vault.internal.", nil},
		{"shared address", world(with("us-west", func(c *health.Cluster) {
			c.Nodes = append(c.Nodes, health.Node{Address: "http://10.1.0.1:81", State: health.StateHealthy, Serves: true})
		})), "us-west.vault.internal.", []string{"10.1.0.1"}},
	}
	for _, tt := range tests { // one after the other: they share the server
		s.topology.Store(tt.topology)
		resp := s.query(t, tt.name, dns.TypeA)
		if tt.want == nil {
			if resp.Rcode != dns.RcodeServerFailure || len(resp.Answer) != 0 {
				t.Errorf("%s: %v, want SERVFAIL", tt.about, resp)
			}
			continue
		}
		if resp.Rcode != dns.RcodeSuccess || !slices.Equal(ips(resp.Answer), tt.want) {
			t.Errorf("%s: %v, want %v", tt.about, resp, tt.want)
		}
	}
}

func TestPreference(t *testing.T) {
	t.Parallel()
	s := start(t, world(with("EU-West", down)), func(c *Config) {
		c.Nearest = func(t *health.Topology) []*health.Cluster {
			return t.Nearest(health.Preference{Failover: []string{"us-west"}})
		}
	})
	if got := ips(s.query(t, "vault.internal.", dns.TypeA).Answer); !slices.Equal(got, []string{"10.1.0.1"}) {
		t.Errorf("the failover order is not followed: %v", got)
	}
}

func TestCaseIsKept(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	const name = "NeaREst.VAULT.intErnal."
	resp := s.query(t, name, dns.TypeA)
	if resp.Question[0].Name != name || len(resp.Answer) != 2 || resp.Answer[0].Header().Name != name {
		t.Errorf("case changed: %v", resp)
	}
}

func TestTTL(t *testing.T) {
	t.Parallel()
	s := start(t, world(), func(c *Config) { c.TTL, c.NegativeTTL = 15*time.Second, 3*time.Second })
	for range 2 { // the second answer is a prepared one
		if rr := s.query(t, "vault.internal.", dns.TypeA).Answer[0]; rr.Header().Ttl != 15 {
			t.Errorf("ttl: %v", rr)
		}
		if soa := s.query(t, "vault.internal.", dns.TypeSOA).Answer[0].(*dns.SOA); soa.Hdr.Ttl != 15 || soa.Minttl != 3 {
			t.Errorf("SOA: %v", soa)
		}
		for _, name := range []string{"none.vault.internal.", "primary.vault.internal."} {
			if soa := s.query(t, name, dns.TypeAAAA).Ns[0].(*dns.SOA); soa.Hdr.Ttl != 3 || soa.Minttl != 3 {
				t.Errorf("negative: %v", soa)
			}
		}
	}
}

func TestTopologyIsReadOncePerQuery(t *testing.T) {
	t.Parallel()
	reads := 0
	s, err := New(Config{Addr: "127.0.0.1:0", Zone: "vault.internal.", Topology: func() *health.Topology {
		reads++
		return world()
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	s.live.Load().respond(t.Context(), s.addr.Addr(), new(dns.Msg).SetQuestion("_vault._tcp.vault.internal.", dns.TypeSRV))
	if reads != 1 {
		t.Errorf("%d reads", reads)
	}
}

// A primary that may not be given, because routing.never names its region, is not
// given by another name either.
func TestNever(t *testing.T) {
	t.Parallel()
	s := start(t, world(), func(c *Config) {
		c.Nearest = func(t *health.Topology) []*health.Cluster {
			return t.Nearest(health.Preference{Never: []string{"us-east"}})
		}
	})
	if resp := s.query(t, "primary.vault.internal.", dns.TypeA); resp.Rcode != dns.RcodeServerFailure {
		t.Errorf("primary: %v", resp)
	}
	for _, rr := range s.query(t, "_vault._tcp.vault.internal.", dns.TypeSRV).Answer {
		if strings.Contains(rr.(*dns.SRV).Target, "us-east") {
			t.Errorf("service: %v", rr)
		}
	}
}

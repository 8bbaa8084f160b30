package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// served is a pool whose cluster "a" finds SRV records, as a DNS server in the same
// process gives them, and addresses of names below addr.
func served(t *testing.T, records ...string) *Pool {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	srv := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		for _, r := range records {
			rr, err := dns.NewRR(r)
			if err != nil {
				t.Error(err)
				continue
			}
			if rr.Header().Name == q.Question[0].Name && rr.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		if len(m.Answer) == 0 {
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m) // a question without an answer fails the test
	})}
	done := make(chan error, 1)
	go func() { done <- srv.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(), <-done); err != nil {
			t.Error(err)
		}
	})
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	p := New(Config{
		Clusters: []Cluster{{Name: "a"}},
		Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return resolver.LookupNetIP(ctx, "ip", host)
		},
		LookupSRV: func(ctx context.Context, name string) ([]*net.SRV, error) {
			_, targets, err := resolver.LookupSRV(ctx, "", "", name)
			return targets, err
		},
	})
	t.Cleanup(p.Close)
	return p
}

// As Consul answers, and as vrproxy's own zone does.
func TestNodesBehindServiceRecords(t *testing.T) {
	t.Parallel()
	p := served(t,
		"_vault._tcp.service.us-east.consul. 0 IN SRV 1 1 8200 0a010004.addr.us-east.consul.",
		"_vault._tcp.service.us-east.consul. 0 IN SRV 1 1 8202 0a010005.addr.us-east.consul.",
		"_vault._tcp.service.us-east.consul. 0 IN SRV 2 1 8200 gone.addr.us-east.consul.",
		"0a010004.addr.us-east.consul. 0 IN A 10.1.0.4",
		"0a010005.addr.us-east.consul. 0 IN A 10.1.0.5",
		"_vault._tcp.primary.vault.internal. 0 IN SRV 0 0 8200 us-east.vault.internal.",
		"us-east.vault.internal. 0 IN A 10.2.0.1",
		"us-east.vault.internal. 0 IN A 10.2.0.2",
		"_vault._tcp.lost.example.com. 0 IN SRV 0 0 8200 gone.example.com.",
	)
	for address, want := range map[string][]string{
		"srv+https://_vault._tcp.service.us-east.consul": {"https://0a010004.addr.us-east.consul:8200", "https://0a010005.addr.us-east.consul:8202"},
		"srv+http://primary.vault.internal":              {"http://10.2.0.1:8200", "http://10.2.0.2:8200"},
	} {
		if got, err := p.Resolve(t.Context(), "a", address); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", address, got, err, want)
		}
	}
	if name := p.links["a"].names.of("10.2.0.1:8200"); name != "us-east.vault.internal:8200" {
		t.Errorf("the node is called %s", name)
	}
	for address, want := range map[string]string{
		"srv+https://elsewhere.example.com": "SRV records of _vault._tcp.elsewhere.example.com",
		"srv+https://lost.example.com":      "resolving gone.example.com",
	} {
		if got, err := p.Resolve(t.Context(), "a", address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", address, got, err, want)
		}
		// The probes of what is no node yet tell why.
		if _, err := p.Health(t.Context(), "a", address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", address, err, want)
		}
	}
	if _, err := p.Health(t.Context(), "a", "srv+http://primary.vault.internal"); !errors.Is(err, errNotYet) {
		t.Error(err)
	}
}

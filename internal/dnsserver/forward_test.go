package dnsserver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/health"
)

// library answers A questions from a table and counts what it was asked.
func library(t *testing.T, asked *atomic.Int64, answers map[string][]string) string {
	t.Helper()
	return fakeUpstream(t, func(w dns.ResponseWriter, req *dns.Msg) {
		resp := new(dns.Msg).SetReply(req)
		q := req.Question[0]
		if q.Qtype != dns.TypeHINFO { // a probe
			asked.Add(1)
		}
		for _, text := range answers[q.Name] {
			if r := rr(t, text); r.Header().Rrtype == q.Qtype || r.Header().Rrtype == dns.TypeCNAME {
				resp.Answer = append(resp.Answer, r)
			}
		}
		if answers[q.Name] == nil {
			resp.Rcode = dns.RcodeNameError
		}
		if len(resp.Answer) == 0 {
			resp.Ns = []dns.RR{rr(t, "example. 60 SOA ns.example. h.example. 1 2 3 4 60")}
		}
		_ = w.WriteMsg(resp)
	})
}

func forwardTo(addrs ...string) func(*Config) {
	return func(c *Config) { c.Forward, c.Timeout = addrs, 300*time.Millisecond }
}

func TestForwarding(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	up := library(t, &asked, map[string][]string{
		"www.example.": {"www.example. 60 A 192.0.2.1"},
	})
	s := start(t, world(), forwardTo(up))
	for range 3 {
		resp := s.query(t, "wWw.eXample.", dns.TypeA)
		if !slices.Equal(ips(resp.Answer), []string{"192.0.2.1"}) || resp.Authoritative || !resp.RecursionAvailable {
			t.Fatalf("answer: %v", resp)
		}
		if resp.Question[0].Name != "wWw.eXample." || resp.Answer[0].Header().Name != "wWw.eXample." {
			t.Errorf("case changed: %v", resp)
		}
		if resp.IsEdns0() != nil {
			t.Error("OPT without being asked")
		}
	}
	for range 3 {
		if resp := s.query(t, "gone.example.", dns.TypeA); resp.Rcode != dns.RcodeNameError || len(resp.Ns) != 1 {
			t.Errorf("negative: %v", resp)
		}
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times, want 2: the rest is cached", n)
	}
}

func TestForwardFallsBackToTCP(t *testing.T) {
	t.Parallel()
	up := fakeUpstream(t, func(w dns.ResponseWriter, req *dns.Msg) {
		resp := new(dns.Msg).SetReply(req)
		if _, isTCP := w.RemoteAddr().(*net.TCPAddr); isTCP {
			resp.Answer = []dns.RR{rr(t, "big.example. 60 A 192.0.2.7")}
		} else {
			resp.Truncated = true
		}
		_ = w.WriteMsg(resp)
	})
	s := start(t, world(), forwardTo(up))
	if resp := s.query(t, "big.example.", dns.TypeA); resp.Truncated || len(resp.Answer) != 1 {
		t.Errorf("got %v", resp)
	}
}

// The DNSSEC bits, types that nobody knows and their data pass through both ways.
func TestForwardChangesNothing(t *testing.T) {
	t.Parallel()
	const odd = 65280
	up := fakeUpstream(t, func(w dns.ResponseWriter, req *dns.Msg) {
		resp := new(dns.Msg).SetReply(req)
		resp.AuthenticatedData = true
		if opt := req.IsEdns0(); opt != nil && opt.Do() {
			resp.Answer = append(resp.Answer, rr(t, "odd.example. 60 RRSIG TYPE65280 8 2 60 20300101000000 20200101000000 1 example. c2ln"))
		}
		if req.CheckingDisabled {
			resp.Answer = append(resp.Answer, rr(t, "odd.example. 60 TXT \"unchecked\""))
		}
		resp.Answer = append(resp.Answer, rr(t, `odd.example. 60 TYPE65280 \# 4 C00C0001`))
		_ = w.WriteMsg(resp)
	})
	s := start(t, world(), forwardTo(up))
	plain := new(dns.Msg).SetQuestion("odd.example.", odd)
	checked, secure := plain.Copy(), plain.Copy().SetEdns0(1232, true)
	checked.CheckingDisabled = true
	for range 2 { // the second answers are cached
		for about, tt := range map[string]struct {
			m       *dns.Msg
			records int
			ad      bool
		}{"plain": {plain, 1, false}, "DO": {secure, 2, true}, "CD": {checked, 2, false}} {
			resp := s.ask(t, "udp", tt.m)
			if n := len(resp.Answer); n != tt.records || resp.Answer[n-1].(*dns.RFC3597).Rdata != "c00c0001" ||
				resp.AuthenticatedData != tt.ad || resp.CheckingDisabled != tt.m.CheckingDisabled {
				t.Errorf("%s: %v", about, resp)
			}
		}
	}
}

func TestForwardTriesTheNext(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	good := library(t, &asked, map[string][]string{"www.example.": {"www.example. 0 A 192.0.2.1"}})
	failing := fakeUpstream(t, func(w dns.ResponseWriter, req *dns.Msg) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(req, dns.RcodeServerFailure))
	})
	liar := fakeUpstream(t, func(w dns.ResponseWriter, req *dns.Msg) {
		resp := new(dns.Msg).SetReply(req)
		resp.Question[0].Name = "other.example."
		_ = w.WriteMsg(resp)
	})
	for about, bad := range map[string]string{"silent": silentUpstream(t), "failing": failing, "liar": liar} {
		s := start(t, world(), forwardTo(bad, good))
		if resp := s.query(t, "www.example.", dns.TypeA); len(resp.Answer) != 1 {
			t.Errorf("%s: %v", about, resp)
		}
		alone := start(t, world(), forwardTo(bad))
		if resp := alone.query(t, "www.example.", dns.TypeA); resp.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s alone: %v", about, resp)
		}
	}
}

// A resolver that failed is asked last until a probe finds it up again.
func TestFailedForwarderIsAskedLast(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	var failing atomic.Bool
	answer := func(ip string) dns.HandlerFunc {
		return func(w dns.ResponseWriter, req *dns.Msg) {
			asked.Add(1)
			resp := new(dns.Msg).SetReply(req)
			resp.Answer = []dns.RR{rr(t, "www.example. 0 A "+ip)}
			_ = w.WriteMsg(resp)
		}
	}
	first := fakeUpstream(t, func(w dns.ResponseWriter, req *dns.Msg) {
		if !failing.Load() {
			answer("192.0.2.1")(w, req)
		}
	})
	s := start(t, world(), forwardTo(first, fakeUpstream(t, answer("192.0.2.2"))))
	given := func() string { return ips(s.query(t, "www.example.", dns.TypeA).Answer)[0] }
	if got := given(); got != "192.0.2.1" {
		t.Errorf("in the beginning: %s", got)
	}
	failing.Store(true)
	for range 3 {
		if got := given(); got != "192.0.2.2" {
			t.Errorf("while the first does not answer: %s", got)
		}
	}
	if u := (*s.live.Load().forward.upstreams.Load())[0]; !u.down.Load() {
		t.Error("not found to be down")
	}
	failing.Store(false)
	eventually(t, "the first is asked first again", func() bool { return given() == "192.0.2.1" })
	if got := s.metric(t, "vrproxy_dns_forwards_total", first, "failed"); got == 0 {
		t.Error("failures are not counted")
	}
}

func TestOrderOfForwarders(t *testing.T) {
	t.Parallel()
	a, b, c := newUpstream("a"), newUpstream("b"), newUpstream("c")
	order := func() (out string) {
		for _, u := range inOrder([]*upstream{a, b, c}) {
			out += u.addr
		}
		return out
	}
	for _, tt := range []struct {
		change func()
		want   string
	}{
		{func() {}, "abc"},
		{func() { a.down.Store(true) }, "bca"},
		{func() { b.loops.Store(true) }, "ca"},
		{func() { c.down.Store(true) }, "ac"},
		{func() { a.down.Store(false); b.loops.Store(false) }, "abc"},
	} {
		if tt.change(); order() != tt.want {
			t.Errorf("got %s, want %s", order(), tt.want)
		}
	}
}

func TestQuestionsInFlightAreShared(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	release := make(chan struct{})
	up := fakeUpstream(t, func(w dns.ResponseWriter, req *dns.Msg) {
		if req.Question[0].Qtype == dns.TypeHINFO { // a probe
			return
		}
		asked.Add(1)
		<-release
		resp := new(dns.Msg).SetReply(req)
		resp.Answer = []dns.RR{rr(t, "www.example. 60 A 192.0.2.1")}
		_ = w.WriteMsg(resp)
	})
	s := start(t, world(), func(c *Config) { c.Forward, c.Timeout = []string{up}, 10*time.Second })
	const clients = 20
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			if resp := s.query(t, "www.example.", dns.TypeA); len(resp.Answer) != 1 {
				t.Errorf("got %v", resp)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := asked.Load(); n > clients/2 {
		t.Errorf("asked %d times for %d clients", n, clients)
	}
}

func TestHostNames(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	up := library(t, &asked, map[string][]string{
		"vault.example.":    {"vault.example. 60 CNAME lb.example.", "lb.example. 3 A 192.0.2.8", "lb.example. 60 AAAA 2001:db8::8"},
		"six.example.":      {"six.example. 60 AAAA 2001:db8::6"},
		"zero.example.":     {"zero.example. 0 A 192.0.2.9"},
		"unrelated.example": {},
	})
	host := func(address string) *health.Topology {
		return &health.Topology{Clusters: []health.Cluster{cluster("c", "r", health.RolePrimary, 0, address)}}
	}
	s := start(t, nil, forwardTo(up))
	tests := []struct {
		address string
		want    []string // nil: SERVFAIL
		ttl     uint32
	}{
		{"https://vault.example:8200", []string{"192.0.2.8"}, 3},
		{"https://VAULT.example.:8200", []string{"192.0.2.8"}, 3},
		{"https://zero.example", []string{"192.0.2.9"}, 0},
		{"https://six.example", []string{}, 0},
		{"https://gone.example", nil, 0},
		{"http://localhost:8301", []string{"127.0.0.1"}, 5},
		{"https://c.vault.internal:8200", nil, 0},
	}
	for _, tt := range tests {
		s.topology.Store(host(tt.address))
		resp := s.query(t, "vault.internal.", dns.TypeA)
		if tt.want == nil {
			if resp.Rcode != dns.RcodeServerFailure {
				t.Errorf("%s: %v, want SERVFAIL", tt.address, resp)
			}
			continue
		}
		if resp.Rcode != dns.RcodeSuccess || !slices.Equal(ips(resp.Answer), tt.want) {
			t.Errorf("%s: %v, want %v", tt.address, resp, tt.want)
		}
		if len(resp.Answer) > 0 && resp.Answer[0].Header().Ttl > tt.ttl {
			t.Errorf("%s: ttl of %v, want at most %d", tt.address, resp.Answer[0], tt.ttl)
		}
	}
	s.topology.Store(host("https://vault.example:8200"))
	resp := s.query(t, "_vault._tcp.c.vault.internal.", dns.TypeSRV)
	if len(resp.Answer) != 1 || resp.Answer[0].(*dns.SRV).Target != "vault.example." ||
		!slices.Equal(ips(resp.Extra), []string{"192.0.2.8", "2001:db8::8"}) {
		t.Errorf("SRV: %v", resp)
	}
}

func TestOwnResolve(t *testing.T) {
	t.Parallel()
	two := &health.Topology{Clusters: []health.Cluster{
		cluster("c", "r", health.RolePrimary, 0, "https://bad.example", "https://good.example"),
	}}
	s := start(t, two, func(c *Config) {
		c.Resolve = func(_ context.Context, host string, _ uint16) ([]netip.Addr, time.Duration, error) {
			if host == "bad.example" {
				return nil, 0, errors.New("no luck")
			}
			return []netip.Addr{netip.MustParseAddr("192.0.2.5")}, time.Hour, nil
		}
	})
	resp := s.query(t, "vault.internal.", dns.TypeA)
	if !slices.Equal(ips(resp.Answer), []string{"192.0.2.5"}) || resp.Answer[0].Header().Ttl != 5 {
		t.Errorf("got %v", resp)
	}
}

func TestStoppingEndsWaitingQuestions(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	release := make(chan struct{})
	var once sync.Once
	up := fakeUpstream(t, func(_ dns.ResponseWriter, req *dns.Msg) {
		if req.Question[0].Qtype == dns.TypeHINFO { // a probe
			return
		}
		once.Do(func() { close(arrived) })
		<-release
	})
	t.Cleanup(func() { close(release) }) // before the upstream waits for its handlers
	s, err := New(Config{
		Addr: "127.0.0.1:0", Zone: "vault.internal.", Forward: []string{up}, Timeout: time.Hour,
		Topology: func() *health.Topology { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	client := &dns.Client{Timeout: 10 * time.Second}
	answer := make(chan *dns.Msg, 1)
	go func() {
		m, _, _ := client.Exchange(new(dns.Msg).SetQuestion("slow.example.", dns.TypeA), s.Addr().String())
		answer <- m
	}()
	<-arrived
	cancel()
	begun := time.Now()
	if err := <-done; err != nil || time.Since(begun) > 2*time.Second {
		t.Errorf("Run ended after %s with %v", time.Since(begun), err)
	}
	if m := <-answer; m == nil || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("the waiting client got %v", m)
	}
}

func TestReadForward(t *testing.T) {
	t.Parallel()
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("search x\nnameserver 127.0.0.1\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		self    string
		forward []string
		want    []string
	}{
		{"127.0.0.1:5353", []string{conf}, []string{"127.0.0.1:53", "10.0.0.2:53", "[fe80::1%eth0]:53"}},
		{"127.0.0.1:53", []string{conf}, []string{"10.0.0.2:53", "[fe80::1%eth0]:53"}},
		{"0.0.0.0:53", []string{conf, "10.9.9.9"}, []string{"10.0.0.2:53", "[fe80::1%eth0]:53", "10.9.9.9:53"}},
		{"[::]:53", []string{"127.0.0.1", "::1", "[2001:db8::1]", "dns.example:5353"}, []string{"[2001:db8::1]:53", "dns.example:5353"}},
	}
	for _, tt := range tests {
		got, err := readForward(tt.forward, netip.MustParseAddrPort(tt.self))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s %v: got %v, want %v", tt.self, tt.forward, got, tt.want)
		}
	}
}

func TestOwnAddressAsForwarder(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Addr: "127.0.0.1:0", Zone: "z.", Topology: func() *health.Topology { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Addr().String()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	loop := start(t, world(), func(c *Config) { c.Addr, c.Forward = addr, []string{addr} })
	if resp := loop.query(t, "example.com.", dns.TypeA); resp.Rcode != dns.RcodeServerFailure {
		t.Errorf("got %v", resp)
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	answer := func(rcode int, ns string, records ...string) *dns.Msg {
		m := new(dns.Msg).SetQuestion("x.", dns.TypeA)
		m.Rcode = rcode
		for _, r := range records {
			m.Answer = append(m.Answer, rr(t, r))
		}
		if ns != "" {
			m.Ns = []dns.RR{rr(t, ns)}
		}
		return m
	}
	const soa = "x. 60 SOA n. h. 1 1 1 1 30"
	cut := answer(dns.RcodeSuccess, "", "x. 60 A 192.0.2.1")
	cut.Truncated = true
	tests := []struct {
		about string
		msg   *dns.Msg
		want  time.Duration
	}{
		{"the shortest TTL counts", answer(0, "", "x. 60 A 192.0.2.1", "x. 20 A 192.0.2.2"), 20 * time.Second},
		{"a day", answer(0, "", "x. 86400 A 192.0.2.1"), cacheLongest},
		{"TTL zero", answer(0, "", "x. 0 A 192.0.2.1"), 0},
		{"NXDOMAIN", answer(dns.RcodeNameError, soa), 30 * time.Second},
		{"NXDOMAIN without SOA", answer(dns.RcodeNameError, ""), 0},
		{"NODATA", answer(0, soa), 30 * time.Second},
		{"NODATA behind an alias", answer(0, soa, "x. 10 CNAME y."), 10 * time.Second},
		{"an alias only", answer(0, "", "x. 10 CNAME y."), 0},
		{"SERVFAIL", answer(dns.RcodeServerFailure, soa), 0},
		{"truncated", cut, 0},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, q := newCache(10, 0), question{name: "x.", qtype: dns.TypeA}
				c.put(q, tt.msg)
				if m, _ := c.get(q); (m != nil) != (tt.want > 0) {
					kept := m != nil
					t.Fatalf("kept: %t", kept)
				}
				if tt.want == 0 {
					return
				}
				<-time.After(tt.want - time.Second)
				m, _ := c.get(q)
				if m == nil {
					t.Fatal("forgotten too early")
				}
				if len(m.Answer) > 0 && m.Answer[0].Header().Ttl != tt.msg.Answer[0].Header().Ttl-uint32(tt.want/time.Second)+1 {
					t.Errorf("TTL did not shrink: %v", m.Answer[0])
				}
				<-time.After(time.Second)
				if m, _ := c.get(q); m != nil {
					t.Error("kept too long")
				}
			})
		})
	}
}

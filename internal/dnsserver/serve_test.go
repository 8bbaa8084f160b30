package dnsserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/health"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	valid := func() *dns.Msg { return new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA) }
	tests := []struct {
		about  string
		change func(*dns.Msg)
		rcode  int
	}{
		{"a good one", func(*dns.Msg) {}, dns.RcodeSuccess},
		{"update", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		{"notify", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, dns.RcodeNotImplemented},
		{"status", func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }, dns.RcodeNotImplemented},
		{"chaos", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		{"any class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }, dns.RcodeRefused},
		{"no question", func(m *dns.Msg) { m.Question = nil }, dns.RcodeFormatError},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError},
		{"many questions", func(m *dns.Msg) {
			for range 30 {
				m.Question = append(m.Question, m.Question[0])
			}
		}, dns.RcodeFormatError},
		{"two OPT records", func(m *dns.Msg) { m.SetEdns0(1232, false).SetEdns0(1232, false) }, dns.RcodeFormatError},
		{"transfer", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeRefused},
		{"future EDNS", func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			m := valid()
			tt.change(m)
			resp := s.ask(t, "udp", m)
			if resp.Rcode != tt.rcode || resp.Opcode != m.Opcode {
				t.Errorf("got %v, want %s", resp, dns.RcodeToString[tt.rcode])
			}
			if (m.IsEdns0() != nil) != (resp.IsEdns0() != nil) {
				t.Errorf("OPT must be answered with OPT: %v", resp)
			}
		})
	}
}

func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	s := start(t, world(), func(c *Config) { c.Allow = prefixes("192.0.2.0/24") })
	if resp := s.query(t, "vault.internal.", dns.TypeA); resp.Rcode != dns.RcodeRefused || len(resp.Answer) > 0 {
		t.Errorf("a stranger got %v", resp)
	}
	defaults := Config{}.withDefaults()
	for from, want := range map[string]bool{
		"127.0.0.9": true, "::1": true, "::ffff:127.0.0.1": true, "10.0.0.1": false, "2001:db8::1": false,
	} {
		if got := defaults.allowed(netip.MustParseAddr(from)); got != want {
			t.Errorf("%s: %t", from, got)
		}
	}
}

func TestEDNS(t *testing.T) {
	t.Parallel()
	s := start(t, &health.Topology{})
	m := new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA).SetEdns0(4096, true)
	opt := s.ask(t, "udp", m).IsEdns0()
	if opt == nil || opt.UDPSize() != ednsSize || !opt.Do() || len(opt.Option) != 1 {
		t.Fatalf("OPT: %v", opt)
	}
	if why := opt.Option[0].(*dns.EDNS0_EDE).ExtraText; why != errNoCluster.Error() {
		t.Errorf("reason: %s", why)
	}
}

// crowd is a cluster with more nodes than fit into a small answer.
func crowd(n int) *health.Topology {
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("https://10.9.%d.%d:8200", i/250, i%250+1)
	}
	return &health.Topology{Primary: "big", Clusters: []health.Cluster{cluster("big", "r", health.RolePrimary, 0, addresses...)}}
}

func TestTruncation(t *testing.T) {
	t.Parallel()
	s := start(t, crowd(300))
	plain := new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA)
	for size, m := range map[int]*dns.Msg{
		512:  plain,
		513:  plain.Copy().SetEdns0(513, false),
		1232: plain.Copy().SetEdns0(65535, false),
	} {
		resp := s.ask(t, "udp", m)
		resp.Compress = true
		if !resp.Truncated || len(resp.Answer) == 0 || resp.Len() > size {
			t.Errorf("limit %d: %d bytes, %d records, truncated %t", size, resp.Len(), len(resp.Answer), resp.Truncated)
		}
	}
	if resp := s.ask(t, "tcp", plain); resp.Truncated || len(resp.Answer) != 300 {
		t.Errorf("TCP: %d records, truncated %t", len(resp.Answer), resp.Truncated)
	}
}

// TestBadPackets sends what no client sends; the server must live on.
func TestBadPackets(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	question, err := new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	anAnswer := bytes.Clone(question)
	anAnswer[2] |= 0x80
	loop := append(bytes.Clone(question[:12]), 0xC0, 12, 0, 1, 0, 1) // a name that points to itself
	tests := []struct {
		about  string
		packet []byte
		rcode  int // -1: silence
	}{
		{"short header", question[:11], -1},
		{"an answer", anAnswer, -1},
		{"cut question", question[:len(question)-3], dns.RcodeFormatError},
		{"compression loop", loop, dns.RcodeFormatError},
		{"a question after all that", question, dns.RcodeSuccess},
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, tt := range tests {
			if got := exchangeRaw(t, s.Addr().String(), network, tt.packet, question); got != tt.rcode {
				t.Errorf("%s over %s: code %d, want %d", tt.about, network, got, tt.rcode)
			}
		}
		if got := exchangeRaw(t, s.Addr().String(), network, nil, question); got != -1 {
			t.Errorf("nothing over %s: code %d", network, got)
		}
	}
}

// exchangeRaw sends a packet and then a good question with another id: whichever
// answer comes first tells whether the packet was answered.
func exchangeRaw(t *testing.T, addr, network string, packet, good []byte) int {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	frame := func(p []byte) []byte {
		if network == "tcp" {
			return append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...)
		}
		return p
	}
	if _, err := conn.Write(frame(packet)); err != nil {
		t.Fatal(err)
	}
	if answered := len(packet) >= 12 && packet[2]&0x80 == 0; !answered {
		sentinel := bytes.Clone(good)
		sentinel[0] ^= 0xFF
		if _, err := conn.Write(frame(sentinel)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := (&dns.Conn{Conn: conn}).ReadMsg()
	if network == "tcp" && (errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset")) {
		return -1 // hanging up is silence as well
	}
	if err != nil {
		t.Fatal(err)
	}
	if m.Id != binary.BigEndian.Uint16(good) {
		return -1
	}
	return m.Rcode
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	for range 3 {
		s.query(t, "vault.internal.", dns.TypeA)
	}
	s.query(t, "nowhere.vault.internal.", dns.TypeAAAA)
	s.query(t, "vault.internal.", 65280)
	s.query(t, "example.com.", dns.TypeHTTPS)
	want := map[string]float64{
		"A NOERROR": 3, "AAAA NXDOMAIN": 1, "other NOERROR": 1, "HTTPS REFUSED": 1,
	}
	for labels, n := range want {
		rcode, qtype := strings.Fields(labels)[1], strings.Fields(labels)[0]
		if got := s.metric(t, "vrproxy_dns_queries_total", rcode, qtype); got != n {
			t.Errorf("%s: %v, want %v", labels, got, n)
		}
	}
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	taken := start(t, world()).Addr().String()
	good := Config{Addr: "127.0.0.1:0", Zone: "vault.internal.", Topology: func() *health.Topology { return nil }}
	tests := map[string]func(*Config){
		"root zone":      func(c *Config) { c.Zone = "." },
		"no zone":        func(c *Config) { c.Zone = "" },
		"no topology":    func(c *Config) { c.Topology = nil },
		"negative ttl":   func(c *Config) { c.TTL = -1 },
		"address in use": func(c *Config) { c.Addr = taken },
		"no such file":   func(c *Config) { c.Forward = []string{"/nonexistent/resolv.conf"} },
		"bad forwarder":  func(c *Config) { c.Forward = []string{"one two"} },
	}
	for about, spoil := range tests {
		cfg := good
		spoil(&cfg)
		if s, err := New(cfg); err == nil {
			_ = s.Close()
			t.Errorf("%s: accepted", about)
		}
	}
}

// FuzzHandle sends any packet through all that is ours: no panic, an encodable
// answer, never a larger one than the client can take, and the same by the short way
// as by the long one.
func FuzzHandle(f *testing.F) {
	for _, name := range []string{"vault.internal.", "_vault._tcp.nearest.vault.internal.", "Node-1.us-east.vault.internal.", "."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeANY, dns.TypeTXT} {
			plain := new(dns.Msg).SetQuestion(name, qtype)
			for _, m := range []*dns.Msg{plain, plain.Copy().SetEdns0(512, false), plain.Copy().SetEdns0(65535, true)} {
				packet, err := m.Pack()
				if err != nil {
					f.Fatal(err)
				}
				f.Add(packet, false)
				f.Add(packet, true)
			}
		}
	}
	pictures := []*health.Topology{world(), nil, crowd(100)}
	var picture *health.Topology
	s, err := New(Config{Addr: "127.0.0.1:0", Zone: "vault.internal.", TTL: 5 * time.Second, Topology: func() *health.Topology { return picture }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	r, from := s.live.Load(), netip.MustParseAddr("127.0.0.1")
	f.Fuzz(func(t *testing.T, packet []byte, isTCP bool) {
		picture = pictures[len(packet)%len(pictures)]
		req := new(dns.Msg)
		if len(packet) < headerSize || s.acceptable(headerOf(packet)) != dns.MsgAccept || req.Unpack(packet) != nil {
			if quick := r.quick(packet, make([]byte, ednsSize), from); quick != nil {
				t.Fatalf("answered by the short way only: %x", packet)
			}
			return
		}
		resp := r.respond(t.Context(), from, req)
		out, rcode := pack(req, resp, isTCP)
		r.metrics.count(req, rcode)
		if out == nil {
			t.Fatalf("no answer to %v", req)
		}
		if len(out) > sizeLimit(req, isTCP) {
			t.Fatalf("%d bytes for %v", len(out), req)
		}
		long := new(dns.Msg)
		if err := long.Unpack(out); err != nil {
			t.Fatalf("our own answer: %v", err)
		}
		if quick := r.quick(packet, make([]byte, ednsSize), from); quick != nil && !isTCP {
			sameAnswer(t, quick, long)
		}
	})
}

func headerOf(packet []byte) dns.Header {
	n := func(i int) uint16 { return binary.BigEndian.Uint16(packet[i:]) }
	return dns.Header{Id: n(0), Bits: n(2), Qdcount: n(4), Ancount: n(6), Nscount: n(8), Arcount: n(10)}
}

// sameAnswer compares a prepared answer with one that was made for the question. The
// spelling of the zone's own name in it may differ.
func sameAnswer(t *testing.T, quick []byte, long *dns.Msg) {
	t.Helper()
	short := new(dns.Msg)
	if err := short.Unpack(quick); err != nil {
		t.Fatalf("a prepared answer: %v", err)
	}
	if !strings.EqualFold(short.String(), long.String()) || short.Question[0].Name != long.Question[0].Name {
		t.Fatalf("the short way gives\n%v\nthe long one\n%v", short, long)
	}
}

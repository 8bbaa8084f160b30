package dnsserver

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/health"
)

func packet(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	p, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every name, type and form is answered the short way as it is the long way, and is
// prepared by the first answer.
func TestPreparedAnswers(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	r, from, out := s.live.Load(), s.addr.Addr(), make([]byte, ednsSize)
	for name := range r.view().names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeHTTPS, dns.TypeMX, dns.TypeANY} {
			plain := new(dns.Msg).SetQuestion(name, qtype)
			forms := map[string]*dns.Msg{
				"plain": plain, "EDNS": plain.Copy().SetEdns0(4096, false), "DO": plain.Copy().SetEdns0(1232, true),
				"no recursion, CD, AD": plain.Copy(),
			}
			m := forms["no recursion, CD, AD"]
			m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData = false, true, true
			for form, m := range forms {
				t.Run(fmt.Sprint(name, dns.TypeToString[qtype], form), func(t *testing.T) {
					p := packet(t, m)
					resp := r.respond(t.Context(), from, m)
					long, rcode := pack(m, resp, false)
					quick := r.quick(p, out, from)
					if want := preparable(qtype) && rcode == dns.RcodeSuccess && len(long) <= sizeLimit(m, false) && !resp.Truncated; (quick != nil) != want {
						t.Fatalf("prepared: %t, want %t", quick != nil, want)
					}
					if quick == nil {
						return
					}
					parsed := new(dns.Msg)
					if err := parsed.Unpack(long); err != nil {
						t.Fatal(err)
					}
					sameAnswer(t, quick, parsed)
				})
			}
		}
	}
}

// What is unusual goes the long way.
func TestShortWayIsForPlainQuestions(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	s.query(t, "vault.internal.", dns.TypeA)
	s.ask(t, "udp", new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA).SetEdns0(1232, false))
	r, out := s.live.Load(), make([]byte, ednsSize)
	local, stranger := s.addr.Addr(), netip.MustParseAddr("192.0.2.1")
	good := packet(t, new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA))
	edns := packet(t, new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA).SetEdns0(1232, false))
	if r.quick(good, out, local) == nil || r.quick(edns, out, local) == nil {
		t.Fatal("the good ones are not answered")
	}
	if r.quick(good, out, stranger) != nil {
		t.Error("a stranger is answered")
	}
	changed := func(p []byte, i int, b byte) []byte {
		p = slices.Clone(p)
		p[i] = b
		return p
	}
	end := len(good)
	for about, p := range map[string][]byte{
		"nothing":               nil,
		"an answer":             changed(good, 2, 0x81),
		"another opcode":        changed(good, 2, 0x29),
		"Z bit":                 changed(good, 3, 0x40),
		"two questions":         changed(good, 5, 2),
		"an answer record":      changed(good, 7, 1),
		"an additional missing": changed(good, 11, 1),
		"another class":         changed(good, end-1, dns.ClassCHAOS),
		"a pointer":             changed(good, headerSize, 0xC0),
		"bytes behind":          append(slices.Clone(good), 0),
		"EDNS version 1":        changed(edns, end+6, 1),
		"extended code":         changed(edns, end+5, 1),
		"an OPT of a name":      changed(edns, end, 1),
		"a longer OPT":          changed(edns, len(edns)-1, 1),
		"another additional":    changed(edns, end+2, byte(dns.TypeTSIG)),
	} {
		if r.quick(p, out, local) != nil {
			t.Errorf("%s: answered", about)
		}
		for n := range len(p) {
			if n != len(good) && r.quick(p[:n], out, local) != nil {
				t.Errorf("%s, cut to %d bytes: answered", about, n)
			}
		}
	}
	s.topology.Store(world(with("EU-West", down)))
	if r.quick(good, out, local) != nil {
		t.Error("an answer of the topology before")
	}
}

// Nodes whose addresses have to be looked up are not prepared.
func TestNamesAreNotPrepared(t *testing.T) {
	t.Parallel()
	s := start(t, &health.Topology{Primary: "c", Clusters: []health.Cluster{
		cluster("c", "r", health.RolePrimary, 0, "http://localhost:8200", "http://192.0.2.1"),
	}})
	r, out := s.live.Load(), make([]byte, ednsSize)
	prepared := func(name string, qtype uint16) bool {
		m := new(dns.Msg).SetQuestion(name, qtype)
		r.respond(t.Context(), s.addr.Addr(), m)
		return r.quick(packet(t, m), out, s.addr.Addr()) != nil
	}
	for _, name := range []string{"vault.internal.", "node-2.c.vault.internal.", "primary.vault.internal."} {
		if prepared(name, dns.TypeA) || prepared("_vault._tcp."+name, dns.TypeSRV) {
			t.Errorf("prepared: %s", name)
		}
	}
	if !prepared("node-1.c.vault.internal.", dns.TypeA) || !prepared("ns.vault.internal.", dns.TypeA) {
		t.Error("what is known is not prepared")
	}
}

func TestShortWayAllocatesNothing(t *testing.T) {
	s := start(t, world())
	r, from, out := s.live.Load(), s.addr.Addr(), make([]byte, ednsSize)
	s.query(t, "primary.vault.internal.", dns.TypeA)
	p := packet(t, new(dns.Msg).SetQuestion("priMary.vault.internal.", dns.TypeA))
	if n := testing.AllocsPerRun(1000, func() { r.quick(p, out, from) }); n != 0 {
		t.Errorf("%v allocations for one answer", n)
	}
}

func BenchmarkShortWay(b *testing.B) {
	s, err := New(Config{Addr: "127.0.0.1:0", Zone: "vault.internal.", Topology: func() func() *health.Topology {
		w := world()
		return func() *health.Topology { return w }
	}()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r, from, out := s.live.Load(), s.addr.Addr(), make([]byte, ednsSize)
	m := new(dns.Msg).SetQuestion("primary.vault.internal.", dns.TypeA)
	r.respond(b.Context(), from, m)
	p := packet(b, m)
	b.ReportAllocs()
	for b.Loop() {
		if r.quick(p, out, from) == nil {
			b.Fatal("not prepared")
		}
	}
}

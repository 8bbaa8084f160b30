package dnsserver

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/health"
)

func loopbackPort53() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:53") }

func TestReload(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	up := library(t, &asked, map[string][]string{"www.example.": {"www.example. 60 A 192.0.2.1"}})
	s := start(t, world())
	if resp := s.query(t, "www.example.", dns.TypeA); resp.Rcode != dns.RcodeRefused {
		t.Errorf("before: %v", resp)
	}
	next := Config{Zone: "vault.corp", TTL: time.Minute, Forward: []string{up}, Topology: s.topology.Load}
	if err := s.Reload(next); err != nil {
		t.Fatal(err)
	}
	if resp := s.query(t, "www.example.", dns.TypeA); len(resp.Answer) != 1 {
		t.Errorf("forwarding: %v", resp)
	}
	if resp := s.query(t, "primary.vault.corp.", dns.TypeA); len(resp.Answer) != 2 || resp.Answer[0].Header().Ttl != 60 {
		t.Errorf("zone: %v", resp)
	}
	for _, spoil := range []func(*Config){
		func(c *Config) { c.Zone = "." },
		func(c *Config) { c.Forward = []string{"/nonexistent/resolv.conf"} },
	} {
		bad := next
		spoil(&bad)
		if err := s.Reload(bad); err == nil {
			t.Error("accepted")
		}
	}
	if resp := s.query(t, "primary.vault.corp.", dns.TypeA); len(resp.Answer) != 2 {
		t.Errorf("after a bad one: %v", resp)
	}
}

// Answers come from the address that was asked, also where the server is bound to none
// in particular.
func TestAnswersComeFromWhereTheQuestionWent(t *testing.T) {
	t.Parallel()
	for _, bound := range []string{"0.0.0.0:0", "[::]:0"} {
		s := start(t, world(), func(c *Config) { c.Addr = bound })
		for _, host := range []string{"127.0.0.1", "127.0.0.99"} {
			for _, name := range []string{"vault.internal.", "none.vault.internal."} {
				for range 2 { // a connected socket takes no answer from elsewhere
					to := netip.AddrPortFrom(netip.MustParseAddr(host), s.Addr().Port()).String()
					if _, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), to); err != nil {
						t.Errorf("%s asked at %s for %s: %v", bound, host, name, err)
					}
				}
			}
		}
	}
	s, err := New(Config{Addr: "[::1]:0", Zone: "vault.internal.", Topology: func() *health.Topology { return nil }})
	if err != nil {
		t.Logf("no IPv6 here: %v", err)
		return
	}
	_ = s.Close()
	six := start(t, world(), func(c *Config) { c.Addr = "[::]:0" })
	for range 2 {
		to := netip.AddrPortFrom(netip.IPv6Loopback(), six.Addr().Port()).String()
		if _, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA), to); err != nil {
			t.Errorf("asked by IPv6: %v", err)
		}
	}
}

// Packets of many long questions and a bad end get a small refusal: unpacked and
// repeated, the questions would be many times as large.
func TestNoAmplification(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	p := packet(t, new(dns.Msg).SetQuestion(strings.Repeat("a23456789012345678901234567890.", 8), dns.TypeA))
	p[4], p[5] = 0, 200
	for range 199 {
		p = append(p, 0xC0, headerSize, 0, 1, 0, 1)
	}
	p[11] = 1 // an additional record that is not there
	for _, p := range [][]byte{p, p[:len(p)-1]} {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "udp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 65535)
		n, err := conn.Read(buf)
		if err != nil || n != headerSize || buf[3]&0xF != dns.RcodeFormatError {
			t.Errorf("%d bytes in, %d out: %v", len(p), n, err)
		}
		_ = conn.Close()
	}
}

// TCP clients that send nothing, half a length, or half a question hold up nobody else,
// and are hung up on.
func TestSlowTCPClients(t *testing.T) {
	t.Parallel()
	s := start(t, world())
	question := packet(t, new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA))
	var slow []net.Conn
	for _, sent := range [][]byte{nil, {0}, append([]byte{0, byte(len(question))}, question[:20]...), {0xFF, 0xFF, 1}} {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	if resp := s.ask(t, "tcp", new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA)); len(resp.Answer) != 2 {
		t.Errorf("somebody else got %v", resp)
	}
	for i, conn := range slow {
		_ = conn.SetReadDeadline(time.Now().Add(ioTimeout + 10*time.Second))
		if n, err := io.Copy(io.Discard, conn); n != 0 || isTimeout(err) {
			t.Errorf("slow client %d: %d bytes, %v", i, n, err)
		}
	}
}

// strange makes a listener's connections come from beyond loopback.
type strange struct{ net.Listener }

type strangeConn struct{ net.Conn }

func (l strange) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return strangeConn{conn}, err
}

func (strangeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5} }

func TestOneSourceGetsItsShareOfConnections(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	bound, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer bound.Close()
	l := newFairListener(strange{bound})
	dial := func() net.Conn {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", bound.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	var taken []net.Conn
	for range maxPerSource {
		dial()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		taken = append(taken, conn)
	}
	accepted := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = conn.Close()
		}
		accepted <- err
	}()
	tooMany := dial()
	_ = tooMany.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := tooMany.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("one too many: %v", err)
	}
	for range 2 { // the second time does not count
		_ = taken[0].Close()
	}
	dial()
	if err := <-accepted; err != nil {
		t.Errorf("after one has gone: %v", err)
	}
	for _, conn := range taken {
		_ = conn.Close()
	}
	if len(l.open) != 0 {
		t.Errorf("left: %v", l.open)
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error) //nolint:errorlint // io.Copy does not wrap
	return ok && t.Timeout()
}

package dnsserver

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(10)
		allowed := func(from string, n int) (sum int) {
			for range n {
				if l.allow(netip.MustParseAddr(from)) {
					sum++
				}
			}
			return sum
		}
		if got := allowed("192.0.2.1", 50); got != 10 {
			t.Errorf("one source: %d of 50", got)
		}
		if got := allowed("::ffff:192.0.2.1", 1); got != 0 {
			t.Error("the same source in another form is another one")
		}
		if got := allowed("192.0.2.2", 10); got != 10 {
			t.Errorf("another source: %d of 10", got)
		}
		if got := allowed("2001:db8::1", 6) + allowed("2001:db8::2", 6); got != 10 {
			t.Errorf("one network: %d of 12", got)
		}
		if got := allowed("127.0.0.1", 50) + allowed("::1", 50); got != 100 {
			t.Errorf("this machine: %d of 100", got)
		}
		<-time.After(time.Second / 2)
		if got := allowed("192.0.2.1", 50); got != 5 {
			t.Errorf("half a second later: %d", got)
		}
	})
	if !(*limits)(nil).allow(netip.MustParseAddr("192.0.2.1")) {
		t.Error("no limit limits")
	}
}

// recorder is a client whose address can be chosen.
type recorder struct {
	dns.ResponseWriter
	from net.Addr
	last *dns.Msg
}

func (r *recorder) RemoteAddr() net.Addr { return r.from }

func (r *recorder) Write(p []byte) (int, error) {
	r.last = new(dns.Msg)
	return len(p), r.last.Unpack(p)
}

// Beyond the limit UDP is told to come by TCP, and TCP is refused; the answer is no
// larger than the question.
func TestWhoAsksTooOften(t *testing.T) {
	t.Parallel()
	s := start(t, world(), func(c *Config) { c.Allow, c.RateLimit = prefixes("0.0.0.0/0"), 2 })
	r := s.live.Load()
	m := new(dns.Msg).SetQuestion("vault.internal.", dns.TypeA)
	udp := &recorder{from: peer{AddrPort: netip.MustParseAddrPort("192.0.2.1:5")}}
	tcp := &recorder{from: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5}}
	for range 2 {
		if r.serve(t.Context(), udp, m); len(udp.last.Answer) != 2 {
			t.Fatalf("within the limit: %v", udp.last)
		}
	}
	if r.serve(t.Context(), udp, m); !udp.last.Truncated || udp.last.Len() > m.Len() {
		t.Errorf("UDP beyond: %v", udp.last)
	}
	if r.serve(t.Context(), tcp, m); tcp.last.Rcode != dns.RcodeRefused {
		t.Errorf("TCP beyond: %v", tcp.last)
	}
	if r.quick(packet(t, m), make([]byte, ednsSize), netip.MustParseAddr("192.0.2.1")) != nil {
		t.Error("the short way knows no limit")
	}
	if got := s.metric(t, "vrproxy_dns_rate_limited_total"); got != 2 {
		t.Errorf("counted %v", got)
	}
}

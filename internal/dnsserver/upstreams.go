package dnsserver

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// failedFor is how long a resolver that failed is asked last.
const failedFor = 5 * time.Second

// upstream is one resolver that questions are forwarded to.
type upstream struct {
	addr   string       // host:port
	failed atomic.Int64 // when it last failed, Unix nanoseconds; 0: it answered since
}

func (u *upstream) note(err error) {
	if err == nil {
		u.failed.Store(0)
		return
	}
	u.failed.Store(time.Now().UnixNano())
}

// inOrder keeps the configured order, but puts those that just failed behind the
// others. All of them are tried in the end.
func inOrder(upstreams []*upstream) []*upstream {
	since := time.Now().Add(-failedFor).UnixNano()
	suspect := func(u *upstream) int {
		if u.failed.Load() > since {
			return 1
		}
		return 0
	}
	ranks := make(map[*upstream]int, len(upstreams)) // read once: others change it while we sort
	for _, u := range upstreams {
		ranks[u] = suspect(u)
	}
	out := slices.Clone(upstreams)
	slices.SortStableFunc(out, func(a, b *upstream) int { return cmp.Compare(ranks[a], ranks[b]) })
	return out
}

// parseUpstreams reads Config.Forward, leaving out what leads back to self.
func parseUpstreams(forward []string, self netip.AddrPort) ([]*upstream, error) {
	var out []*upstream
	for _, entry := range forward {
		addrs, err := expand(entry)
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if !isSelf(a, self) {
				out = append(out, &upstream{addr: a})
			}
		}
	}
	return out, nil
}

// expand turns one entry of Config.Forward into host:port addresses.
func expand(entry string) ([]string, error) {
	if strings.Contains(entry, "/") {
		return readResolvConf(entry)
	}
	if ip, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
		return []string{netip.AddrPortFrom(ip, 53).String()}, nil
	}
	host, port, err := net.SplitHostPort(entry)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("forward %q is neither a path, an address nor host:port", entry)
	}
	return []string{entry}, nil
}

func readResolvConf(path string) ([]string, error) {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading forwarders: %w", err)
	}
	addrs := make([]string, len(conf.Servers))
	for i, server := range conf.Servers {
		addrs[i] = net.JoinHostPort(server, conf.Port)
	}
	return addrs, nil
}

// isSelf recognises our own socket, which a resolv.conf names once this server is
// plugged in there.
func isSelf(addr string, self netip.AddrPort) bool {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || ap.Port() != self.Port() {
		return false
	}
	ip, own := ap.Addr().Unmap(), self.Addr().Unmap()
	return ip == own || own.IsUnspecified() && (ip.IsLoopback() || ip.IsUnspecified())
}

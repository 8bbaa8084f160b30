package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
)

// errNoAddress: the name is there, and has no address.
var errNoAddress = errors.New("the name has no address")

// names remembers for one cluster which addresses stand for a configured name: by
// host:port as dialled, the host:port as configured. That is what the node is called in
// the Host header and asked for in TLS. It only grows, by one entry for an address.
type names struct {
	hosts atomic.Pointer[map[string]string]
}

// of gives the configured host:port of one that is dialled: mostly the same.
func (n *names) of(host string) string {
	if m := n.hosts.Load(); m != nil {
		if name, ok := (*m)[host]; ok {
			return name
		}
	}
	return host
}

func (n *names) learn(dialled []string, name string) {
	for {
		old := n.hosts.Load()
		next := make(map[string]string)
		if old != nil {
			next = maps.Clone(*old)
		}
		for _, d := range dialled {
			next[d] = name
		}
		if n.hosts.CompareAndSwap(old, &next) {
			return
		}
	}
}

// Resolve tells which nodes stand behind a configured address: the address itself when it
// holds an IP address or a name that has one, else one for each address of the name, of
// the family that RFC 6724 prefers here (so a dual-stacked host is not two nodes). Nodes
// found so are called by their name in requests and in TLS.
func (p *Pool) Resolve(ctx context.Context, cluster, address string) ([]string, error) {
	l, ok := p.links[cluster]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownCluster, cluster)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("resolving an address of %s: %w", cluster, err)
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || p.cfg.Proxy != nil { // a proxy looks names up by itself
		return []string{address}, nil
	}
	ips, err := p.cfg.Lookup(ctx, u.Hostname())
	if err == nil && len(ips) == 0 {
		err = errNoAddress
	}
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", u.Hostname(), err)
	}
	ips = preferred(ips)
	if len(ips) == 1 {
		return []string{address}, nil
	}
	port := cmp.Or(u.Port(), map[string]string{"https": "443"}[u.Scheme], "80")
	var hosts, nodes []string
	for _, ip := range ips {
		node := *u
		node.Host = net.JoinHostPort(ip.String(), port)
		hosts, nodes = append(hosts, node.Host), append(nodes, node.String())
	}
	l.names.learn(hosts, u.Host)
	return nodes, nil
}

// preferred gives the addresses of the first one's family, in order, each once.
func preferred(ips []netip.Addr) []netip.Addr {
	four := ips[0].Unmap().Is4()
	var out []netip.Addr
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() == four {
			out = append(out, ip)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host) //nolint:wrapcheck // Resolve does
}

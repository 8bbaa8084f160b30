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
	"strconv"
	"strings"
	"sync/atomic"
)

var (
	// errNoAddress: the name is there, and has no address.
	errNoAddress = errors.New("the name has no address")
	// errNotYet: the records are there since a moment.
	errNotYet = errors.New("the nodes were found just now")
)

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
// found so are called by their name in requests and in TLS. Behind srv+https:// and
// srv+http:// are the targets of SRV records.
func (p *Pool) Resolve(ctx context.Context, cluster, address string) ([]string, error) {
	l, ok := p.links[cluster]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownCluster, cluster)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("resolving an address of %s: %w", cluster, err)
	}
	if scheme, ok := strings.CutPrefix(u.Scheme, srvPrefix); ok {
		return p.discover(ctx, cluster, scheme, u.Hostname())
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

// srvPrefix marks an address whose host is the name of SRV records.
const srvPrefix = "srv+"

// discover gives the nodes that SRV records name. Their priority and weight say nothing
// that probes do not tell better. A target that can't be resolved leaves the others.
func (p *Pool) discover(ctx context.Context, cluster, scheme, name string) ([]string, error) {
	targets, err := p.cfg.LookupSRV(ctx, serviceName(name))
	if err == nil && len(targets) == 0 {
		err = errNoAddress
	}
	if err != nil {
		return nil, fmt.Errorf("resolving the SRV records of %s: %w", serviceName(name), err)
	}
	var nodes []string
	var failed []error
	for _, t := range targets {
		host := net.JoinHostPort(strings.TrimSuffix(t.Target, "."), strconv.Itoa(int(t.Port)))
		found, err := p.Resolve(ctx, cluster, (&url.URL{Scheme: scheme, Host: host}).String())
		nodes, failed = append(nodes, found...), append(failed, err)
	}
	if len(nodes) == 0 {
		return nil, errors.Join(failed...)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes), nil
}

// serviceName is the name to ask for: as it is written if it names a service, else that of
// Vault at it, as in vrproxy's own zone.
func serviceName(name string) string {
	if strings.HasPrefix(name, "_") {
		return name
	}
	return "_vault._tcp." + name
}

// undiscovered tells why an address that stands for SRV records is still no node; nil for
// any other.
func (p *Pool) undiscovered(ctx context.Context, cluster, address string) error {
	if !strings.HasPrefix(address, srvPrefix) {
		return nil
	}
	_, err := p.Resolve(ctx, cluster, address)
	return cmp.Or(err, errNotYet)
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

func lookupSRV(ctx context.Context, name string) ([]*net.SRV, error) {
	_, targets, err := net.DefaultResolver.LookupSRV(ctx, "", "", name)
	return targets, err //nolint:wrapcheck // discover does
}

package dnsserver

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/health"
)

// kind says which types of record a name can have.
type kind int

const (
	kindEmpty   kind = iota // exists only because something is below it
	kindApex                // addresses, TXT, SOA, NS
	kindCluster             // addresses, TXT
	kindService             // SRV
	kindNode                // addresses of one node
	kindSelf                // addresses of this server
)

// zone is every name of the zone under one topology. It is never changed once
// built.
type zone struct {
	topology *health.Topology // nil: nothing known yet
	origin   string
	names    map[string]*owner // by canonical name
	prepared prepared
}

// owner is one name of the zone.
type owner struct {
	kind   kind
	places []place // that may be used, most preferred first
	// about is the cluster that TXT describes: also one that is down, where the name
	// means that very cluster.
	about *health.Cluster
	node  endpoint // of a kindNode
}

// place is one cluster with those of its nodes that work; never without any.
type place struct {
	cluster *health.Cluster
	nodes   []endpoint // best first
}

// endpoint is a node as DNS sees it.
type endpoint struct {
	host     string     // without brackets; a name or an address
	ip       netip.Addr // valid where host is an address
	port     uint16
	name     string // its own name in the zone
	target   string // what SRV points to: host, so that certificates match, or name
	up       bool
	degraded bool
}

// view reads the topology, once, and gives the zone that follows from it.
func (r *responder) view() *zone {
	t := r.cfg.Topology()
	if z := r.current.Load(); z != nil && z.topology == t {
		return z
	}
	z := buildZone(r.cfg.Zone, t, r.cfg.Nearest)
	r.current.Store(z)
	return z
}

// buildZone adds the fixed names last: they win over a cluster of the same name.
func buildZone(origin string, t *health.Topology, nearest func(*health.Topology) []*health.Cluster) *zone {
	z := &zone{topology: t, origin: origin, names: map[string]*owner{}}
	if t != nil {
		for i := range t.Clusters {
			z.addCluster(&t.Clusters[i])
		}
	}
	near := nearestPlaces(origin, t, nearest)
	z.addServed(origin, owner{kind: kindApex, places: near})
	z.addServed("nearest."+origin, owner{kind: kindCluster, places: near})
	z.addServed("primary."+origin, owner{kind: kindCluster, places: primaryPlaces(t, near)})
	z.add("ns."+origin, &owner{kind: kindSelf})
	return z
}

// addCluster gives a cluster its name and each of its nodes one below it. The
// name answers for whatever role the cluster has, a DR copy included: who asks for
// one cluster means that one.
func (z *zone) addCluster(c *health.Cluster) {
	name := clusterName(z.origin, c)
	if _, ok := dns.IsDomainName(name); !ok {
		return // not expressible; it is still among the nearest
	}
	o := owner{kind: kindCluster, about: c}
	if p, ok := placeOf(z.origin, c); ok {
		o.places = []place{p}
	}
	z.addServed(name, o)
	for _, e := range endpointsOf(z.origin, c) {
		z.add(e.name, &owner{kind: kindNode, node: e})
	}
}

// addServed adds a name and its SRV twin.
func (z *zone) addServed(name string, o owner) {
	z.add(name, &o)
	z.add("_vault._tcp."+name, &owner{kind: kindService, places: o.places})
}

// add also brings the names between it and the apex into being: asked for, they
// must give NODATA, because NXDOMAIN would deny what is below them (RFC 8020).
func (z *zone) add(name string, o *owner) {
	z.names[name] = o
	for name != z.origin {
		_, name, _ = strings.Cut(name, ".")
		if _, ok := z.names[name]; !ok {
			z.names[name] = &owner{kind: kindEmpty}
		}
	}
}

func clusterName(origin string, c *health.Cluster) string {
	return strings.ToLower(c.Name) + "." + origin
}

func nearestPlaces(origin string, t *health.Topology, nearest func(*health.Topology) []*health.Cluster) []place {
	if t == nil {
		return nil
	}
	var out []place
	for _, c := range nearest(t) {
		if pl, ok := placeOf(origin, c); ok && c.Usable() {
			out = append(out, pl)
		}
	}
	return out
}

// primaryPlaces is the cluster that takes writes, if it may be given at all.
func primaryPlaces(t *health.Topology, near []place) []place {
	i := slices.IndexFunc(near, func(p place) bool { return p.cluster.Name == t.Primary })
	if i < 0 {
		return nil
	}
	return near[i : i+1]
}

// placeOf is false for a cluster that is down, drained or has no working node.
func placeOf(origin string, c *health.Cluster) (place, bool) {
	if !works(c.State) {
		return place{}, false
	}
	nodes := slices.DeleteFunc(endpointsOf(origin, c), func(e endpoint) bool { return !e.up })
	return place{cluster: c, nodes: nodes}, len(nodes) > 0
}

func works(s health.State) bool {
	return s == health.StateHealthy || s == health.StateDegraded
}

// endpointsOf lists all nodes, best first. Where none serves clients, as in a DR
// copy, those that work at all count as up.
func endpointsOf(origin string, c *health.Cluster) []endpoint {
	numbers := nodeNumbers(c)
	anyServes := slices.ContainsFunc(c.Nodes, func(n health.Node) bool { return works(n.State) && n.Serves })
	out := make([]endpoint, 0, len(c.Nodes))
	for i := range c.Nodes {
		n := &c.Nodes[i]
		e, ok := parseEndpoint(n.Address)
		if !ok {
			continue
		}
		e.up = works(n.State) && (n.Serves || !anyServes)
		e.degraded = n.State != health.StateHealthy
		e.name = fmt.Sprintf("node-%d.%s", numbers[n.Address], clusterName(origin, c))
		e.target = e.name
		if !e.ip.IsValid() {
			e.target = dns.Fqdn(e.host)
		}
		out = append(out, e)
	}
	return out
}

// nodeNumbers counts by address, not by the order of the moment: a name that a
// client still holds must go on meaning the same node.
func nodeNumbers(c *health.Cluster) map[string]int {
	addresses := make([]string, len(c.Nodes))
	for i := range c.Nodes {
		addresses[i] = c.Nodes[i].Address
	}
	slices.Sort(addresses)
	numbers := make(map[string]int, len(addresses))
	for i, a := range slices.Compact(addresses) {
		numbers[a] = i + 1
	}
	return numbers
}

func parseEndpoint(address string) (endpoint, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return endpoint{}, false
	}
	e := endpoint{host: strings.ToLower(u.Hostname())}
	if ip, err := netip.ParseAddr(e.host); err == nil {
		e.ip = ip.Unmap().WithZone("")
	}
	port, err := strconv.ParseUint(cmp.Or(u.Port(), schemePort(u.Scheme)), 10, 16)
	e.port = uint16(port)
	_, isName := dns.IsDomainName(e.host)
	return e, err == nil && (e.ip.IsValid() || isName)
}

func schemePort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

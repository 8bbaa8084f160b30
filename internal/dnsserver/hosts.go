package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
)

const (
	// additionalTimeout bounds the look-ups for an additional section: it is a
	// courtesy, clients can ask for the addresses themselves.
	additionalTimeout = time.Second
	resolvesAtOnce    = 8
)

// located are the addresses of one node.
type located struct {
	ips []netip.Addr
	ttl uint32 // seconds
}

// locate finds the addresses of one type of all nodes, in their order. It fails
// only when that leaves none.
func (r *responder) locate(ctx context.Context, nodes []endpoint, qtype uint16) ([]located, error) {
	out := make([]located, len(nodes))
	errs := make([]error, len(nodes))
	var g errgroup.Group
	g.SetLimit(resolvesAtOnce)
	found := false
	for i, e := range nodes {
		if e.ip.IsValid() {
			out[i] = r.literal(e.ip, qtype)
			continue
		}
		g.Go(func() error {
			out[i], errs[i] = r.lookup(ctx, e.host, qtype)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	for _, l := range out {
		found = found || len(l.ips) > 0
	}
	if err := errors.Join(errs...); err != nil && !found {
		return nil, err
	}
	return out, nil
}

func (r *responder) literal(ip netip.Addr, qtype uint16) located {
	if ip.Is4() != (qtype == dns.TypeA) {
		return located{}
	}
	return located{ips: []netip.Addr{ip}, ttl: r.ttl}
}

// lookup resolves one name. A name of our own zone would lead back here.
func (r *responder) lookup(ctx context.Context, host string, qtype uint16) (located, error) {
	switch {
	case host == "localhost" && qtype == dns.TypeA: // RFC 6761: never asked on the network
		return r.literal(netip.AddrFrom4([4]byte{127, 0, 0, 1}), qtype), nil
	case host == "localhost":
		return r.literal(netip.IPv6Loopback(), qtype), nil
	case dns.IsSubDomain(r.cfg.Zone, dns.Fqdn(host)):
		return located{}, fmt.Errorf("%w: %s is in the zone itself", errResolve, host)
	}
	ips, ttl, err := r.resolve(ctx, host, qtype)
	if err != nil {
		return located{}, fmt.Errorf("%w: %s: %w", errResolve, host, err)
	}
	return located{ips: ips, ttl: uint32(max(ttl, 0) / time.Second)}, nil
}

// additionals are the addresses of SRV targets, each once.
func (r *responder) additionals(ctx context.Context, nodes []endpoint) []dns.RR {
	ctx, cancel := context.WithTimeout(ctx, additionalTimeout)
	defer cancel()
	unique := make([]endpoint, 0, len(nodes))
	seen := map[string]bool{}
	for _, e := range nodes {
		if !seen[e.target] {
			seen[e.target] = true
			unique = append(unique, e)
		}
	}
	var out []dns.RR
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		found, err := r.locate(ctx, unique, qtype)
		if err != nil {
			r.complain.about(err, dns.Question{Name: r.cfg.Zone, Qtype: qtype})
			continue
		}
		for i, l := range found {
			out = append(out, r.addressRecords(unique[i].target, []located{l})...)
		}
	}
	return out
}

// defaultResolve asks the forwarders, whose cache keeps the answers for their
// TTL; without forwarders it asks the operating system.
func (r *responder) defaultResolve() ResolveFunc {
	if r.forward != nil {
		return r.forward.resolve
	}
	return (&system{keep: r.cfg.TTL}).resolve
}

// system asks the operating system, which does not tell for how long an answer holds.
type system struct {
	keep    time.Duration
	names   sync.Map // host to systemAnswer; as many as nodes are configured by name
	flights singleflight.Group
}

type systemAnswer struct {
	ips   []netip.Addr
	until time.Time
}

func (s *system) resolve(ctx context.Context, host string, qtype uint16) ([]netip.Addr, time.Duration, error) {
	a, err := s.lookup(ctx, host)
	if err != nil {
		return nil, 0, err
	}
	var out []netip.Addr
	for _, ip := range a.ips {
		if ip = ip.Unmap().WithZone(""); ip.Is4() == (qtype == dns.TypeA) {
			out = append(out, ip)
		}
	}
	return out, time.Until(a.until), nil
}

// lookup gets both families at once: "has no address of this one" and "does not exist"
// must stay apart.
func (s *system) lookup(ctx context.Context, host string) (systemAnswer, error) {
	if kept, ok := s.names.Load(host); ok && time.Now().Before(kept.(systemAnswer).until) {
		return kept.(systemAnswer), nil
	}
	v, err, _ := s.flights.Do(host, func() (any, error) {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		a := systemAnswer{ips: ips, until: time.Now().Add(s.keep)}
		s.names.Store(host, a)
		return a, nil
	})
	if err != nil {
		return systemAnswer{}, err
	}
	return v.(systemAnswer), nil
}

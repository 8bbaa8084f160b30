package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
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
func (s *Server) locate(ctx context.Context, nodes []endpoint, qtype uint16) ([]located, error) {
	out := make([]located, len(nodes))
	errs := make([]error, len(nodes))
	var g errgroup.Group
	g.SetLimit(resolvesAtOnce)
	found := false
	for i, e := range nodes {
		if e.ip.IsValid() {
			out[i] = s.literal(e.ip, qtype)
			continue
		}
		g.Go(func() error {
			out[i], errs[i] = s.lookup(ctx, e.host, qtype)
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

func (s *Server) literal(ip netip.Addr, qtype uint16) located {
	if ip.Is4() != (qtype == dns.TypeA) {
		return located{}
	}
	return located{ips: []netip.Addr{ip}, ttl: s.ttl}
}

// lookup resolves one name. A name of our own zone would lead back here.
func (s *Server) lookup(ctx context.Context, host string, qtype uint16) (located, error) {
	switch {
	case host == "localhost" && qtype == dns.TypeA: // RFC 6761: never asked on the network
		return s.literal(netip.AddrFrom4([4]byte{127, 0, 0, 1}), qtype), nil
	case host == "localhost":
		return s.literal(netip.IPv6Loopback(), qtype), nil
	case dns.IsSubDomain(s.cfg.Zone, dns.Fqdn(host)):
		return located{}, fmt.Errorf("%w: %s is in the zone itself", errResolve, host)
	}
	ips, ttl, err := s.resolve(ctx, host, qtype)
	if err != nil {
		return located{}, fmt.Errorf("%w: %s: %w", errResolve, host, err)
	}
	return located{ips: ips, ttl: uint32(max(ttl, 0) / time.Second)}, nil
}

// additionals are the addresses of SRV targets, each once.
func (s *Server) additionals(ctx context.Context, nodes []endpoint) []dns.RR {
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
		found, err := s.locate(ctx, unique, qtype)
		if err != nil {
			s.complain.about(err, dns.Question{Name: s.cfg.Zone, Qtype: qtype})
			continue
		}
		for i, l := range found {
			out = append(out, s.addressRecords(unique[i].target, []located{l})...)
		}
	}
	return out
}

// defaultResolve asks the forwarders, whose cache keeps the answers for their
// TTL; without forwarders it asks the operating system.
func (s *Server) defaultResolve() ResolveFunc {
	if s.forward != nil {
		return s.forward.resolve
	}
	return func(ctx context.Context, host string, qtype uint16) ([]netip.Addr, time.Duration, error) {
		// Both families at once: "has no address of this one" and "does not exist" must
		// stay apart.
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, 0, err
		}
		var out []netip.Addr
		for _, ip := range ips {
			if ip = ip.Unmap().WithZone(""); ip.Is4() == (qtype == dns.TypeA) {
				out = append(out, ip)
			}
		}
		return out, s.cfg.TTL, nil
	}
}

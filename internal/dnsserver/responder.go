package dnsserver

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"
)

// responder answers questions by one Config. A reload puts another one in its
// place; what is being answered ends with the old one.
type responder struct {
	cfg           Config
	ttl, negative uint32         // of the zone's records and of its negative answers
	addr          netip.AddrPort // of this server
	current       atomic.Pointer[zone]
	forward       *forwarder // nil: questions outside the zone are refused
	resolve       ResolveFunc
	limits        *limits // nil: none
	metrics       *metrics
	complain      *complaints
}

// newResponder needs the bound address: the forwarders leave it out.
func newResponder(cfg Config, addr netip.AddrPort, m *metrics, c *complaints) (*responder, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &responder{
		cfg: cfg, ttl: uint32(cfg.TTL / time.Second), negative: uint32(cfg.NegativeTTL / time.Second),
		addr: addr, limits: newLimits(cfg.RateLimit), metrics: m, complain: c,
	}
	var err error
	if r.forward, err = newForwarder(cfg, addr, m, c); err != nil {
		return nil, err
	}
	r.resolve = cfg.Resolve
	if r.resolve == nil {
		r.resolve = r.defaultResolve()
	}
	return r, nil
}

// run does the work behind the answers until ctx ends.
func (r *responder) run(ctx context.Context) error {
	if r.forward == nil {
		<-ctx.Done()
		return nil
	}
	return r.forward.run(ctx)
}

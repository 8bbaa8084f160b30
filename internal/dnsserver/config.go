// Package dnsserver answers one DNS zone from the health topology and forwards
// everything else.
//
// The zone says where Vault is: its apex and nearest. give the nodes of the
// nearest usable cluster, primary. those of the cluster that takes writes,
// CLUSTER. those of one cluster; _vault._tcp below each of them gives the same
// as SRV, with ports. An address that is not known to work is never given: when
// no cluster is left the answer is SERVFAIL, which clients retry.
package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/health"
)

// DefaultTimeout is that of Config.
const DefaultTimeout = 2 * time.Second

// longest bounds every duration of a Config.
const longest = 24 * time.Hour

// Config says what a Server answers and to whom. Addr, Zone and Topology are
// required.
type Config struct {
	// Addr is the host:port of both the UDP and the TCP socket; port 0 picks one
	// that is free for both.
	Addr string
	// TCP and UDP are sockets that are bound already, both of them, in place of Addr;
	// may be nil.
	TCP net.Listener
	UDP net.PacketConn
	// Zone is the domain that is answered from the topology, with or without the
	// final dot; not the root.
	Zone string
	// TTL is that of every record of the zone, in whole seconds; 0 is that nothing may
	// be kept.
	TTL time.Duration
	// NegativeTTL is that of the zone's negative answers.
	NegativeTTL time.Duration
	// Forward lists where names outside the zone are asked: paths of resolv.conf
	// files (anything with a slash), addresses, or host:port. Empty: such questions
	// are REFUSED.
	Forward []string
	// Timeout bounds one try at one of the forwarders; 0 is DefaultTimeout.
	Timeout time.Duration
	// CacheSize is how many forwarded answers are kept; 0: none.
	CacheSize int
	// ServeStale is for how long an answer that has expired is given while no
	// forwarder answers; 0: never. Addresses of nodes are never given stale.
	ServeStale time.Duration
	// RateLimit is how many questions a second one source beyond loopback may ask;
	// 0 is no limit.
	RateLimit int
	// Allow lists who may ask; empty is loopback only.
	Allow []netip.Prefix
	// Topology gives the newest picture, called once per query; it must not block.
	// A nil picture means that nothing is known yet.
	Topology func() *health.Topology
	// Nearest orders the clusters that may be given for the names that mean the nearest
	// one, most preferred first; it is asked when the topology is new. Nil is by
	// nearness alone.
	Nearest func(*health.Topology) []*health.Cluster
	// Resolve finds the addresses of nodes that are configured by name. The default
	// asks the forwarders, or the operating system where there are none.
	Resolve ResolveFunc
	// Logger gets one line per kind of failure and minute; nil is silence.
	Logger *zap.Logger
	// Registry gets the metrics vrproxy_dns_*; nil leaves them unregistered.
	Registry prometheus.Registerer
}

// ResolveFunc finds the addresses of host, a name without the final dot, of one
// type (dns.TypeA or dns.TypeAAAA), and how long they hold. A host that exists but
// has no such address is an empty list, not an error.
type ResolveFunc func(ctx context.Context, host string, qtype uint16) ([]netip.Addr, time.Duration, error)

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if len(c.Allow) == 0 {
		c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Nearest == nil {
		c.Nearest = func(t *health.Topology) []*health.Cluster { return t.Nearest(health.Preference{}) }
	}
	c.Zone = dns.CanonicalName(c.Zone)
	return c
}

func (c Config) validate() error {
	if _, ok := dns.IsDomainName(c.Zone); !ok || c.Zone == "." {
		return fmt.Errorf("zone %q is not a domain below the root", c.Zone)
	}
	if c.Topology == nil {
		return errors.New("no topology to answer from")
	}
	for name, d := range map[string]time.Duration{"ttl": c.TTL, "negative ttl": c.NegativeTTL, "serve stale": c.ServeStale} {
		if d < 0 || d > longest {
			return fmt.Errorf("%s %s is not between 0 and %s", name, d, longest)
		}
	}
	if c.CacheSize < 0 || c.RateLimit < 0 {
		return errors.New("cache size and rate limit must not be negative")
	}
	return nil
}

// allowed reports whether a source may ask.
func (c Config) allowed(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	return slices.ContainsFunc(c.Allow, func(p netip.Prefix) bool { return p.Contains(from) })
}

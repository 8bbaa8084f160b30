package app

import (
	"context"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/internal/dnsserver"
)

// nameserver is the DNS server with what runs it: a reload may start one, stop it, or
// put another in its place.
type nameserver struct {
	server  *dnsserver.Server
	address string // as configured
	runner  *runner
}

// newNameserver binds; nil where none is configured.
func (a *App) newNameserver(d *configs.DNS) (*nameserver, error) {
	if d == nil {
		return nil, nil //nolint:nilnil // no DNS server is not an error
	}
	cfg := a.dnsConfig(d)
	cfg.TCP, cfg.UDP = a.sockets.room(dnsSocket, d.Address), a.sockets.datagrams(dnsSocket, d.Address)
	server, err := dnsserver.New(cfg)
	if err != nil {
		return nil, err
	}
	return &nameserver{server: server, address: d.Address, runner: newRunner()}, nil
}

func (a *App) dnsConfig(d *configs.DNS) dnsserver.Config {
	return dnsserver.Config{
		Addr: d.Address, Zone: d.Zone, TTL: d.TTL, NegativeTTL: d.NegativeTTL, Allow: d.Allow,
		Forward: d.Forward, CacheSize: d.CacheSize, ServeStale: d.ServeStale, RateLimit: d.RateLimit,
		Topology: a.cores.topology, Nearest: a.cores.order, Logger: a.opts.Logger, Registry: a.registry,
	}
}

func (n *nameserver) start() { n.runner.run(n.server.Run) }

func (n *nameserver) stop(ctx context.Context) error {
	if n == nil {
		return nil
	}
	err := n.runner.stop(ctx)
	if closeErr := n.server.Close(); err == nil {
		err = closeErr // for one that never ran
	}
	return err
}

// reloadDNS puts the new settings to use: at the same address without closing a
// socket. It returns the server that has to be stopped, if there is one. An error leaves
// everything as it was.
func (a *App) reloadDNS(d *configs.DNS) (old *nameserver, err error) {
	if d != nil && a.dns != nil && a.dns.address == d.Address {
		return nil, a.dns.server.Reload(a.dnsConfig(d))
	}
	next, err := a.newNameserver(d)
	if err != nil {
		return nil, err
	}
	if next != nil {
		next.start()
	}
	old, a.dns = a.dns, next
	return old, nil
}

package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

const (
	maxQuerySize  = 4096 // bytes of one UDP question; more is malformed for us
	maxTCPClients = 256  // connections served at once; further ones wait
	bindTries     = 20   // for a port that is free on UDP and TCP alike
	idleTimeout   = 8 * time.Second
	ioTimeout     = 2 * time.Second
)

// Server answers the zone and forwards the rest. Its sockets are bound by New and
// served by Run.
type Server struct {
	cfg      Config
	udp      net.PacketConn
	tcp      net.Listener
	addr     netip.AddrPort
	ttl      uint32
	current  atomic.Pointer[zone]
	forward  *forwarder // nil: questions outside the zone are refused
	resolve  ResolveFunc
	queries  *queryCounter
	complain *complaints
}

// New binds the sockets. It fails on a bad Config, a resolv.conf that cannot be
// read, or an address in use. Whoever does not call Run must call Close.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	s := &Server{cfg: cfg, ttl: uint32(cfg.TTL / time.Second), complain: newComplaints(cfg.Logger)}
	if err := s.bind(); err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	if err := s.assemble(); err != nil {
		return nil, errors.Join(fmt.Errorf("dns server: %w", err), s.Close())
	}
	return s, nil
}

// assemble builds what needs the bound address: the forwarders leave it out.
func (s *Server) assemble() (err error) {
	if s.forward, err = newForwarder(s.cfg, s.addr); err != nil {
		return err
	}
	s.resolve = s.cfg.Resolve
	if s.resolve == nil {
		s.resolve = s.defaultResolve()
	}
	s.queries, err = newQueryCounter(s.cfg.Registry)
	return err
}

// bind takes the TCP port first: fewer programs pick TCP ports at random, so the
// same UDP port is more likely to be free than the other way round.
func (s *Server) bind() error {
	var lc net.ListenConfig
	ctx := context.Background() // binding does not block
	var err error
	for range bindTries {
		if s.tcp, err = lc.Listen(ctx, "tcp", s.cfg.Addr); err != nil {
			return err
		}
		s.udp, err = lc.ListenPacket(ctx, "udp", s.tcp.Addr().String())
		if err == nil {
			s.addr = s.tcp.Addr().(*net.TCPAddr).AddrPort()
			return nil
		}
		_ = s.tcp.Close()
		if !picksPort(s.cfg.Addr) {
			break
		}
	}
	return err
}

func picksPort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	return err == nil && (port == "0" || port == "")
}

// Addr is the address that both sockets are bound to.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Close releases the sockets of a server that is never run. After Run it does
// nothing.
func (s *Server) Close() error {
	return ignoreClosed(errors.Join(s.udp.Close(), s.tcp.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Run answers until ctx ends, then returns nil once the queries in hand are
// answered: those that wait for a forwarder get SERVFAIL. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) { s.serve(ctx, w, req) })
	g.Go(func() error { return s.runOne(ctx, &dns.Server{PacketConn: s.udp, Handler: handler}) })
	g.Go(func() error {
		tcp := netutil.LimitListener(s.tcp, maxTCPClients)
		return s.runOne(ctx, &dns.Server{Listener: tcp, Handler: handler})
	})
	return g.Wait()
}

func (s *Server) runOne(ctx context.Context, srv *dns.Server) error {
	started := make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	srv.UDPSize = maxQuerySize
	srv.ReadTimeout, srv.WriteTimeout = ioTimeout, ioTimeout
	srv.IdleTimeout = func() time.Duration { return idleTimeout }
	srv.MsgAcceptFunc = acceptQuestions
	srv.MsgInvalidFunc = func([]byte, error) { s.queries.invalid() }

	served := make(chan error, 1)
	go func() { served <- srv.ActivateAndServe() }()
	select {
	case <-started:
	case err := <-served:
		return fmt.Errorf("serving dns: %w", err)
	}
	select {
	case <-ctx.Done():
	case err := <-served:
		return fmt.Errorf("serving dns: %w", err)
	}
	_ = srv.Shutdown() // fails only when not started; what serving ended with is below
	return <-served
}

// acceptQuestions lets everything but answers through, so that refusals are made
// and counted in one place. Answering an answer could go on for ever between two
// servers.
func acceptQuestions(h dns.Header) dns.MsgAcceptAction {
	const answerBit = 1 << 15
	if h.Bits&answerBit != 0 {
		return dns.MsgIgnore
	}
	return dns.MsgAccept
}

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
	udp      *packetConn
	tcp      net.Listener
	addr     netip.AddrPort
	live     atomic.Pointer[responder]
	reloaded chan struct{}
	metrics  *metrics
	complain *complaints
}

// New binds the sockets. It fails on a bad Config, a resolv.conf that cannot be
// read, or an address in use. Whoever does not call Run must call Close.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	s := &Server{reloaded: make(chan struct{}, 1), complain: newComplaints(cfg.Logger)}
	if err := s.sockets(cfg); err != nil {
		return nil, fmt.Errorf("dns server: %w", err)
	}
	if err := s.assemble(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("dns server: %w", err), s.Close())
	}
	return s, nil
}

func (s *Server) assemble(cfg Config) (err error) {
	if s.metrics, err = newMetrics(cfg.Registry); err != nil {
		return err
	}
	r, err := newResponder(cfg, s.addr, s.metrics, s.complain)
	if err != nil {
		return err
	}
	s.live.Store(r)
	return nil
}

// Reload answers by another Config from now on. Addr, Logger and Registry stay what
// they were. An error leaves the old one in use.
func (s *Server) Reload(cfg Config) error {
	r, err := newResponder(cfg, s.addr, s.metrics, s.complain)
	if err != nil {
		return fmt.Errorf("dns server: %w", err)
	}
	s.live.Store(r)
	select {
	case s.reloaded <- struct{}{}:
	default:
	}
	return nil
}

// sockets takes those that are bound already, or binds some.
func (s *Server) sockets(cfg Config) (err error) {
	if cfg.TCP == nil && cfg.UDP == nil {
		return s.bind(cfg.Addr)
	}
	tcp, isTCP := addrOf(cfg.TCP).(*net.TCPAddr)
	udp, isUDP := cfg.UDP.(*net.UDPConn)
	if !isTCP || !isUDP {
		return errors.New("one socket for TCP and one for UDP are needed, or none")
	}
	s.tcp, s.addr = cfg.TCP, tcp.AddrPort()
	s.udp, err = newPacketConn(udp, s.quick)
	return err
}

func addrOf(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// bind takes the TCP port first: fewer programs pick TCP ports at random, so the
// same UDP port is more likely to be free than the other way round.
func (s *Server) bind(addr string) error {
	var lc net.ListenConfig
	ctx := context.Background() // binding does not block
	var err error
	for range bindTries {
		if s.tcp, err = lc.Listen(ctx, "tcp", addr); err != nil {
			return err
		}
		var conn net.PacketConn
		conn, err = lc.ListenPacket(ctx, "udp", s.tcp.Addr().String())
		if err == nil {
			s.addr = s.tcp.Addr().(*net.TCPAddr).AddrPort()
			s.udp, err = newPacketConn(conn.(*net.UDPConn), s.quick)
			return err
		}
		_ = s.tcp.Close()
		if !picksPort(addr) {
			break
		}
	}
	return err
}

func (s *Server) quick(packet, out []byte, from netip.Addr) []byte {
	return s.live.Load().quick(packet, out, from)
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
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) { s.live.Load().serve(ctx, w, req) })
	g.Go(func() error { return s.runOne(ctx, &dns.Server{PacketConn: s.udp, Handler: handler}) })
	g.Go(func() error {
		tcp := netutil.LimitListener(newFairListener(s.tcp), maxTCPClients)
		return s.runOne(ctx, &dns.Server{Listener: tcp, Handler: handler})
	})
	g.Go(func() error { return s.tend(ctx) })
	return g.Wait()
}

// tend does the work behind the answers, anew after each reload.
func (s *Server) tend(ctx context.Context) error {
	for ctx.Err() == nil {
		r := s.live.Load()
		inUse, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- r.run(inUse) }()
		select {
		case <-ctx.Done():
		case <-s.reloaded:
		}
		cancel()
		if err := <-ended; err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) runOne(ctx context.Context, srv *dns.Server) error {
	started := make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	srv.UDPSize = maxQuerySize
	srv.ReadTimeout, srv.WriteTimeout = ioTimeout, ioTimeout
	srv.IdleTimeout = func() time.Duration { return idleTimeout }
	srv.MsgAcceptFunc = s.acceptable
	srv.MsgInvalidFunc = func([]byte, error) { s.metrics.odd(dns.RcodeFormatError) }

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

// acceptable sorts out, by the header alone, what is no question: unpacked, many
// questions could make a large answer out of a small message. Answers are not answered:
// that could go on for ever between two servers.
func (s *Server) acceptable(h dns.Header) dns.MsgAcceptAction {
	const answerBit, opcodeShift, opcodeMask = 1 << 15, 11, 0xF
	switch opcode := int(h.Bits >> opcodeShift & opcodeMask); {
	case h.Bits&answerBit != 0:
		return dns.MsgIgnore
	case opcode != dns.OpcodeQuery:
		s.metrics.odd(dns.RcodeNotImplemented)
		return dns.MsgRejectNotImplemented
	case h.Qdcount != 1:
		s.metrics.odd(dns.RcodeFormatError)
		return dns.MsgReject
	}
	return dns.MsgAccept
}

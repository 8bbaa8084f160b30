// Package admin is the listener for people and machines that look after the proxy:
// probes, metrics, the picture of the clusters, its changes as they happen, a web
// page, and the few things that may be done by hand.
//
// Nothing here answers with a token, a secret or a lease id; counts only. There is
// no login: the listener belongs on loopback, or behind TLS with client
// certificates.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/health"
)

const (
	readTimeout     = 10 * time.Second
	answerTimeout   = 30 * time.Second // for everything but streams
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
	maxHeaderBytes  = 64 << 10
)

// Counts gives the numbers of what the proxy holds. It must not block.
type Counts interface {
	Tokens(cluster string) int
	Leases(cluster string) int
	Sessions() int
}

// Drainer takes clusters out of use and back. Errors are shown to the caller.
type Drainer interface {
	Drain(cluster string) error
	Undrain(cluster string) error
}

// Lab breaks and mends the clusters of a laboratory. Errors are shown to the
// caller.
type Lab interface {
	Do(cluster, action string) error
	Actions() []string // what Do understands, in the order of the buttons
}

// Config says what a Server shows. Addr and Topology are required; whatever else is
// left out is not offered.
type Config struct {
	Addr     string       // host:port; port 0 picks a free one
	Listener net.Listener // a TCP socket that is bound already, in place of Addr; may be nil
	TLS      *tls.Config  // nil: plain HTTP
	// Hosts are further names by which a listener on loopback may be called; every
	// other name is refused, because a foreign web page could have pointed it here.
	Hosts []string

	Quit  bool // offer POST /quit
	Pprof bool // offer /debug/pprof/

	// Topology gives the newest picture; nil while there is none. It must not block.
	Topology func() *health.Topology
	// Consistency is what /status says of reading one's own writes; nil: nothing.
	Consistency func() ConsistencyStatus
	Preference  func() health.Preference // for the order that /status shows; nil: none

	// Started and Ready give the reason why not yet, or nil. They must not block.
	Started, Ready func() error

	// Serving says where requests would go now; nil: that is not told.
	Serving func() Serving
	// Requests counts those answered so far, by cluster and class; nil: not told.
	Requests func() map[string]map[string]uint64
	// Mounts lists the mounts that are known; nil: not offered.
	Mounts func() []Mount
	// Decisions writes the last n requests as lines of JSON, all with 0; nil: not offered.
	Decisions func(w io.Writer, n int) error

	Counts   Counts
	Drainer  Drainer
	Lab      Lab // nil except in the laboratory
	Events   *Events
	Registry *prometheus.Registry
	// Explain says where a request would go; its result is shown as JSON and must
	// hold no secret. An error is the caller's mistake.
	Explain func(method, path, namespace string) (any, error)
	// OnQuit is called once /quit was answered; it must not block.
	OnQuit func()

	Version string
	Logger  *zap.Logger // nil is silence
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Events == nil {
		c.Events = NewEvents()
	}
	if c.Preference == nil {
		c.Preference = func() health.Preference { return health.Preference{} }
	}
	if c.Serving == nil {
		c.Serving = func() Serving { return Serving{} }
	}
	if c.Requests == nil {
		c.Requests = func() map[string]map[string]uint64 { return nil }
	}
	if c.Counts == nil {
		c.Counts = noCounts{}
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	return c
}

type noCounts struct{}

func (noCounts) Tokens(string) int { return 0 }
func (noCounts) Leases(string) int { return 0 }
func (noCounts) Sessions() int     { return 0 }

// Server is the admin listener: bound by New, served by Run.
type Server struct {
	cfg      Config
	listener net.Listener
	addr     netip.AddrPort
	handler  http.Handler
}

// New binds the socket. Whoever does not call Run must call Close.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if cfg.Topology == nil {
		return nil, errors.New("admin listener: no topology to show")
	}
	l, err := bind(cfg)
	if err != nil {
		return nil, fmt.Errorf("admin listener: %w", err)
	}
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("admin listener: %s is no TCP socket", l.Addr())
	}
	s := &Server{cfg: cfg, listener: l, addr: tcp.AddrPort()}
	if cfg.TLS != nil {
		s.listener = tls.NewListener(l, cfg.TLS)
	}
	s.handler = s.routes()
	return s, nil
}

func bind(cfg Config) (net.Listener, error) {
	if cfg.Listener != nil {
		return cfg.Listener, nil
	}
	var lc net.ListenConfig
	return lc.Listen(context.Background(), "tcp", cfg.Addr) // binding does not block
}

// Addr is the address that the socket is bound to.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Handler is what the listener serves, for tests and for other listeners.
func (s *Server) Handler() http.Handler { return s.handler }

// Close releases the socket of a server that is never run. After Run it does
// nothing.
func (s *Server) Close() error {
	if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run serves until ctx ends, then ends the event streams, lets the other requests
// finish for a few seconds, and returns nil. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer endRequests()
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          zap.NewStdLog(s.cfg.Logger),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving admin: %w", err)
	case <-ctx.Done():
	}
	s.stop(context.WithoutCancel(ctx), srv, endRequests)
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving admin: %w", err)
	}
	return nil
}

// stop ends what has no end of its own first: the streams watch the context of
// their request.
func (s *Server) stop(ctx context.Context, srv *http.Server, endRequests context.CancelFunc) {
	endRequests()
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		s.cfg.Logger.Warn("admin: requests were cut", zap.Error(err))
		_ = srv.Close()
	}
}

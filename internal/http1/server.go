// Package http1 speaks HTTP/1.1 with as little as it takes: a server for the connections of
// clients and a transport to Vault. Both do a request and its answer on one goroutine, where
// net/http hands over between several, and read nothing that can be read in two ways.
//
// The server does what net/http's does for a handler. The transport sends only what fits
// into memory; what is more (large bodies, upgrades, HTTP/2) is for net/http's.
package http1

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Config is all that a Server needs. Everything without a default is required.
type Config struct {
	Handler http.Handler
	// HeaderTimeout is for a header to come as a whole, counted from its first byte, or
	// from the beginning of the connection; default 10s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection is kept without a request, or up to a quarter
	// less; default 5m.
	IdleTimeout time.Duration
	// WriteTimeout is for a client to take some of an answer, or up to a quarter less;
	// default 5m.
	WriteTimeout time.Duration
	MaxHeader    int // bytes of a header; default 64 KiB
	// State is told what becomes of a connection, as net/http tells it; may be nil. It
	// must not block.
	State  func(net.Conn, http.ConnState)
	Logger *zap.Logger // told when the handler panics, and when nothing can be accepted; default: none
}

func (c Config) withDefaults() Config {
	if c.HeaderTimeout <= 0 {
		c.HeaderTimeout = 10 * time.Second
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = 5 * time.Minute
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 5 * time.Minute
	}
	if c.MaxHeader <= 0 {
		c.MaxHeader = 64 << 10
	}
	if c.State == nil {
		c.State = func(net.Conn, http.ConnState) {}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// Server serves HTTP/1.0 and HTTP/1.1. Every goroutine it starts ends with Shutdown, or
// with Close and the handler.
type Server struct {
	cfg     Config
	outputs sync.Pool // of *[]byte
	inputs  sync.Pool // of *[]byte
	heads   sync.Pool // of *heads
	leaving atomic.Bool
	ticks   ticker
	now     atomic.Pointer[dated]

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	running   sync.WaitGroup // connections
}

// NewServer makes one that serves nothing yet.
func NewServer(cfg Config) *Server {
	s := &Server{
		cfg: cfg.withDefaults(), listeners: make(map[net.Listener]struct{}), conns: make(map[*conn]struct{}),
		outputs: sync.Pool{New: func() any { b := make([]byte, 0, outputBuffer); return &b }},
		inputs:  sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }},
		heads:   sync.Pool{New: func() any { return &heads{make(http.Header), make(http.Header)} }},
	}
	s.ticks.timer = time.AfterFunc(time.Hour, s.look)
	s.ticks.timer.Stop()
	return s
}

// Serve serves the connections of a listener, which it closes, until Shutdown or Close: then
// it returns http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	defer func() { _ = l.Close() }()
	if !s.enter(l) {
		return http.ErrServerClosed
	}
	for wait := time.Duration(0); ; {
		raw, err := l.Accept()
		switch {
		case s.leaving.Load():
			if err == nil {
				_ = raw.Close()
			}
			return http.ErrServerClosed
		case isTemporary(err): // no file left, say
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			s.cfg.Logger.Warn("no connection could be accepted", zap.Error(err), zap.Duration("again_in", wait))
			time.Sleep(wait)
			continue
		case err != nil:
			return err //nolint:wrapcheck // says it all
		}
		wait = 0
		s.start(raw)
	}
}

func isTemporary(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Temporary() //nolint:staticcheck // for what accept says there is nothing else
}

// enter takes a listener in; false: the server is closed.
func (s *Server) enter(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

// start serves a connection on a goroutine of its own.
func (s *Server) start(raw net.Conn) {
	c := newConn(s, raw)
	s.mu.Lock()
	if s.leaving.Load() {
		s.mu.Unlock()
		_ = raw.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	s.cfg.State(raw, http.StateNew)
	go c.serve()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.running.Done()
}

// Shutdown closes the listeners and each connection once its request is answered, and waits
// for that until ctx ends. A connection that has not sent anything yet gets a moment to.
func (s *Server) Shutdown(ctx context.Context) error {
	s.leave(func(c *conn) bool {
		if c.state.Load() == fresh {
			_ = c.setDeadline(time.Now().Add(freshGrace))
			return false
		}
		return c.state.CompareAndSwap(idle, closing)
	})
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // only whether matters
	}
}

// Close closes the listeners and all connections but hijacked ones.
func (s *Server) Close() error {
	s.leave(func(c *conn) bool {
		c.state.Store(closing)
		return true
	})
	return nil
}

// leave closes the listeners, and those connections that are to end: without the lock, because
// either may take its time.
func (s *Server) leave(ends func(*conn) bool) {
	s.leaving.Store(true)
	s.mu.Lock()
	listeners := slices.Collect(maps.Keys(s.listeners))
	var over []net.Conn
	for c := range s.conns {
		if ends(c) {
			over = append(over, c.raw)
		}
	}
	s.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	for _, c := range over {
		_ = c.Close()
	}
}

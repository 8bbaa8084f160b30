package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vrproxy/vrproxy/proxy"
)

// gate bounds the connections of one listener. When there are as many as may be, a new
// one takes the place of the one that was idle for longest, so that those who keep
// connections for nothing do not shut out those with requests.
type gate struct {
	limit  atomic.Int64
	began  time.Time
	open   prometheus.Gauge
	beyond *prometheus.CounterVec // by outcome

	mu    sync.Mutex
	conns map[*clientConn]struct{}
}

func newGate(address string, m *frontMetrics) *gate {
	return &gate{
		open: m.connections.WithLabelValues(address), beyond: m.beyond.MustCurryWith(prometheus.Labels{"listener": address}),
		conns: make(map[*clientConn]struct{}), began: time.Now(),
	}
}

// admit takes a connection in. False: there is no room, and the caller closes it.
func (g *gate) admit(c net.Conn) (*clientConn, bool) {
	g.mu.Lock()
	var spare *clientConn
	if int64(len(g.conns)) >= g.limit.Load() {
		if spare = g.longestIdle(); spare == nil {
			g.mu.Unlock()
			g.beyond.WithLabelValues("refused").Inc()
			return nil, false
		}
		g.drop(spare)
	}
	in := &clientConn{Conn: c, gate: g}
	g.conns[in] = struct{}{}
	g.open.Inc()
	g.mu.Unlock()
	if spare != nil {
		g.beyond.WithLabelValues("idle_closed").Inc()
		_ = spare.Conn.Close()
	}
	return in, true
}

// drop forgets a connection. The caller holds the lock.
func (g *gate) drop(c *clientConn) {
	if _, ok := g.conns[c]; !ok {
		return
	}
	delete(g.conns, c)
	g.open.Dec()
}

// longestIdle looks at all connections: that is rare, and each request is told to its
// connection alone. The caller holds the lock.
func (g *gate) longestIdle() (longest *clientConn) {
	since := int64(math.MaxInt64)
	for c := range g.conns {
		if at := c.idleSince.Load(); at != 0 && at < since {
			longest, since = c, at
		}
	}
	return longest
}

// state is told by the server what becomes of a connection.
func (g *gate) state(conn net.Conn, s http.ConnState) {
	c := clientConnOf(conn)
	switch {
	case c == nil:
	case s == http.StateIdle:
		c.idleSince.Store(int64(time.Since(g.began)) + 1)
	default:
		c.idleSince.Store(0)
	}
}

// closeAll closes what is left: tunnels, which are no longer the server's.
func (g *gate) closeAll() {
	g.mu.Lock()
	left := make([]*clientConn, 0, len(g.conns))
	for c := range g.conns {
		left = append(left, c)
	}
	g.mu.Unlock()
	for _, c := range left {
		_ = c.Close()
	}
}

// clientConn is a connection that its gate knows.
type clientConn struct {
	net.Conn
	gate      *gate
	idleSince atomic.Int64 // nanoseconds since the gate was made; 0: it has a request, or had none
}

// NetConn is the connection below.
func (c *clientConn) NetConn() net.Conn { return c.Conn }

// Close also makes room for another.
func (c *clientConn) Close() error {
	c.gate.mu.Lock()
	c.gate.drop(c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets net/http end its side first, so that a refusal is not lost with the
// connection.
func (c *clientConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// clientConnOf finds it below what was put around it.
func clientConnOf(conn net.Conn) *clientConn {
	for {
		switch c := conn.(type) {
		case *clientConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// gated is a socket whose connections pass the gate.
type gated struct {
	net.Listener
	gate  *gate
	plain bool // HTTP can be spoken to who is refused
}

// Accept gives the next connection that there is room for.
func (l gated) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if in, ok := l.gate.admit(raw); ok {
			return in, nil
		}
		if l.plain {
			turnAway(raw, "too many connections (limits.connections)")
		}
		_ = raw.Close()
	}
}

// overloaded is the answer to what there is no room for.
func overloaded(text string) (http.Header, []byte) {
	body, _ := json.Marshal(map[string][]string{"errors": {"vrproxy: " + text}}) // strings always marshal
	return http.Header{
		"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "Retry-After": {"1"}, proxy.HeaderError: {overload},
	}, body
}

// turnAway says so on a connection that no server was given. As a courtesy: the client
// may be gone.
func turnAway(c net.Conn, text string) {
	header, body := overloaded(text)
	answer := &http.Response{
		StatusCode: http.StatusServiceUnavailable, ProtoMajor: 1, ProtoMinor: 1, Close: true,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	_ = c.SetWriteDeadline(time.Now().Add(soon))
	_ = answer.Write(c)
}

// overload is the code of what is refused for want of room.
const overload = "overloaded"

// inFlight bounds the requests of all listeners together.
type inFlight struct {
	limit   atomic.Int64
	number  atomic.Int64
	gauge   prometheus.Gauge
	refused prometheus.Counter
}

// enter is false when there are too many. Who entered has to leave.
func (f *inFlight) enter() bool {
	if f.number.Add(1) > f.limit.Load() {
		f.number.Add(-1)
		f.refused.Inc()
		return false
	}
	f.gauge.Inc()
	return true
}

func (f *inFlight) leave() {
	f.number.Add(-1)
	f.gauge.Dec()
}

// frontMetrics count what the limits do.
type frontMetrics struct {
	connections *prometheus.GaugeVec
	beyond      *prometheus.CounterVec
	flight      *inFlight
}

func newFrontMetrics(r prometheus.Registerer) *frontMetrics {
	m := &frontMetrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vrproxy_connections", Help: "Connections of clients, by listener."}, []string{"listener"}),
		beyond: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vrproxy_connections_beyond_limit_total", Help: "Connections beyond limits.connections, by whether an idle one was closed for them or they were refused.",
		}, []string{"listener", "outcome"}),
		flight: &inFlight{
			gauge:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "vrproxy_requests_in_flight", Help: "Client requests being served."}),
			refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "vrproxy_requests_beyond_limit_total", Help: "Client requests refused because of limits.in_flight."}),
		},
	}
	r.MustRegister(m.connections, m.beyond, m.flight.gauge, m.flight.refused)
	return m
}

// errBeyondLoopback is what a listener without TLS must not do.
var errBeyondLoopback = errors.New("tokens and secrets would cross the network in plain text; give the listener tls, or accept that with allow_plaintext: true")

// private reports whether nobody beyond this machine can listen in on a socket.
func private(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// soon bounds what is written to a client that is not served.
const soon = time.Second

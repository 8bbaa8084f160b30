package dnsserver

import (
	"net"
	"net/netip"
	"sync"
)

// maxPerSource is how many connections one source beyond loopback may have, so that
// none takes all of maxTCPClients.
const maxPerSource = 32

// fairListener hangs up on sources that have their share of connections already.
type fairListener struct {
	net.Listener
	mu   sync.Mutex
	open map[netip.Addr]int
}

func newFairListener(l net.Listener) *fairListener {
	return &fairListener{Listener: l, open: make(map[netip.Addr]int)}
}

// Accept gives the next connection of a source that may have one more.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, _ := sourceOf(conn.RemoteAddr())
		if from = from.Unmap(); from.IsLoopback() {
			return conn, nil
		}
		if l.add(from, 1) {
			return &fairConn{Conn: conn, left: sync.OnceFunc(func() { l.add(from, -1) })}, nil
		}
		_ = conn.Close() // there is nothing to lose in it
	}
}

// add counts a connection that comes or goes; false: it is one too many.
func (l *fairListener) add(from netip.Addr, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.open[from] + n
	switch {
	case now > maxPerSource:
		return false
	case now == 0:
		delete(l.open, from)
	default:
		l.open[from] = now
	}
	return true
}

// fairConn tells when it is closed.
type fairConn struct {
	net.Conn
	left func()
}

// Close closes the connection.
func (c *fairConn) Close() error {
	c.left()
	return c.Conn.Close()
}

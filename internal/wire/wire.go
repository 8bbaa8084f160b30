// Package wire stands between clients' connections and net/http. What it lets through
// are requests that can be read in one way only: net/http is lenient where a load
// balancer in front may read otherwise, drops a Content-Length beside a
// Transfer-Encoding without a word, and goes on with the connection.
//
// It is a filter and no second server: bytes pass unchanged, and what must not pass is
// replaced by what net/http refuses, so that the refusal comes in its turn and the
// connection ends.
package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// handshakeTimeout is for a client's TLS handshake.
const handshakeTimeout = 10 * time.Second

// poison ends whatever line it meets and is no header line itself: net/http answers 400
// and closes.
const poison = "\x00\r\n\x00\r\n\r\n"

// Conn is a client's connection. Malformed requests are refused in Vault's error shape.
type Conn struct {
	net.Conn
	strict strict
	broken bool
	tail   string // what is read instead of what must not pass
}

// Read passes what the client sent, up to the first thing that can be misread.
func (c *Conn) Read(p []byte) (int, error) {
	if c.broken {
		return c.readTail(p)
	}
	n, err := c.Conn.Read(p)
	good, bad := c.strict.feed(p[:n])
	if bad == nil {
		return n, err
	}
	c.broken, c.tail = true, poison
	if good > 0 {
		return good, nil
	}
	return c.readTail(p)
}

func (c *Conn) readTail(p []byte) (int, error) {
	if c.tail == "" {
		return 0, io.EOF
	}
	n := copy(p, c.tail)
	c.tail = c.tail[n:]
	return n, nil
}

// CloseWrite lets net/http end its side first, so that a refusal is not lost with
// the connection.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// secured is one with TLS below; net/http asks for its state.
type secured struct {
	*Conn
	tls *tls.Conn
}

// ConnectionState is that of the handshake.
func (c *secured) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Guard guards the connections of a listener. Where they are TLS it makes the
// handshakes, which tell what is spoken: HTTP/2 has framing of its own and goes on as it
// is. Close waits for all that Guard started.
func Guard(l net.Listener) net.Listener {
	ctx, end := context.WithCancel(context.Background())
	g := &guarded{Listener: l, ctx: ctx, end: end, out: make(chan accepted)}
	g.running.Go(g.accept)
	return g
}

type accepted struct {
	conn net.Conn
	err  error
}

type guarded struct {
	net.Listener
	ctx     context.Context //nolint:containedctx // the listener's life, which Close ends
	end     context.CancelFunc
	out     chan accepted
	running sync.WaitGroup
}

func (g *guarded) Accept() (net.Conn, error) {
	select {
	case a := <-g.out:
		return a.conn, a.err
	case <-g.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends handshakes under way as well.
func (g *guarded) Close() error {
	g.end()
	err := g.Listener.Close()
	g.running.Wait()
	return err
}

func (g *guarded) accept() {
	for {
		c, err := g.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			g.hand(accepted{err: err}) // net/http knows which of them pass, and waits
			continue
		}
		t, ok := c.(*tls.Conn)
		if !ok {
			g.hand(accepted{conn: &Conn{Conn: c}})
			continue
		}
		g.running.Go(func() { g.shake(t) })
	}
}

// shake makes the handshake, which tells what is spoken.
func (g *guarded) shake(t *tls.Conn) {
	ctx, cancel := context.WithTimeout(g.ctx, handshakeTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		refusePlain(err)
		_ = t.Close()
		return
	}
	if t.ConnectionState().NegotiatedProtocol == "h2" {
		g.hand(accepted{conn: t})
		return
	}
	g.hand(accepted{conn: &secured{Conn: &Conn{Conn: t}, tls: t}})
}

// hand gives it to whoever accepts.
func (g *guarded) hand(a accepted) {
	select {
	case g.out <- a:
	case <-g.ctx.Done():
		if a.conn != nil {
			_ = a.conn.Close()
		}
	}
}

// refusePlain answers a client that speaks HTTP where TLS is spoken.
func refusePlain(err error) {
	var e tls.RecordHeaderError
	if !errors.As(err, &e) || e.Conn == nil {
		return
	}
	switch string(e.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "LIST ", "DELET", "PATCH":
		_ = e.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = e.Conn.Write(shaped("400 Bad Request", "this port speaks TLS; use https://")) // as a courtesy
	}
}

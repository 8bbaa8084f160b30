package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// handshakeTimeout is for a client's TLS handshake.
const handshakeTimeout = 10 * time.Second

// Split makes the handshakes of a TLS listener, which tell what is spoken, and hands the
// connections on: those for HTTP/2, which has framing of its own, and the others. The
// connections are *tls.Conn. Closing one of both closes all, and waits for what Split
// started.
func Split(l net.Listener) (one, two net.Listener) {
	ctx, end := context.WithCancel(context.Background())
	g := &splitter{from: l, ctx: ctx, end: end}
	g.one, g.two = &half{g, make(chan accepted)}, &half{g, make(chan accepted)}
	g.running.Go(g.accept)
	return g.one, g.two
}

type accepted struct {
	conn net.Conn
	err  error
}

type splitter struct {
	from     net.Listener
	one, two *half
	ctx      context.Context //nolint:containedctx // the listener's life, which Close ends
	end      context.CancelFunc
	running  sync.WaitGroup
}

// half is what is accepted of one kind.
type half struct {
	*splitter
	out chan accepted
}

// Accept implements net.Listener.
func (h *half) Accept() (net.Conn, error) {
	select {
	case a := <-h.out:
		return a.conn, a.err
	case <-h.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (g *splitter) Addr() net.Addr { return g.from.Addr() }

// Close ends handshakes under way as well.
func (g *splitter) Close() error {
	g.end()
	err := g.from.Close()
	g.running.Wait()
	return err //nolint:wrapcheck // says it all
}

func (g *splitter) accept() {
	for {
		c, err := g.from.Accept()
		if errors.Is(err, net.ErrClosed) || err != nil && g.ctx.Err() != nil {
			return
		}
		if err != nil {
			g.one.hand(accepted{err: err}) // who serves knows which of them pass, and waits
			continue
		}
		t, ok := c.(*tls.Conn)
		if !ok {
			g.one.hand(accepted{conn: c})
			continue
		}
		g.running.Go(func() { g.shake(t) })
	}
}

// shake makes the handshake.
func (g *splitter) shake(t *tls.Conn) {
	ctx, cancel := context.WithTimeout(g.ctx, handshakeTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		refusePlain(err)
		_ = t.Close()
		return
	}
	to := g.one
	if t.ConnectionState().NegotiatedProtocol == "h2" {
		to = g.two
	}
	to.hand(accepted{conn: t})
}

// hand gives it to whoever accepts.
func (h *half) hand(a accepted) {
	select {
	case h.out <- a:
	case <-h.ctx.Done():
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
		_, _ = e.Conn.Write(Refusal(http.StatusBadRequest, "this port speaks TLS; use https://")) // as a courtesy
	}
}

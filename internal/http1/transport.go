package http1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/textproto"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// TransportConfig is all that a Transport needs. Everything without a default is required.
type TransportConfig struct {
	// Dial connects to an address, host and port, for HTTP/1.1, by TLS or without.
	Dial        func(ctx context.Context, address string, secure bool) (net.Conn, error)
	MaxActive   int           // requests under way at one address; further ones wait; 0: no limit
	MaxIdle     int           // connections kept without one, by address; further ones are closed
	IdleTimeout time.Duration // for so long
	MaxHeader   int           // bytes of an answer's header
}

// Transport sends requests over connections that it keeps. It is safe for concurrent use.
type Transport struct {
	cfg TransportConfig

	mu     sync.Mutex
	nodes  map[string]*node
	closed bool
	reaper *time.Timer // nil: nothing to close in time
}

// node is the connections to one address.
type node struct {
	active *semaphore.Weighted
	idle   []*link // the one used last at the end
}

// NewTransport makes one that has no connection yet.
func NewTransport(cfg TransportConfig) *Transport {
	if cfg.MaxActive <= 0 {
		cfg.MaxActive = math.MaxInt
	}
	return &Transport{cfg: cfg, nodes: make(map[string]*node)}
}

// Call is one request and how to send it.
type Call struct {
	// Request has a method, a URL with the escaped path in Opaque, and a header with valid
	// names. Its Body is not looked at.
	Request *http.Request
	Address string // to connect to, host and port
	Secure  bool   // by TLS
	Host    string // how the other end is called
	Body    []byte // all of it; sent chunked if the request's ContentLength is negative
	// Repeatable says that it may be sent again over another connection when the one it
	// was sent over turns out to be closed.
	Repeatable bool
	// Interim is told of each 1xx answer; an error ends the call. May be nil: then more than
	// 32 of them do.
	Interim func(status int, header textproto.MIMEHeader) error
}

// errClosed: the other end closed a connection that was kept.
var errClosed = errors.New("the connection was closed before an answer came")

// Send sends a request and reads the head of its answer, whose body has to be closed: until
// then its header is good. sent reports, beside an error, whether a part of the request may
// have arrived. Nothing of the call is used after that.
func (t *Transport) Send(ctx context.Context, call *Call) (resp *http.Response, sent bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err //nolint:wrapcheck // the context's
	}
	n := t.node(call.Address)
	if !n.active.TryAcquire(1) {
		if err := n.active.Acquire(ctx, 1); err != nil {
			return nil, false, err //nolint:wrapcheck // the context's
		}
	}
	resp, sent, err = t.try(ctx, n, call)
	if err != nil {
		n.active.Release(1)
	}
	return resp, sent, err
}

func (t *Transport) try(ctx context.Context, n *node, call *Call) (resp *http.Response, sent bool, err error) {
	l := t.take(n)
	if l != nil {
		resp, sent, err = l.exchange(ctx, call)
		if !errors.Is(err, errClosed) || sent && !call.Repeatable || ctx.Err() != nil {
			return resp, sent, err
		}
	}
	conn, err := t.cfg.Dial(ctx, call.Address, call.Secure)
	if err != nil {
		return nil, sent, fmt.Errorf("connecting to %s: %w", call.Address, err)
	}
	resp, again, err := newLink(t, n, conn).exchange(ctx, call)
	return resp, sent || again, err
}

func (t *Transport) node(address string) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.nodes[address]
	if !ok {
		n = &node{active: semaphore.NewWeighted(int64(t.cfg.MaxActive))}
		t.nodes[address] = n
	}
	return n
}

// take gives a connection that is open, as far as can be seen; nil: there is none.
func (t *Transport) take(n *node) *link {
	for {
		t.mu.Lock()
		last := len(n.idle) - 1
		if last < 0 {
			t.mu.Unlock()
			return nil
		}
		l := n.idle[last]
		n.idle[last] = nil
		n.idle = n.idle[:last]
		t.mu.Unlock()
		if l.open() {
			return l
		}
		_ = l.conn.Close()
	}
}

// put keeps a connection for another request.
func (t *Transport) put(l *link) {
	l.since = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(l.node.idle) >= t.cfg.MaxIdle {
		_ = l.conn.Close()
		return
	}
	l.node.idle = append(l.node.idle, l)
	if t.reaper == nil {
		t.reaper = time.AfterFunc(t.cfg.IdleTimeout, t.reap)
	}
}

// reap closes what was not used for long.
func (t *Transport) reap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reaper = nil
	var next time.Duration
	for _, n := range t.nodes {
		old := 0
		for old < len(n.idle) && time.Since(n.idle[old].since) >= t.cfg.IdleTimeout {
			_ = n.idle[old].conn.Close()
			old++
		}
		n.idle = append(n.idle[:0:0], n.idle[old:]...)
		if len(n.idle) > 0 {
			left := t.cfg.IdleTimeout - time.Since(n.idle[0].since)
			if next == 0 || left < next {
				next = max(left, time.Millisecond)
			}
		}
	}
	if next > 0 && !t.closed {
		t.reaper = time.AfterFunc(next, t.reap)
	}
}

// Close closes what has no request, and each other connection behind its answer. Requests
// may still be sent; their connections are not kept.
func (t *Transport) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.reaper != nil {
		t.reaper.Stop()
		t.reaper = nil
	}
	for _, n := range t.nodes {
		for _, l := range n.idle {
			_ = l.conn.Close()
		}
		n.idle = nil
	}
}

// answerBody is the body of an answer.
type answerBody struct {
	content
	link   *link
	keep   bool // the connection is good for another request
	closed bool
}

// Read implements io.Reader.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.content.Read(p)
}

// Close gives the connection back, if the answer was read to its end.
func (b *answerBody) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	l := b.link
	defer l.node.active.Release(1)
	if !l.detach() || !b.keep || !b.over || b.err != nil || l.hasMore() {
		return l.conn.Close() //nolint:wrapcheck // says it all
	}
	l.t.put(l)
	return nil
}

var _ io.ReadCloser = (*answerBody)(nil)

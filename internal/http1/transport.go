package http1

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/textproto"
	"sync"
	"sync/atomic"
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
	users  atomic.Int64 // requests under way or waiting; it grows with the lock held only
	idle   []*link      // the one used last at the end
}

// leave is for one that was entered.
func (n *node) leave(active int64) {
	n.active.Release(active)
	n.users.Add(-1)
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
	n := t.enter(call.Address)
	if !n.active.TryAcquire(1) {
		if err := n.active.Acquire(ctx, 1); err != nil {
			n.leave(0)
			return nil, false, err //nolint:wrapcheck // the context's
		}
	}
	resp, sent, err = t.try(ctx, n, call)
	if err != nil {
		n.leave(1)
	}
	return resp, sent, err
}

func (t *Transport) try(ctx context.Context, n *node, call *Call) (resp *http.Response, sent bool, err error) {
	for !sent {
		l := t.take(n)
		if l == nil {
			break
		}
		l.reused = true
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

// enter gives the node at an address, which is not forgotten until it is left.
func (t *Transport) enter(address string) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.nodes[address]
	if !ok {
		n = &node{active: semaphore.NewWeighted(int64(t.cfg.MaxActive))}
		t.nodes[address] = n
	}
	n.users.Add(1)
	return n
}

// take gives the connection that was used last; nil: there is none. It may be closed.
func (t *Transport) take(n *node) *link {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := len(n.idle) - 1
	if last < 0 {
		return nil
	}
	l := n.idle[last]
	n.idle[last] = nil
	n.idle = n.idle[:last]
	return l
}

// put keeps a connection for another request, or closes it.
func (t *Transport) put(l *link) error {
	if t.keep(l) {
		return nil
	}
	return l.conn.Close() //nolint:wrapcheck // says it all
}

func (t *Transport) keep(l *link) bool {
	l.since = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(l.node.idle) >= t.cfg.MaxIdle {
		return false
	}
	l.node.idle = append(l.node.idle, l)
	if t.reaper == nil {
		t.reaper = time.AfterFunc(t.cfg.IdleTimeout, t.reap)
	}
	return true
}

// reap closes what was not used for long.
func (t *Transport) reap() { closeAll(t.unused()) }

// unused takes out what was not used for long, and forgets nodes that nothing is left of: the
// addresses behind a name change.
func (t *Transport) unused() (all []*link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reaper = nil
	var next time.Duration
	for address, n := range t.nodes {
		old := 0
		for old < len(n.idle) && time.Since(n.idle[old].since) >= t.cfg.IdleTimeout {
			old++
		}
		all = append(all, n.idle[:old]...)
		n.idle = append(n.idle[:0:0], n.idle[old:]...)
		switch {
		case len(n.idle) > 0:
			left := t.cfg.IdleTimeout - time.Since(n.idle[0].since)
			if next == 0 || left < next {
				next = max(left, time.Millisecond)
			}
		case n.users.Load() == 0:
			delete(t.nodes, address)
		}
	}
	if next > 0 && !t.closed {
		t.reaper = time.AfterFunc(next, t.reap)
	}
	return all
}

// Close closes what has no request, and each other connection behind its answer. Requests
// may still be sent; their connections are not kept.
func (t *Transport) Close() { closeAll(t.end()) }

// end takes out what has no request.
func (t *Transport) end() (all []*link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.reaper != nil {
		t.reaper.Stop()
		t.reaper = nil
	}
	for _, n := range t.nodes {
		all = append(all, n.idle...)
		n.idle = nil
	}
	return all
}

// closeAll is for a time without the lock: by TLS, it may take its time.
func closeAll(links []*link) {
	for _, l := range links {
		_ = l.conn.Close()
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
	defer l.node.leave(1)
	if !l.detach() || !b.keep || !b.over || b.err != nil || l.hasMore() {
		return l.conn.Close() //nolint:wrapcheck // says it all
	}
	return l.t.put(l)
}

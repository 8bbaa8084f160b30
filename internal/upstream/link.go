package upstream

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// link is the transports to one cluster. They are replaced as a whole, which is how a
// connection comes to its end: net/http knows no lifetime.
type link struct {
	names *names
	now   atomic.Pointer[transports]

	mu     sync.Mutex
	tls    *tls.Config
	before *transports // may still carry requests
}

// transports are what requests are sent over.
type transports struct {
	data    *line
	bare    *line // without a client certificate; where there is none, data
	control *line
}

// use makes transports of other TLS settings.
func (l *link) use(t *tls.Config, cfg Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tls = t
	l.replace(cfg)
}

// replace is called with the lock held.
func (l *link) replace(cfg Config) {
	l.before.closeIdle() // of HTTP/2, what was busy when it was replaced
	l.before = l.now.Swap(newTransports(l.tls, l.names, cfg))
	l.before.closeIdle()
}

// renew replaces the transports in the last fifth of each lifetime, so that clusters,
// and proxies started together, do not do it at the same moment.
func (l *link) renew(ctx context.Context, cfg Config) {
	for {
		timer := time.NewTimer(cfg.Lifetime - rand.N(cfg.Lifetime/5+1)) //nolint:gosec // spread, not secrecy
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		l.mu.Lock()
		l.replace(cfg)
		l.mu.Unlock()
	}
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before.closeIdle()
	l.now.Load().closeIdle()
}

func newTransports(t *tls.Config, n *names, cfg Config) *transports {
	out := &transports{data: newLine(t, n, cfg, cfg.IdlePerNode).leanly(cfg, cfg.PerNode, cfg.IdlePerNode), control: newLine(t, n, cfg, idleControl)}
	out.data.MaxConnsPerHost = cfg.PerNode
	out.bare = out.data
	if t != nil && (t.GetClientCertificate != nil || len(t.Certificates) > 0) {
		t = t.Clone()
		t.Certificates, t.GetClientCertificate = nil, nil
		out.bare = newLine(t, n, cfg, idleControl).leanly(cfg, cfg.PerNode, idleControl)
	}
	return out
}

func (t *transports) closeIdle() {
	if t == nil {
		return
	}
	for _, tr := range []*line{t.data, t.bare, t.control} {
		tr.CloseIdleConnections()
	}
}

package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vrproxy/vrproxy/internal/http1"
)

// line is the connections to one cluster for one purpose.
type line struct {
	*http.Transport
	lean      *http1.Transport // nil: everything goes the standard way
	http2     sync.Map         // the addresses that chose HTTP/2
	spare     atomic.Pointer[spare]
	names     *names
	dialer    net.Dialer
	tls       *tls.Config // nil: the system's defaults
	handshake time.Duration
	protocols []string
}

func newLine(t *tls.Config, n *names, cfg Config, idle int) *line {
	l := &line{names: n, dialer: net.Dialer{Timeout: cfg.DialTimeout, KeepAlive: 15 * time.Second}, tls: t, handshake: cfg.DialTimeout, protocols: []string{"h2", "http/1.1"}}
	l.Transport = &http.Transport{
		DialContext:         l.dialPlain,
		DialTLSContext:      l.dialTLS,
		TLSClientConfig:     t.Clone(), // behind a proxy; net/http writes to it
		TLSHandshakeTimeout: cfg.DialTimeout,
		ForceAttemptHTTP2:   !cfg.NoHTTP2,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     cfg.IdleTimeout,
		DisableCompression:  true, // bodies pass untouched
		// For a client that sends no body before it is asked to: Vault is asked first.
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeader,
		// A connection that nothing comes from is asked whether it is still there, or
		// requests would go on being sent over one that a firewall forgot.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	if cfg.NoHTTP2 {
		l.protocols = []string{"http/1.1"}
		l.Protocols = new(http.Protocols)
		l.Protocols.SetHTTP1(true)
	}
	if cfg.Proxy != nil {
		l.DialContext = l.dial // behind a proxy's CONNECT other things than answers come
		l.Proxy = func(r *http.Request) (*url.URL, error) { return cfg.Proxy(r.URL) }
	}
	return l
}

// maxHeader bounds the header of an answer, in bytes.
const maxHeader = 256 << 10

// leanly sends what is simple over HTTP/1.1 with less than net/http needs; so many requests
// at a time to one node.
func (l *line) leanly(cfg Config, active, idle int) *line {
	if cfg.Proxy == nil {
		l.lean = http1.NewTransport(http1.TransportConfig{Dial: l.dialLean, MaxActive: active, MaxIdle: idle, IdleTimeout: cfg.IdleTimeout, MaxHeader: maxHeader})
	}
	return l
}

// send sends a request to the node that its URL names, and calls the node by its configured
// name.
func (l *line) send(ctx context.Context, call *http1.Call) (resp *http.Response, sent bool, err error) {
	u := call.Request.URL
	call.Host, call.Address = l.names.of(u.Host), addressOf(u)
	if l.lean != nil && isSimple(call.Request) {
		if _, other := l.http2.Load(call.Address); !other {
			call.Secure = u.Scheme == "https"
			resp, sent, err = l.lean.Send(ctx, call)
			if !errors.Is(err, errHTTP2) {
				return resp, sent, err //nolint:wrapcheck // what went wrong is judged by its type
			}
		}
	}
	return l.viaStandard(ctx, call)
}

// warm sends a request without a body the way that those of clients go.
func (l *line) warm(req *http.Request) (*http.Response, error) {
	req.URL.Opaque = req.URL.Path
	resp, _, err := l.send(req.Context(), &http1.Call{Request: req, Repeatable: true})
	return resp, err
}

// isSimple finds requests that the lean way can carry.
func isSimple(r *http.Request) bool {
	return r.Body == nil && len(r.Trailer) == 0 && r.Header["Upgrade"] == nil && r.Header["Expect"] == nil
}

func addressOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case u.Scheme == "https":
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// errHTTP2: the node chose HTTP/2, which is not for the lean way.
var errHTTP2 = errors.New("the node speaks HTTP/2")

// spare is a connection that was made to find that out.
type spare struct {
	address string
	conn    net.Conn
}

// dialLean connects for HTTP/1.1. A node that prefers HTTP/2 is left to net/http, with the
// connection.
func (l *line) dialLean(ctx context.Context, address string, secure bool) (net.Conn, error) {
	if !secure {
		return l.dial(ctx, "tcp", address)
	}
	conn, err := l.secure(ctx, address)
	if err != nil || conn.ConnectionState().NegotiatedProtocol != "h2" {
		return conn, err
	}
	l.http2.Store(address, true)
	if before := l.spare.Swap(&spare{address, conn}); before != nil {
		_ = before.conn.Close()
	}
	return nil, errHTTP2
}

// CloseIdleConnections also closes what has a request, behind its answer.
func (l *line) CloseIdleConnections() {
	if l.lean != nil {
		l.lean.Close()
	}
	if s := l.spare.Swap(nil); s != nil {
		_ = s.conn.Close()
	}
	l.Transport.CloseIdleConnections()
}

// RoundTrip sends a request to the node that its URL names, and calls the node by its
// configured name.
func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	if name := l.names.of(req.URL.Host); name != req.URL.Host {
		req = req.WithContext(req.Context()) // a copy: the caller's stays as it is
		req.Host = name
	}
	return l.Transport.RoundTrip(req) //nolint:wrapcheck // what went wrong is judged by its type
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // says it all
	}
	return &countingConn{Conn: conn}, nil
}

func (l *line) dialPlain(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return http1.Upstream(conn), nil
}

func (l *line) dialTLS(ctx context.Context, _, address string) (net.Conn, error) {
	if s := l.spare.Swap(nil); s != nil {
		if s.address == address {
			return s.conn, nil
		}
		_ = s.conn.Close()
	}
	secure, err := l.secure(ctx, address)
	if err != nil {
		return nil, err
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		return secure, nil // it has framing of its own, and net/http wants it bare
	}
	return http1.Upstream(secure), nil
}

// secure asks for the certificate of the node's name, whatever address is dialled.
func (l *line) secure(ctx context.Context, address string) (*tls.Conn, error) {
	conn, err := l.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, l.clientTLS(address))
	ctx, cancel := context.WithTimeout(ctx, l.handshake)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err //nolint:wrapcheck // says it all
	}
	return secure, nil
}

func (l *line) clientTLS(address string) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if l.tls != nil {
		t = l.tls.Clone()
	}
	t.NextProtos = l.protocols
	if t.ServerName == "" {
		t.ServerName, _, _ = net.SplitHostPort(l.names.of(address))
		if t.ServerName == "" { // configured without a port
			t.ServerName = l.names.of(address)
		}
	}
	return t
}

package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/vrproxy/vrproxy/internal/wire"
)

// line is the connections to one cluster for one purpose.
type line struct {
	*http.Transport
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
		MaxResponseHeaderBytes: 256 << 10,
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
	return wire.Upstream(conn), nil
}

// dialTLS asks for the certificate of the node's name, whatever address is dialled.
func (l *line) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.dial(ctx, network, address)
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
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		return secure, nil // it has framing of its own, and net/http wants it bare
	}
	return wire.Upstream(secure), nil
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

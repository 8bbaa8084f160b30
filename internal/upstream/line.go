package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// line is the connections to one cluster for one purpose.
type line struct {
	*http.Transport
	names     *names
	dialer    net.Dialer
	tls       *tls.Config // nil: the system's defaults
	handshake time.Duration
}

func newLine(t *tls.Config, n *names, dial time.Duration, idle int) *line {
	l := &line{names: n, dialer: net.Dialer{Timeout: dial, KeepAlive: 15 * time.Second}, tls: t, handshake: dial}
	l.Transport = &http.Transport{
		DialContext:         l.dial,
		DialTLSContext:      l.dialTLS,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        idle,
		MaxIdleConnsPerHost: idle,
		// Below Vault's own idle timeout (5 minutes), so that a connection is not
		// reused in the moment the server closes it.
		IdleConnTimeout:    90 * time.Second,
		DisableCompression: true, // bodies pass untouched
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
	return secure, nil
}

func (l *line) clientTLS(address string) *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if l.tls != nil {
		t = l.tls.Clone()
	}
	t.NextProtos = []string{"h2", "http/1.1"}
	if t.ServerName == "" {
		t.ServerName, _, _ = net.SplitHostPort(l.names.of(address))
		if t.ServerName == "" { // configured without a port
			t.ServerName = l.names.of(address)
		}
	}
	return t
}

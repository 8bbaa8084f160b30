package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
)

// vaultShaped is a listener whose connections say in Vault's error shape what
// net/http says in plain text: it answers a request that it cannot parse by itself,
// before any handler, and leaves no other way to change that answer.
type vaultShaped struct{ net.Listener }

// Accept wraps the next connection.
func (l vaultShaped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &shapedConn{c}, nil
}

type shapedConn struct{ net.Conn }

// Write replaces net/http's own answer to a malformed request, which it writes in
// one piece, and passes everything else on.
func (c *shapedConn) Write(b []byte) (int, error) {
	status, ok := malformed(b)
	if !ok {
		return c.Conn.Write(b)
	}
	if _, err := c.Conn.Write(shaped(status)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// malformed recognises that answer and gives its status, like "400 Bad Request".
// The answers of vrproxy always have more header lines.
func malformed(b []byte) (status string, ok bool) {
	const head = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	line, text, ok := bytes.Cut(b, []byte(head))
	line, isHTTP := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || !isHTTP || bytes.Contains(line, []byte("\r\n")) {
		return "", false
	}
	if !bytes.Equal(line, text) && string(text) != "Unsupported transfer encoding" {
		return "", false
	}
	return string(line), true
}

func shaped(status string) []byte {
	body, _ := json.Marshal(map[string][]string{"errors": {"vrproxy: the request is not valid HTTP: " + status}}) // strings always marshal
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nX-Vrproxy-Error: bad-request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
}

// NetConn is the connection below.
func (c *shapedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets net/http end its side first, so that a refusal is not lost with
// the connection.
func (c *shapedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

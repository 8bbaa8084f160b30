package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Write says in Vault's error shape what net/http says in plain text: it answers a
// request that it cannot parse by itself, before any handler, and leaves no other way to
// change that answer. It writes it in one piece; everything else passes.
func (c *Conn) Write(b []byte) (int, error) {
	status, ok := malformed(b)
	if !ok {
		return c.Conn.Write(b)
	}
	if _, err := c.Conn.Write(shaped(status, "the request is not valid HTTP: "+status)); err != nil {
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

func shaped(status, text string) []byte {
	body, _ := json.Marshal(map[string][]string{"errors": {"vrproxy: " + text}}) // strings always marshal
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nX-Vrproxy-Error: bad-request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
}

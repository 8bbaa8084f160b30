package proxy

import (
	"net/http"
	"strings"

	"github.com/vrproxy/vrproxy/routing"
)

// target is the request target as the client wrote it.
type target struct {
	path     string // escaped
	query    string
	hasQuery bool // there was a "?", even with nothing behind it
}

// guard refuses what no Vault client sends.
func (x *exchange) guard() *failure {
	r := x.r
	if r.Method == http.MethodConnect || !strings.HasPrefix(r.RequestURI, "/") {
		return &failure{code: routing.BadRequest, text: "only requests in origin form (a path) are served; this is not a forward proxy"}
	}
	x.target.path, x.target.query, x.target.hasQuery = strings.Cut(r.RequestURI, "?")
	if x.policy.RequireHeader && r.Header.Get("X-Vault-Request") != "true" {
		return &failure{code: missingHeader, text: `missing header "X-Vault-Request: true"`}
	}
	b, err := readBody(r, int64(x.p.cfg.KeepBody))
	if err != nil {
		return &failure{code: routing.BadRequest, text: "the request body could not be read"}
	}
	x.body = b
	return nil
}

// hopByHop are the headers that concern one connection only (RFC 9110 7.6.1).
// Trailer stays: it announces what follows the body.
func hopByHop() []string {
	return []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Transfer-Encoding", "Upgrade"}
}

// dropHopByHop removes them, and what Connection names besides.
func dropHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop() {
		h.Del(name)
	}
}

// websocket reports whether the client asks for the one upgrade that Vault speaks.
func websocket(h http.Header) bool {
	return strings.EqualFold(h.Get("Upgrade"), "websocket") && strings.Contains(strings.ToLower(h.Get("Connection")), "upgrade")
}

// upstreamHeader makes the header that goes to Vault: the client's, without what
// concerns this hop or the proxy.
func (x *exchange) upstreamHeader() http.Header {
	h := x.r.Header.Clone()
	upgrade := websocket(h)
	// A client must not make us drop the header that carries the token.
	connection := h["Connection"]
	delete(h, "Connection")
	dropNamed(h, connection)
	dropHopByHop(h)
	if upgrade {
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
	}
	h.Del(HeaderCluster)
	h.Del(HeaderSession)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // or net/http would add its own
	}
	return h
}

// dropNamed removes the headers that Connection names, save Vault's own.
func dropNamed(h http.Header, connection []string) {
	for _, line := range connection {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if name != "Authorization" && !strings.HasPrefix(name, "X-Vault-") {
				h.Del(name)
			}
		}
	}
}

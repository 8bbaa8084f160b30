package proxy

import (
	"net/http"
	"slices"
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
	if x.policy.RequireHeader && first(r.Header, "X-Vault-Request") != "true" {
		return &failure{code: missingHeader, text: `missing header "X-Vault-Request: true"`}
	}
	if err := x.body.read(x.w, r, int64(x.p.cfg.KeepBody)); err != nil {
		return &failure{code: routing.BadRequest, text: "the request body could not be read"}
	}
	return nil
}

// hopByHop finds headers that concern one connection only (RFC 9110 7.6.1). Trailer is none of
// them: it announces what follows the body.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// dropNamed removes what the lines of Connection name.
func dropNamed(h http.Header, lines []string) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); !endToEnd(name) {
				delete(h, name)
			}
		}
	}
}

// passOn copies what is not for one connection only, nor named so by Connection. The values
// are not copied.
func passOn(to, from http.Header) {
	for name, values := range from {
		if !hopByHop(name) {
			to[name] = values
		}
	}
	dropNamed(to, from["Connection"])
}

// endToEnd finds headers that are for the other end, whatever Connection says of them
// (which RFC 9110 7.6.1 forbids): nobody may make us drop a token, or what a load
// balancer in front has added.
func endToEnd(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Date", "Etag", "Expect", "Forwarded", "Location", "Range", "Set-Cookie", "Trailer", "User-Agent", "Www-Authenticate":
		return true
	}
	for _, prefix := range []string{"X-Vault-", "X-Forwarded-", "X-Real-", "Accept", "Cache-", "Content-", "If-", "Traceparent", "Tracestate"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// websocket reports whether the client asks for the one upgrade that Vault speaks.
func websocket(h http.Header) bool {
	return strings.EqualFold(first(h, "Upgrade"), "websocket") && strings.Contains(strings.ToLower(h.Get("Connection")), "upgrade")
}

// asksForWebsocket is wider: the client may have meant one, so it may go on with
// something that is no HTTP.
func asksForWebsocket(h http.Header) bool {
	return slices.ContainsFunc(h["Upgrade"], func(v string) bool { return strings.EqualFold(v, "websocket") })
}

// takesTrailers reports whether the client wants trailers, which pass.
func takesTrailers(h http.Header) bool {
	for _, line := range h["Te"] {
		for coding := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(coding), "trailers") {
				return true
			}
		}
	}
	return false
}

// upstreamHeader makes the header that goes to Vault: the client's, without what
// concerns this hop or the proxy. The values are the client's, too: they must not be
// changed.
func (x *exchange) upstreamHeader() http.Header {
	from, h := x.r.Header, x.emptyHeader()
	passOn(h, from)
	if takesTrailers(from) {
		x.set(h, "Te", "trailers")
	}
	if websocket(from) {
		x.set(h, "Connection", "Upgrade")
		x.set(h, "Upgrade", "websocket")
	}
	delete(h, HeaderCluster)
	delete(h, HeaderSession)
	if _, ok := h["User-Agent"]; !ok {
		x.set(h, "User-Agent", "") // or net/http would add its own
	}
	return h
}

// emptyHeader is that of the last attempt, once it is over.
func (x *exchange) emptyHeader() http.Header {
	if x.raced || x.outgoing == nil {
		return make(http.Header)
	}
	clear(x.outgoing)
	return x.outgoing
}

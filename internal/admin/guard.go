package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// pagePolicy lets the page use what comes with it and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// secured adds the headers that keep a browser from doing anything clever with an
// answer.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", pagePolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// guarded refuses what a foreign web page makes a browser send. Programs such as
// curl send neither Origin nor Sec-Fetch-Site and pass.
func (s *Server) guarded(h http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.knownHost(r) {
			fail(w, http.StatusForbidden, "this listener is not known by the name "+r.Host)
			return
		}
		if err := origin.Check(r); err != nil {
			fail(w, http.StatusForbidden, "refused: the request comes from another site")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// knownHost stops DNS rebinding: a page from evil.example whose name is then
// pointed to 127.0.0.1 is same-origin to the browser, but still says its own name.
// Beyond loopback any name may be right, and TLS has checked it. Probes pass: they
// show nothing, and orchestrators send odd names.
func (s *Server) knownHost(r *http.Request) bool {
	switch r.URL.Path {
	case "/startup", "/readiness", "/liveness":
		return true
	}
	if !s.addr.Addr().Unmap().IsLoopback() {
		return true
	}
	host := hostOf(r.Host)
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		slices.ContainsFunc(s.cfg.Hosts, func(known string) bool { return strings.EqualFold(known, host) })
}

// hostOf takes the port, the brackets of IPv6 and a final dot off.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

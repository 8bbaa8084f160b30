package upstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/vrproxy/vrproxy/internal/http1"
)

// viaStandard sends a call by net/http, which can do what http1.Transport leaves: HTTP/2,
// upgrades, bodies that are not at hand, proxies.
func (l *line) viaStandard(ctx context.Context, call *http1.Call) (resp *http.Response, sent bool, err error) {
	var s sentinel
	req := call.Request.WithContext(s.trace(ctx, call.Interim)) // a copy: the caller's stays as it is
	u := *req.URL
	req.URL, req.Header, req.Host = &u, req.Header.Clone(), call.Host // net/http's goroutines may outlive the call
	if via, _ := l.proxied(req); via != nil && u.Scheme == "http" {
		u.Opaque = "//" + u.Host + u.Opaque // a proxy is asked for the whole URL; Opaque alone would hide the host
	}
	if req.Body == nil {
		attach(req, call)
	}
	resp, err = l.Transport.RoundTrip(req)
	s.end()
	return resp, err == nil || s.happened(), err //nolint:wrapcheck // what went wrong is judged by its type
}

func (l *line) proxied(req *http.Request) (*url.URL, error) {
	if l.Proxy == nil {
		return nil, nil //nolint:nilnil // as net/http has it
	}
	return l.Proxy(req)
}

// attach puts a body at hand into a request. net/http repeats some requests by itself after
// a connection was lost: it may do so freely with what is repeatable, and otherwise only
// while nothing was written. It must never take a client's idempotency header as leave to
// send a write twice.
func attach(out *http.Request, call *http1.Call) {
	switch {
	case len(call.Body) > 0:
		out.Body = io.NopCloser(bytes.NewReader(call.Body))
		if call.Repeatable || !claimsIdempotency(out.Header) {
			out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(call.Body)), nil }
		}
	case call.Repeatable || !replayable(out):
		out.Body = http.NoBody
	default:
		// An empty body of unknown length stops net/http from repeating; it notices
		// the end before it writes anything.
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(nil)), 0
	}
}

// replayable reports whether net/http would repeat the request when it has no body
// (http.Request.isReplayable).
func replayable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return claimsIdempotency(r.Header)
}

func claimsIdempotency(h http.Header) bool {
	return h.Get("Idempotency-Key") != "" || h.Get("X-Idempotency-Key") != ""
}

package main

import (
	"crypto/tls"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/vrproxy/vrproxy/bench/http/stage"
)

// serveReverse is the least that net/http needs to be a proxy.
func serveReverse(to, dir string) error {
	target, err := url.Parse(to)
	if err != nil {
		return err
	}
	roots, err := stage.Authority(dir)
	if err != nil {
		return err
	}
	p := httputil.NewSingleHostReverseProxy(target)
	p.Transport = &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	p.ModifyResponse = func(r *http.Response) error { r.Header.Set("X-Bench", "1"); return nil }
	return (&http.Server{Addr: stage.Front, Handler: p, ReadHeaderTimeout: time.Minute}).ListenAndServe()
}

// serveFast is the least that fasthttp needs: a floor of what Go can do. It keeps whole
// bodies in memory and doesn't speak all of HTTP, so it is no proxy for Vault.
func serveFast(to, dir string) error {
	target, err := url.Parse(to)
	if err != nil {
		return err
	}
	roots, err := stage.Authority(dir)
	if err != nil {
		return err
	}
	upstream := &fasthttp.HostClient{
		Addr: target.Host, IsTLS: target.Scheme == "https", TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		MaxConns: 4096, NoDefaultUserAgentHeader: true, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true,
	}
	front := &fasthttp.Server{NoDefaultServerHeader: true, NoDefaultDate: true, DisableHeaderNamesNormalizing: true, Handler: func(c *fasthttp.RequestCtx) {
		c.Request.URI().SetScheme(target.Scheme)
		if err := upstream.Do(&c.Request, &c.Response); err != nil {
			c.Error(err.Error(), fasthttp.StatusBadGateway)
			return
		}
		c.Response.Header.Set("X-Bench", "1")
	}}
	return front.ListenAndServe(stage.Front)
}

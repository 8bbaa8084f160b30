package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counting starts a server that counts its connections.
func counting(t *testing.T, h http.HandlerFunc, secure bool) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var dialled atomic.Int32
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			dialled.Add(1)
		}
	}
	srv.EnableHTTP2 = true
	if secure {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv, &dialled
}

func trust(srv *httptest.Server) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// roundTrip sends one request and gives its protocol.
func roundTrip(t *testing.T, p *Pool, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, _, err := p.Send(t.Context(), "a", callOf(req), false)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Proto, err
}

// TestALifetimeEndsConnections: an address that a name no longer has is left, however
// busy the connection is.
func TestALifetimeEndsConnections(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		srv, dialled := counting(t, func(http.ResponseWriter, *http.Request) {}, secure)
		a := Cluster{Name: "a"}
		if secure {
			a.TLS = trust(srv)
		}
		p := New(Config{Clusters: []Cluster{a}, Lifetime: 40 * time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		deadline := time.Now().Add(10 * time.Second)
		for dialled.Load() < 4 {
			if _, err := roundTrip(t, p, srv.URL); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d connections in 10s of requests", dialled.Load())
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.Close()
	}
}

// TestTLSIsReplaced: a request in flight goes on, and the next is under the new terms.
func TestTLSIsReplaced(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	srv, dialled := counting(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
	}, true)
	p := pool(t, Cluster{Name: "a", TLS: trust(srv)})
	slow := make(chan error, 1)
	go func() { _, err := roundTrip(t, p, srv.URL+"/slow"); slow <- err }()
	<-arrived
	p.Use("a", &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12})
	var unknown x509.UnknownAuthorityError
	if _, err := roundTrip(t, p, srv.URL); !errors.As(err, &unknown) {
		t.Errorf("the old authority is still trusted: %v", err)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Errorf("a request in flight was cut: %v", err)
	}
	p.Use("a", trust(srv))
	before := dialled.Load()
	if proto, err := roundTrip(t, p, srv.URL); err != nil || proto != "HTTP/2.0" || dialled.Load() != before+1 {
		t.Errorf("%s, %v, %d connections more", proto, err, dialled.Load()-before)
	}
	p.Use("b", nil) // of no consequence
}

func TestConnectionsOfANodeAreBounded(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	srv, _ := counting(t, func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		now.Add(-1)
	}, false)
	p := New(Config{Clusters: []Cluster{{Name: "a"}}, PerNode: 2})
	t.Cleanup(p.Close)
	errs := make(chan error)
	for range 20 {
		go func() { _, err := roundTrip(t, p, srv.URL); errs <- err }()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > 2 {
		t.Errorf("%d connections at once", most.Load())
	}
}

func TestHTTP2CanBeLeftOut(t *testing.T) {
	t.Parallel()
	srv, _ := counting(t, func(http.ResponseWriter, *http.Request) {}, true)
	for no, want := range map[bool]string{false: "HTTP/2.0", true: "HTTP/1.1"} {
		p := New(Config{Clusters: []Cluster{{Name: "a", TLS: trust(srv)}}, NoHTTP2: no})
		t.Cleanup(p.Close)
		if proto, err := roundTrip(t, p, srv.URL); err != nil || proto != want {
			t.Errorf("%s, %v; want %s", proto, err, want)
		}
	}
}

// TestAProxyIsUsedOnlyWhenConfigured: see also TestTheEnvironmentIsNotAsked.
func TestAProxyIsUsedOnlyWhenConfigured(t *testing.T) {
	t.Parallel()
	var asked atomic.Pointer[string]
	proxy, _ := counting(t, func(_ http.ResponseWriter, r *http.Request) { asked.Store(&r.RequestURI) }, false)
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := New(Config{Clusters: []Cluster{{Name: "a"}}, Proxy: func(*url.URL) (*url.URL, error) { return at, nil }})
	t.Cleanup(p.Close)
	if _, err := roundTrip(t, p, "http://vault.invalid/v1/x"); err != nil || *asked.Load() != "http://vault.invalid/v1/x" {
		t.Errorf("%v, %v", asked.Load(), err)
	}
}

// TestATunnelThroughAProxyIsChecked: the certificate is still that of the node.
func TestATunnelThroughAProxyIsChecked(t *testing.T) {
	t.Parallel()
	srv, _ := counting(t, func(http.ResponseWriter, *http.Request) {}, true)
	proxy, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var d net.Dialer
		out, err := d.DialContext(r.Context(), "tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		w.WriteHeader(http.StatusOK)
		in, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() { defer out.Close(); _, _ = io.Copy(out, in) }()
		go func() { defer in.Close(); _, _ = io.Copy(in, out) }()
	}, false)
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	through := func(*url.URL) (*url.URL, error) { return at, nil }
	good := New(Config{Clusters: []Cluster{{Name: "a", TLS: trust(srv)}}, Proxy: through})
	t.Cleanup(good.Close)
	if _, err := roundTrip(t, good, "https://example.com/v1/x"); err != nil { // httptest's certificate is for example.com
		t.Error(err)
	}
	bad := New(Config{Clusters: []Cluster{{Name: "a"}}, Proxy: through})
	t.Cleanup(bad.Close)
	if _, err := roundTrip(t, bad, "https://example.com/v1/x"); err == nil {
		t.Error("a certificate of nobody was taken")
	}
}

// TestAKeptConnectionThatWasClosedIsNotUsed: a write over it would have an unknown outcome.
func TestAKeptConnectionThatWasClosedIsNotUsed(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		var served atomic.Int32
		srv, dialled := counting(t, func(http.ResponseWriter, *http.Request) { served.Add(1) }, secure)
		a := Cluster{Name: "a"}
		if secure {
			a.TLS = trust(srv)
		}
		p := New(Config{Clusters: []Cluster{a}, NoHTTP2: true})
		t.Cleanup(p.Close)
		for i := range int32(20) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/v1/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, sent, err := p.Send(t.Context(), "a", callOf(req), false)
			if err != nil {
				t.Fatalf("secure %v, request %d: sent %v, %v", secure, i, sent, err)
			}
			_ = resp.Body.Close()
			srv.CloseClientConnections()
			if served.Load() != i+1 || dialled.Load() != i+1 {
				t.Fatalf("secure %v: %d requests over %d connections, want %d", secure, served.Load(), dialled.Load(), i+1)
			}
		}
	}
}

// TestInterimAnswersWithoutEnd come to one, whichever way a request goes.
func TestInterimAnswersWithoutEnd(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]io.Reader{"lean": nil, "standard": strings.NewReader("streamed")} {
		var lc net.ListenConfig
		l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var served sync.WaitGroup
		served.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 2*maxHeader/26)+"HTTP/1.1 204 No Content\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		})
		p := pool(t, Cluster{Name: "a"})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+l.Addr().String()+"/v1/x", body)
		if err != nil {
			t.Fatal(err)
		}
		call := callOf(req)
		resp, sent, err := p.Send(t.Context(), "a", call, false)
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: %s", name, resp.Status)
		}
		if !sent {
			t.Errorf("%s: it was not sent", name)
		}
		p.Close()
		_ = l.Close()
		served.Wait()
	}
}

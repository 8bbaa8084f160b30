package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// named is a pool whose cluster "a" has names that resolve so.
func named(t *testing.T, tlsConfig *tls.Config, ips ...string) *Pool {
	t.Helper()
	p := New(Config{Clusters: []Cluster{{Name: "a", TLS: tlsConfig}}, Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "vault.example.com" {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		var out []netip.Addr
		for _, ip := range ips {
			out = append(out, netip.MustParseAddr(ip))
		}
		return out, nil
	}})
	t.Cleanup(p.Close)
	return p
}

func TestNodesBehindAnAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		address string
		ips     []string
		want    []string
	}{
		{"https://10.1.0.4:8200", nil, []string{"https://10.1.0.4:8200"}},
		{"http://[::1]:8200", nil, []string{"http://[::1]:8200"}},
		{"https://vault.example.com:8200", []string{"10.1.0.4"}, []string{"https://vault.example.com:8200"}},
		{"https://vault.example.com:8200", []string{"10.1.0.4", "fd00::4"}, []string{"https://vault.example.com:8200"}},
		{"https://vault.example.com:8200", []string{"10.1.0.5", "10.1.0.4", "10.1.0.5", "fd00::4"}, []string{"https://10.1.0.4:8200", "https://10.1.0.5:8200"}},
		{"https://vault.example.com:8200", []string{"fd00::4", "10.1.0.5", "fd00::5"}, []string{"https://[fd00::4]:8200", "https://[fd00::5]:8200"}},
		{"https://vault.example.com", []string{"10.1.0.4", "10.1.0.5"}, []string{"https://10.1.0.4:443", "https://10.1.0.5:443"}},
		{"http://vault.example.com", []string{"::ffff:10.1.0.4", "10.1.0.5"}, []string{"http://10.1.0.4:80", "http://10.1.0.5:80"}},
	} {
		got, err := named(t, nil, c.ips...).Resolve(t.Context(), "a", c.address)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s with %v: %v, %v; want %v", c.address, c.ips, got, err, c.want)
		}
	}
}

func TestWhatDoesNotResolve(t *testing.T) {
	t.Parallel()
	p := named(t, nil)
	for _, address := range []string{"https://elsewhere.example.com", "https://vault.example.com", "http://bad host"} {
		if got, err := p.Resolve(t.Context(), "a", address); err == nil {
			t.Errorf("%s: %v", address, got)
		}
	}
	if _, err := p.Resolve(t.Context(), "b", "https://vault.example.com"); !errors.Is(err, ErrUnknownCluster) {
		t.Errorf("%v", err)
	}
}

// TestANodeIsCalledByItsName: Vault, or a load balancer before it, sees the configured
// name in the Host header and in TLS, whichever address was dialled.
func TestANodeIsCalledByItsName(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		var seen []string
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name := r.Host
			if r.TLS != nil {
				name += " " + r.TLS.ServerName + " " + r.Proto
			}
			seen = append(seen, name)
			answer(w, 200, `{"initialized":true}`)
		}))
		var client *tls.Config
		if secure {
			srv.EnableHTTP2 = true
			srv.StartTLS()
			roots := x509.NewCertPool()
			roots.AddCert(srv.Certificate()) // for example.com, *.example.com and 127.0.0.1
			client = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		} else {
			srv.Start()
		}
		t.Cleanup(srv.Close)
		p := named(t, client, "127.0.0.1", "127.0.0.2")
		_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
		address := strings.Split(srv.URL, "://")[0] + "://vault.example.com:" + port
		nodes, err := p.Resolve(t.Context(), "a", address)
		if err != nil || len(nodes) != 2 {
			t.Fatalf("%v, %v", nodes, err)
		}
		if _, err := p.Health(t.Context(), "a", nodes[0]); err != nil {
			t.Error(err)
		}
		if _, err := get(t, p, "a", nodes[0]+"/v1/x"); err != nil {
			t.Error(err)
		}
		vault, err := p.Client("a", nodes[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vault.Sys().HealthWithContext(t.Context()); err != nil {
			t.Error(err)
		}
		want := "vault.example.com:" + port
		if secure {
			want += " vault.example.com HTTP/2.0"
		}
		if !slices.Equal(seen, []string{want, want, want}) {
			t.Errorf("called %q, want %q", seen, want)
		}
	}
}

package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/internal/wiretest"
)

// TestWire holds each kind of listener to docs/fidelity.md, and the connections to Vault by
// TLS.
func TestWire(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	server := a.issue("server", 2)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	for name, c := range map[string]struct {
		kind, listener, cluster string
		secure                  *tls.Config // of Vault
		crowd                   int
	}{
		"plain": {kind: "plain", listener: `address: "127.0.0.1:0"`, crowd: 900},
		"unix":  {kind: "unix", listener: fmt.Sprintf("address: %q", "unix://"+filepath.Join(t.TempDir(), "vault.sock")), crowd: 300},
		"tls":   {kind: "tls", listener: fmt.Sprintf(`address: "127.0.0.1:0", tls: {cert_file: %q, key_file: %q}`, filepath.Join(a.dir, "server.pem"), filepath.Join(a.dir, "server.key")), crowd: 60},
		"tls to Vault": {
			kind: "plain", listener: `address: "127.0.0.1:0"`, crowd: 60,
			secure: &tls.Config{Certificates: []tls.Certificate{server}}, cluster: fmt.Sprintf("tls: {ca_file: %q}", filepath.Join(a.dir, "ca.pem")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wiretest.Run(t, c.secure, func(t testing.TB, upstream string) wiretest.Front {
				address := startWith(t, upstream, c.listener, c.cluster)
				return wiretest.Front{HeaderLimit: 64<<10 + 8192, Crowd: c.crowd, Dial: func(ctx context.Context) (net.Conn, error) {
					return dialListener(ctx, c.kind, address, pool)
				}}
			})
		})
	}
}

// TestWireLarge is not parallel, because it looks at what is allocated.
func TestWireLarge(t *testing.T) {
	wiretest.Large(t, func(t testing.TB, upstream string) wiretest.Front {
		address := startBefore(t, upstream, `address: "127.0.0.1:0"`)
		return wiretest.Front{Dial: func(ctx context.Context) (net.Conn, error) { return dialListener(ctx, "plain", address, nil) }}
	}, 256<<20)
}

// startBefore runs a proxy before one cluster and gives the address of its listener.
func startBefore(t testing.TB, upstream, listener string) string {
	t.Helper()
	return startWith(t, upstream, listener, "")
}

// startWith has more to say of the cluster.
func startWith(t testing.TB, upstream, listener, cluster string) string {
	t.Helper()
	file := fmt.Sprintf("region: r\nadmin: {address: \"127.0.0.1:0\"}\nlisteners: [{%s}]\nshutdown: {drain_timeout: 5s}\nrouting: {primary_down: fail}\nhealth: {interval: 5s, timeout: 5s}\nclusters: [{name: one, region: r, addresses: [%q], %s}]\n", listener, upstream, cluster)
	cfg, err := configs.Parse("test.yaml", []byte(file), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	app, err := New(context.Background(), Options{Config: cfg, Logger: zap.NewNop(), Level: zap.NewAtomicLevel()})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := app.Stop(ctx); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	return app.Addresses()[0]
}

func dialListener(ctx context.Context, kind, address string, pool *x509.CertPool) (net.Conn, error) {
	var d net.Dialer
	switch kind {
	case "unix":
		return d.DialContext(ctx, "unix", strings.TrimPrefix(address, "unix://"))
	case "tls":
		t := tls.Dialer{Config: &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}}}
		return t.DialContext(ctx, "tcp", address)
	}
	return d.DialContext(ctx, "tcp", address)
}

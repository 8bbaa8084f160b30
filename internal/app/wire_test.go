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

// TestWire holds each kind of listener to docs/fidelity.md.
func TestWire(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("server", 2)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	for name, listener := range map[string]string{
		"plain": `address: "127.0.0.1:0"`,
		"unix":  fmt.Sprintf("address: %q", "unix://"+filepath.Join(t.TempDir(), "vault.sock")),
		"tls":   fmt.Sprintf(`address: "127.0.0.1:0", tls: {cert_file: %q, key_file: %q}`, filepath.Join(a.dir, "server.pem"), filepath.Join(a.dir, "server.key")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wiretest.Run(t, func(t testing.TB, upstream string) wiretest.Front {
				address := startBefore(t, upstream, listener)
				crowd := map[string]int{"plain": 900, "unix": 300, "tls": 60}[name]
				return wiretest.Front{HeaderLimit: 64<<10 + 8192, Crowd: crowd, Dial: func(ctx context.Context) (net.Conn, error) {
					return dialListener(ctx, name, address, pool)
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
	file := fmt.Sprintf("region: r\nadmin: {address: \"127.0.0.1:0\"}\nlisteners: [{%s}]\nshutdown: {drain_timeout: 5s}\nrouting: {primary_down: fail}\nclusters: [{name: one, region: r, addresses: [%q]}]\n", listener, upstream)
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

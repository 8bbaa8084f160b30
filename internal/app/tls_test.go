package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority makes certificates for tests, as PEM files.
type authority struct {
	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{tb: tb, dir: tb.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.newKey()
	a.cert = a.sign(template, template, &a.key.PublicKey, a.key)
	a.file("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) *x509.Certificate {
	a.tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		a.tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	return cert
}

func (a *authority) file(name, kind string, der []byte) string {
	a.tb.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.tb.Fatal(err)
	}
	return path
}

// issue writes NAME.pem and NAME.key for a loopback server or client.
func (a *authority) issue(name string, serial int64) tls.Certificate {
	a.tb.Helper()
	key := a.newKey()
	cert := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(a.file(name+".pem", "CERTIFICATE", cert.Raw), a.file(name+".key", "EC PRIVATE KEY", der))
	if err != nil {
		a.tb.Fatal(err)
	}
	return pair
}

func (a *authority) client(certs ...tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	a.tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestTLSListener(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("server", 2)
	friend := a.issue("friend", 3)
	w := newWorld(t, fmt.Sprintf("listeners: [{address: \"127.0.0.1:0\", tls: {cert_file: %[1]q, key_file: %[2]q, client_ca_file: %[3]q}}]",
		filepath.Join(a.dir, "server.pem"), filepath.Join(a.dir, "server.key"), filepath.Join(a.dir, "ca.pem")))
	get := func(c *http.Client) (*http.Response, error) {
		req, err := http.NewRequestWithContext(context.Background(), "GET", "https://"+w.app.Addresses()[0]+"/v1/secret/data/hello", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", "root")
		resp, err := c.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return resp, err
	}
	resp, err := get(a.client(friend))
	if err != nil || resp.StatusCode != 200 || resp.Proto != "HTTP/2.0" {
		t.Fatalf("%v %v", resp, err)
	}
	if _, err := get(a.client()); err == nil {
		t.Error("a client without a certificate was served")
	}
	a.issue("server", 77) // replaced on disk, as cert-manager does
	eventually(t, "the new certificate is shown", func() bool {
		resp, err := get(a.client(friend))
		return err == nil && resp.TLS.PeerCertificates[0].SerialNumber.Int64() == 77
	})
}

func TestAdminProbes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	status := func(path string) int {
		req, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+w.app.AdminAddress()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for _, path := range []string{"/startup", "/readiness", "/liveness", "/metrics", "/status", "/ui", "/explain?method=GET&path=/v1/secret/data/x"} {
		if got := status(path); got != 200 {
			t.Errorf("%s: %d", path, got)
		}
	}
	for _, c := range w.lab.Clusters() {
		c.Kill()
	}
	eventually(t, "not ready without a cluster", func() bool { return status("/readiness") == 503 })
	if got := status("/liveness"); got != 200 {
		t.Errorf("liveness depends on Vault: %d", got)
	}
}

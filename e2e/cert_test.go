package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
)

// TestCertificate lets the proxy log in with its client certificate. Vault sees no
// other certificate, so whether a client may log in with it is the listener's word.
func TestCertificate(t *testing.T) {
	w := newTLSWorld(t)
	lends, keeps := w.proxy, "http://"+w.said.Listeners[1]
	const secret, self, login = "secret/data/hello", "auth/token/lookup-self", "auth/cert/login"

	own := w.do(lends, "", http.MethodPost, login, `{"name":"app"}`)
	token := w.parse(own.body).text("auth", "client_token")
	for _, c := range []struct {
		name, base, token, method, path, body string
		status                                int
		code, want                            string
	}{
		{"the identity reads", lends, "", http.MethodGet, secret, "", 200, "", "hello"},
		{"and is who the certificate says", lends, "", http.MethodGet, self, "", 200, "", `"display_name":"cert-app"`},
		{"a client logs in with it", lends, "", http.MethodPost, login, `{}`, 200, "", `"client_token"`},
		{"and reads as itself", lends, token, http.MethodGet, self, "", 200, "", token},
		{"a login for a role that is not the proxy's", lends, "", http.MethodPost, login, `{"name":"other"}`, 400, "", "failed to match"},
		{"without lending, Vault misses a token", keeps, "", http.MethodGet, secret, "", 403, "", "permission denied"},
		{"without lending, no login", keeps, "", http.MethodPost, login, `{}`, 403, "identity-not-lent", "does not lend"},
		{"nor for the role", keeps, "", http.MethodPost, login, `{"name":"app"}`, 403, "identity-not-lent", "does not lend"},
		// Nor for who adds what Vault ignores: on the way of a login of unknown kind, there
		// is no certificate.
		{"nor with something else in it", keeps, "", http.MethodPost, login, `{"name":"app","x":"y"}`, 400, "", "client certificate"},
		{"nor with a large body", keeps, "", http.MethodPost, login, `{"name":"app","x":"` + strings.Repeat("x", 70_000) + `"}`, 400, "", "client certificate"},
		{"nor with what is no JSON", keeps, "", http.MethodPost, login, `name=app`, 400, "", ""},
		{"a token of one's own serves", keeps, token, http.MethodGet, secret, "", 200, "", "hello"},
	} {
		r := w.do(c.base, c.token, c.method, c.path, c.body)
		if r.status != c.status || r.code != c.code || !strings.Contains(r.body, c.want) {
			t.Errorf("%s: %+v, want %d %s and %q", c.name, r, c.status, c.code, c.want)
		}
	}
	summarise(t, "certificate: the proxy logged in %d time(s) with its own; lent by one listener, refused by another", w.logins("only"))
}

// newTLSWorld is one Vault with TLS and a proxy whose certificate Vault trusts. The
// second listener does not lend the identity.
func newTLSWorld(t *testing.T) *world {
	t.Helper()
	address, ca := startTLSVault(t)
	cert, key := certificate(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(read(t, ca))
	w := &world{t: t, http: &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}}
	t.Cleanup(w.http.CloseIdleConnections)
	w.eventually("the dev server is ready", func() bool {
		return w.do(address, lab.RootToken, http.MethodGet, "sys/health", "").status == http.StatusOK
	})
	for _, s := range [][2]string{
		{"secret/data/hello", `{"data":{"greeting":"hello"}}`},
		{"sys/policies/acl/app", `{"policy":"path \"secret/*\" { capabilities = [\"read\"] }"}`},
		{"sys/auth/cert", `{"type":"cert"}`},
		{"auth/cert/certs/app", fmt.Sprintf(`{"certificate":%q,"token_policies":["app"],"display_name":"app"}`, read(t, cert))},
	} {
		if r := w.do(address, lab.RootToken, http.MethodPost, s[0], s[1]); r.status >= 300 {
			t.Fatalf("%s: %+v", s[0], r)
		}
	}
	w.run(fmt.Sprintf(`
region: eu-west
listeners: [{address: "127.0.0.1:0"}, {address: "localhost:0", identity: never}]
identity: {method: cert, options: {name: app}}
clusters: [{name: only, region: eu-west, addresses: [%q], tls: {ca_file: %q, cert_file: %q, key_file: %q}}]
%s`, address, ca, cert, key, common))
	return w
}

// startTLSVault runs a server that shows a certificate of its own making, which the
// file says whom to trust for, and asks its clients for theirs.
func startTLSVault(t *testing.T) (address, ca string) {
	t.Helper()
	dir := t.TempDir()
	address = "https://" + runDevVault(t, "-dev-tls", "-dev-tls-cert-dir="+dir)
	ca = filepath.Join(dir, "vault-ca.pem")
	(&world{t: t}).eventually("the dev server has made its certificate", func() bool {
		raw, err := os.ReadFile(ca)
		return err == nil && x509.NewCertPool().AppendCertsFromPEM(raw)
	})
	return address, ca
}

// certificate makes a client's certificate and key, as files.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vrproxy"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "CERTIFICATE", der), write(t, "PRIVATE KEY", secret)
}

func write(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

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
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
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

// published is a folder as Kubernetes mounts a Secret: names link into a folder that a
// link is swapped to.
type published struct {
	tb  testing.TB
	dir string
	n   int
}

func publish(tb testing.TB, files map[string]string) *published {
	tb.Helper()
	p := &published{tb: tb, dir: tb.TempDir()}
	p.swap(files)
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(p.dir, name)); err != nil {
			tb.Fatal(err)
		}
	}
	return p
}

func (p *published) path(name string) string { return filepath.Join(p.dir, name) }

// swap puts copies of other files in the place of all, in one step. They are as old as
// the first, as those of an image are.
func (p *published) swap(files map[string]string) {
	p.tb.Helper()
	p.n++
	next := fmt.Sprintf("..%d", p.n)
	if err := os.Mkdir(filepath.Join(p.dir, next), 0o700); err != nil {
		p.tb.Fatal(err)
	}
	for name, from := range files {
		data, err := os.ReadFile(from)
		if err != nil {
			p.tb.Fatal(err)
		}
		to := filepath.Join(p.dir, next, name)
		if err := errors.Join(os.WriteFile(to, data, 0o600), os.Chtimes(to, time.Unix(0, 0), time.Unix(0, 0))); err != nil {
			p.tb.Fatal(err)
		}
	}
	link := filepath.Join(p.dir, "..data")
	if err := errors.Join(os.Symlink(next, link+".new"), os.Rename(link+".new", link)); err != nil {
		p.tb.Fatal(err)
	}
}

// TestCertificatesAreReplacedAsKubernetesDoes, with the authorities for clients; a
// connection that is there goes on.
func TestCertificatesAreReplacedAsKubernetesDoes(t *testing.T) {
	t.Parallel()
	a, b := newAuthority(t), newAuthority(t)
	a.issue("server", 2)
	friend, stranger := a.issue("friend", 3), b.issue("stranger", 4)
	files := func(server *authority, ca string) map[string]string {
		return map[string]string{"tls.crt": filepath.Join(server.dir, "server.pem"), "tls.key": filepath.Join(server.dir, "server.key"), "ca.crt": ca}
	}
	p := publish(t, files(a, filepath.Join(a.dir, "ca.pem")))
	pair := fmt.Sprintf("{cert_file: %q, key_file: %q, client_ca_file: %q}", p.path("tls.crt"), p.path("tls.key"), p.path("ca.crt"))
	w := newWorld(t, "listeners: [{address: \"127.0.0.1:0\", tls: "+pair+"}]\nadmin: {address: \"127.0.0.1:00\", tls: "+pair+"}")
	get := func(c *http.Client, url string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return resp, err
	}
	url := "https://" + w.app.Addresses()[0] + "/v1/sys/health"
	lasting := a.client(friend)
	lasting.Transport.(*http.Transport).DisableKeepAlives = false
	if resp, err := get(lasting, url); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	if _, err := get(a.client(stranger), url); err == nil {
		t.Fatal("a client of another authority was served")
	}

	resuming := a.client(friend)
	resuming.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	if _, err := get(resuming, url); err != nil {
		t.Fatal(err)
	}

	bad := a.file("bad.pem", "NOTHING", nil)
	p.swap(map[string]string{"tls.crt": bad, "tls.key": bad, "ca.crt": bad})
	eventually(t, "both tell of the bad files", func() bool { return w.metric("vrproxy_config_reloads_total", "outcome=error") == 2 })
	if resp, err := get(a.client(friend), url); err != nil || resp.StatusCode != 200 {
		t.Fatalf("the old certificate is not kept: %v, %v", resp, err)
	}
	if !strings.Contains(w.logs.String(), `"key":"listeners[0].tls"`) || !strings.Contains(w.logs.String(), `"key":"admin.tls"`) {
		t.Error("the log does not say which files are bad")
	}

	a.issue("server", 77)
	p.swap(files(a, filepath.Join(b.dir, "ca.pem")))
	for _, url := range []string{url, "https://" + w.app.AdminAddress() + "/liveness"} {
		eventually(t, "the new certificate and authority", func() bool {
			resp, err := get(a.client(stranger), url)
			return err == nil && resp.StatusCode == 200 && resp.TLS.PeerCertificates[0].SerialNumber.Int64() == 77
		})
		if _, err := get(a.client(friend), url); err == nil {
			t.Errorf("%s: a client of the old authority was served", url)
		}
	}
	if _, err := get(resuming, url); err == nil {
		t.Error("a client of the old authority resumed its session")
	}
	if resp, err := get(lasting, url); err != nil || resp.TLS.PeerCertificates[0].SerialNumber.Int64() != 2 {
		t.Errorf("the connection that was there is gone: %v, %v", resp, err)
	}
	lasting.CloseIdleConnections()
}

// TestTheAuthorityOfAClusterIsReplaced without a reload, and its client certificate.
func TestTheAuthorityOfAClusterIsReplaced(t *testing.T) {
	t.Parallel()
	a, b := newAuthority(t), newAuthority(t)
	var shown atomic.Pointer[tls.Certificate]
	var client atomic.Int64 // serial number of what was shown to the cluster last
	w := &world{tb: t, lab: labtest.Start(t, lab.Config{Region: "eu-west"}), logs: &syncBuffer{}, token: lab.RootToken, http: &http.Client{Transport: &http.Transport{}}}
	behind, err := url.Parse(w.lab.Cluster("eu-west").Address())
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Transport: tr, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		client.Store(r.In.TLS.PeerCertificates[0].SerialNumber.Int64())
	}})
	first := a.issue("server", 2)
	shown.Store(&first)
	front.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{*shown.Load()}, NextProtos: []string{"h2", "http/1.1"}}, nil
	}}
	front.EnableHTTP2 = true
	front.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	front.StartTLS()
	t.Cleanup(front.Close)
	a.issue("proxy", 5)
	b.issue("proxy", 6)
	files := func(x *authority) map[string]string {
		return map[string]string{"ca": filepath.Join(x.dir, "ca.pem"), "cert": filepath.Join(x.dir, "proxy.pem"), "key": filepath.Join(x.dir, "proxy.key")}
	}
	p := publish(t, files(a))
	w.yamlOf = fmt.Sprintf("region: eu-west\nadmin: {address: \"127.0.0.1:0\"}\nlisteners: [{address: \"127.0.0.1:0\"}]\nhealth: {interval: 500ms, timeout: 500ms}\nclusters: [{name: eu-west, region: eu-west, addresses: [%q], tls: {ca_file: %q, cert_file: %q, key_file: %q}}]\n",
		front.URL, p.path("ca"), p.path("cert"), p.path("key"))
	w.run("")
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	if client.Load() != 5 {
		t.Errorf("client certificate %d was shown", client.Load())
	}
	next := b.issue("server", 3)
	shown.Store(&next)
	p.swap(files(b))
	eventually(t, "the new authority is trusted, the new certificate shown", func() bool {
		r, err := w.try("GET", "secret/data/hello", "")
		return err == nil && r.status == 200 && client.Load() == 6
	})
	if !strings.Contains(w.logs.String(), `"key":"clusters[0].tls"`) {
		t.Error("nothing is said of it")
	}
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

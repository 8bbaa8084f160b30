package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The upstream answers like a Vault that is healthy and has one small and one large
// secret. It is a process of its own, so that its CPU time is nobody else's.
const (
	plainUpstream = "127.0.0.1:15900"
	tlsUpstream   = "127.0.0.1:15901"
	smallPath     = "/v1/secret/data/small" // 600 bytes
	largePath     = "/v1/secret/data/large" // 64 KiB
	writePath     = "/v1/secret/data/written"
	token         = "hvs.bench"
)

// serveUpstream serves until it is stopped.
func serveUpstream(dir string) error {
	failed := make(chan error, 2)
	h := http.HandlerFunc(vault)
	go func() {
		failed <- (&http.Server{Addr: plainUpstream, Handler: h, ReadHeaderTimeout: time.Minute}).ListenAndServe()
	}()
	go func() {
		// HTTP/1.1 only: HAProxy and nginx speak nothing else to their upstreams here.
		srv := &http.Server{Addr: tlsUpstream, Handler: h, ReadHeaderTimeout: time.Minute, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
		failed <- srv.ListenAndServeTLS(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	}()
	return <-failed
}

func vault(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = []string{"application/json"}, []string{"no-store"}
	_, _ = io.WriteString(w, answerTo(r))
}

func answerTo(r *http.Request) string {
	switch path := r.URL.Path; {
	case path == smallPath:
		return small
	case path == largePath:
		return large
	case path == "/v1/sys/health":
		return `{"initialized":true,"sealed":false,"standby":false,"replication_performance_mode":"disabled","replication_dr_mode":"disabled","version":"1.21.1","cluster_name":"c","cluster_id":"c"}`
	case path == "/v1/sys/internal/ui/mounts":
		return `{"data":{"secret":{"secret/":{"type":"kv","options":{"version":"2"}}},"auth":{"token/":{"type":"token"},"userpass/":{"type":"userpass"}}}}`
	case strings.HasPrefix(path, "/v1/auth/userpass/login/"):
		return `{"auth":{"client_token":"` + token + `","accessor":"a","policies":["default"],"lease_duration":2764800,"renewable":true}}`
	case path == "/v1/auth/token/lookup-self":
		return `{"data":{"id":"` + token + `","accessor":"a","ttl":2764800,"type":"service","policies":["default"]}}`
	}
	return `{"data":{"version":1}}`
}

// The two answers, made once.
var small, large = secret(600), secret(64 << 10) //nolint:gochecknoglobals // of the process that serves

func secret(size int) string {
	const frame = `{"request_id":"9b7a3f0e-0000-0000-0000-000000000000","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"value":"%s"},"metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}`
	return fmt.Sprintf(frame, strings.Repeat("x", size-len(frame)+2))
}

// certificate makes one for loopback, and its key.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

package engines

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // #nosec G505 -- key identifiers, as RFC 5280 says
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// ca is the mount's issuer, which is replicated.
type ca struct {
	Cert []byte `json:"cert"` // DER
	Key  []byte `json:"key"`  // PKCS 8
}

// issued is a certificate, which stays on the cluster that issued it.
type issued struct {
	PEM     string    `json:"pem"`
	Revoked time.Time `json:"revoked"`
}

// PKI is a small certificate authority with real certificates.
func PKI() *engine.Engine {
	return &engine.Engine{Type: "pki", Routes: []engine.Route{
		{Pattern: "root/generate/:kind", Ops: ops{engine.Update: rootGenerate}},
		{Pattern: "root", Ops: ops{engine.Delete: func(r *engine.Request) (*engine.Response, error) {
			return engine.Done(r.Storage.Delete("ca"))
		}}},
		{Pattern: "roles", Ops: list("roles/")},
		{Pattern: "roles/:role", Ops: record("roles/", "role", shared, func(r *engine.Request, d map[string]any) {
			for k, v := range r.Data {
				d[k] = v
			}
		})},
		{Pattern: "issue/:role", Pure: true, Ops: ops{engine.Update: issue}},
		{Pattern: "revoke", Pure: true, Ops: ops{engine.Update: revokeCert}},
		{Pattern: "certs", Ops: ops{engine.List: func(r *engine.Request) (*engine.Response, error) {
			return engine.Listed(r.Local.List("certs/"))
		}}},
		{Pattern: "cert/ca", Public: true, Ops: ops{engine.Read: readCA}},
		{Pattern: "cert/:serial", Public: true, Ops: ops{engine.Read: readCert}},
		{Pattern: "ca/pem", Public: true, Ops: ops{engine.Read: rawCA}},
		{Pattern: "ca", Public: true, Ops: ops{engine.Read: rawCA}},
		{Pattern: "crl", Public: true, Ops: ops{engine.Read: readCRL}},
		{Pattern: "crl/pem", Public: true, Ops: ops{engine.Read: readCRL}},
		{Pattern: "tidy", Pure: true, Ops: ops{engine.Update: func(*engine.Request) (*engine.Response, error) {
			return &engine.Response{Status: 202, Warnings: []string{"Tidy operation successfully started."}}, nil
		}}},
		{Pattern: "config/urls", Ops: record("config/urls", "none", shared, func(r *engine.Request, d map[string]any) {
			copyFields(r, d, "issuing_certificates", "crl_distribution_points", "ocsp_servers")
		})},
	}}
}

func newKey(kind string) (crypto.Signer, error) {
	if kind == "ec" {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, 2048)
}

func template(name string, ttl time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159)) // never fails
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-30 * time.Second), NotAfter: now.Add(ttl),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement,
	}
}

func rootGenerate(r *engine.Request) (*engine.Response, error) {
	if err := hasField(r, "common_name"); err != nil {
		return nil, err
	}
	ttl := r.Duration("ttl")
	if ttl == 0 {
		ttl = 768 * time.Hour
	}
	key, err := newKey(r.String("key_type"))
	if err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	t := template(r.String("common_name"), ttl)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	public, _ := x509.MarshalPKIXPublicKey(key.Public()) // own key
	id := sha1.Sum(public)                               // #nosec G401 -- an identifier
	t.SubjectKeyId = id[:]
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing root: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}
	if err := r.Storage.Put("ca", ca{Cert: der, Key: pkcs8}); err != nil {
		return nil, err
	}
	text := pemOf("CERTIFICATE", der)
	return engine.OK(map[string]any{"certificate": text, "issuing_ca": text, "serial_number": colons(t.SerialNumber), "expiration": t.NotAfter.Unix()})
}

func pemOf(kind string, der []byte) string {
	return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func colons(serial *big.Int) string {
	var b bytes.Buffer
	for i, x := range serial.Bytes() {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02x", x)
	}
	return b.String()
}

func issue(r *engine.Request) (*engine.Response, error) {
	role := map[string]any{}
	if !r.Storage.Get("roles/"+r.Param("role"), &role) {
		return nil, engine.BadRequest("unknown role: %s", r.Param("role"))
	}
	if err := hasField(r, "common_name"); err != nil {
		return nil, err
	}
	t := template(r.String("common_name"), certTTL(r, role))
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	t.DNSNames = append([]string{t.Subject.CommonName}, r.Strings("alt_names")...)
	for _, ip := range r.Strings("ip_sans") {
		t.IPAddresses = append(t.IPAddresses, net.ParseIP(ip))
	}
	key, err := newKey(engine.Text(role["key_type"]))
	if err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	return signAndStore(r, t, key)
}

// certTTL is the life of a certificate: as asked, within the role's limit.
func certTTL(r *engine.Request, role map[string]any) time.Duration {
	ttl := r.Duration("ttl")
	if ttl == 0 {
		ttl, _ = engine.ParseDuration(engine.Text(role["ttl"]))
	}
	limit, _ := engine.ParseDuration(engine.Text(role["max_ttl"]))
	if limit == 0 {
		limit = 768 * time.Hour
	}
	if ttl == 0 || ttl > limit {
		ttl = limit
	}
	return ttl
}

func loadCA(r *engine.Request) (*x509.Certificate, any, error) {
	var a ca
	if !r.Storage.Get("ca", &a) {
		return nil, nil, engine.BadRequest("no default issuer currently configured")
	}
	cert, err := x509.ParseCertificate(a.Cert)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing issuer: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(a.Key)
	return cert, key, err
}

func signAndStore(r *engine.Request, t *x509.Certificate, key crypto.Signer) (*engine.Response, error) {
	issuer, issuerKey, err := loadCA(r)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, issuer, key.Public(), issuerKey)
	if err != nil {
		return nil, fmt.Errorf("signing certificate: %w", err)
	}
	serial, text := colons(t.SerialNumber), pemOf("CERTIFICATE", der)
	if err := r.Local.Put("certs/"+dashes(serial), issued{PEM: text}); err != nil {
		return nil, err
	}
	kind, keyDER := "RSA PRIVATE KEY", []byte(nil)
	name := "rsa"
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		kind, name = "EC PRIVATE KEY", "ec"
		keyDER, _ = x509.MarshalECPrivateKey(k) // own key
	case *rsa.PrivateKey:
		keyDER = x509.MarshalPKCS1PrivateKey(k)
	}
	root := pemOf("CERTIFICATE", issuer.Raw)
	return engine.OK(map[string]any{
		"certificate": text, "issuing_ca": root, "ca_chain": []string{root}, "private_key": pemOf(kind, keyDER),
		"private_key_type": name, "serial_number": serial, "expiration": t.NotAfter.Unix(),
	})
}

func dashes(serial string) string { return strings.ReplaceAll(strings.ToLower(serial), ":", "-") }

func revokeCert(r *engine.Request) (*engine.Response, error) {
	serial := r.String("serial_number")
	if serial == "" {
		return nil, engine.BadRequest("either serial_number or certificate must be provided")
	}
	var c issued
	if !r.Local.Get("certs/"+dashes(serial), &c) {
		return nil, engine.BadRequest("certificate with serial %s not found", serial)
	}
	if c.Revoked.IsZero() {
		c.Revoked = time.Now().UTC()
		if err := r.Local.Put("certs/"+dashes(serial), c); err != nil {
			return nil, err
		}
	}
	return engine.OK(map[string]any{"revocation_time": c.Revoked.Unix(), "revocation_time_rfc3339": c.Revoked, "state": "revoked"})
}

func readCA(r *engine.Request) (*engine.Response, error) {
	issuer, _, err := loadCA(r)
	if err != nil {
		return nil, nil // no issuer is a 404
	}
	return engine.OK(map[string]any{"certificate": pemOf("CERTIFICATE", issuer.Raw) + "\n", "revocation_time": 0})
}

func readCert(r *engine.Request) (*engine.Response, error) {
	var c issued
	if !r.Local.Get("certs/"+dashes(r.Param("serial")), &c) {
		return nil, nil
	}
	at := int64(0)
	if !c.Revoked.IsZero() {
		at = c.Revoked.Unix()
	}
	return engine.OK(map[string]any{"certificate": c.PEM + "\n", "revocation_time": at, "revocation_time_rfc3339": stamp(c.Revoked)})
}

// rawCA answers the issuer itself, DER or PEM.
func rawCA(r *engine.Request) (*engine.Response, error) {
	issuer, _, err := loadCA(r)
	if err != nil {
		return nil, nil // no issuer is a 404
	}
	if strings.HasSuffix(r.Path, "pem") {
		return &engine.Response{Raw: []byte(pemOf("CERTIFICATE", issuer.Raw) + "\n"), Type: "application/pem-certificate-chain"}, nil
	}
	return &engine.Response{Raw: issuer.Raw, Type: "application/pkix-cert"}, nil
}

// readCRL signs the list of what was revoked on this cluster.
func readCRL(r *engine.Request) (*engine.Response, error) {
	issuer, key, err := loadCA(r)
	if err != nil {
		return nil, nil // no issuer is a 404
	}
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(72 * time.Hour)}
	for _, k := range r.Local.Keys("certs/") {
		var c issued
		if r.Local.Get(k, &c) && !c.Revoked.IsZero() {
			n, _ := new(big.Int).SetString(strings.ReplaceAll(strings.TrimPrefix(k, "certs/"), "-", ""), 16)
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: c.Revoked})
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, issuer, key.(crypto.Signer))
	if err != nil {
		return nil, fmt.Errorf("signing crl: %w", err)
	}
	if strings.HasSuffix(r.Path, "pem") {
		return &engine.Response{Raw: []byte(pemOf("X509 CRL", der) + "\n"), Type: "application/x-pem-file"}, nil
	}
	return &engine.Response{Raw: der, Type: "application/pkix-crl"}, nil
}

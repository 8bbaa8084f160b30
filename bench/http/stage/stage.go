// Package stage is what the load and the programs it is sent to agree on: addresses,
// paths, tokens, and messages that are read with the least effort.
package stage

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Where the simulated Vault listens, and the proxy that is measured.
const (
	PlainUpstream = "127.0.0.1:15900"
	TLSUpstream   = "127.0.0.1:15901"
	Front         = "127.0.0.1:15910"
	UpstreamName  = "bench.test" // in its certificate, for nginx, which looks for no address there
)

// What the simulated Vault has.
const (
	SmallPath = "/v1/secret/data/small" // 600 bytes, in each mount
	LargePath = "/v1/secret/data/large" // 64 KiB
	WritePath = "/v1/secret/data/written"
	LeasePath = "/v1/database/creds/app"
	LoginPath = "/v1/auth/userpass/login/" // and a name
	Token     = "hvs.bench"
)

// TokenOf is what a user gets who logs in.
func TokenOf(name string) string {
	if name == "u" {
		return Token
	}
	return Token + "." + name
}

// MountName is that of one of many mounts.
func MountName(i int) string { return fmt.Sprintf("team-%05d/kv", i) }

// Authority is who vouches for the upstream.
func Authority(dir string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in cert.pem")
	}
	return roots, nil
}

// Package tokencache remembers who the clients are: for each client token a
// [Session] with the way to log in again, its token on each cluster, and when all
// of it ends. It also remembers the home of leases, wrapping tokens and accessors.
//
// Vault keeps tokens and leases local to the cluster that issued them; a DR pair
// counts as one. This package therefore speaks of homes (health.Cluster.Home),
// never of clusters.
//
// Everything lives in memory only. Tokens and credentials are of types that print
// redacted under every verb and encoder.
package tokencache

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Token is a Vault token. Its value leaves only through Reveal.
type Token struct{ value string }

// NewToken wraps a token's value.
func NewToken(value string) Token { return Token{value} }

// Reveal gives the value, for the one place that puts it into a request.
func (t Token) Reveal() string { return t.value }

// IsZero reports whether there is no token.
func (t Token) IsZero() bool { return t.value == "" }

// String redacts.
func (t Token) String() string { return redacted }

// GoString redacts.
func (t Token) GoString() string { return redacted }

// Format redacts under every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText redacts for encoders.
func (t Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue redacts for log/slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// key is a keyed hash of a secret name (token, lease id, accessor), so that maps
// and logs never hold the thing itself.
type key [sha256.Size]byte

func (c *Cache) keyOf(secret string) key {
	mac := hmac.New(sha256.New, c.hashKey)
	mac.Write([]byte(secret))
	return key(mac.Sum(nil))
}

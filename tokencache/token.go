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
	"hash"
	"log/slog"
	"unique"
)

const redacted = "[redacted]"

// Token is a Vault token. Its value leaves only through Reveal. Two tokens of the
// same value are equal.
type Token struct {
	hidden
	// Not a string: fmt prints the unexported fields of a struct that holds a
	// Token without asking the Token's methods. Of a handle it sees an address.
	value unique.Handle[string]
}

// NewToken wraps a token's value.
func NewToken(value string) Token {
	if value == "" {
		return Token{}
	}
	return Token{value: unique.Make(value)}
}

// Reveal gives the value, for the one place that puts it into a request.
func (t Token) Reveal() string {
	if t.IsZero() {
		return ""
	}
	return t.value.Value()
}

// IsZero reports whether there is no token.
func (t Token) IsZero() bool { return t == Token{} }

// hidden makes what embeds it print redacted under every verb and encoder.
type hidden struct{}

// String redacts.
func (hidden) String() string { return redacted }

// GoString redacts.
func (hidden) GoString() string { return redacted }

// Format redacts under every verb.
func (hidden) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText redacts for encoders.
func (hidden) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue redacts for log/slog.
func (hidden) LogValue() slog.Value { return slog.StringValue(redacted) }

// key is a keyed hash of a secret name (token, lease id, accessor), so that maps
// and logs never hold the thing itself.
type key [sha256.Size]byte

// hasher makes keys. It is used by one at a time, and by many after each other: making one
// costs more than a key.
type hasher struct {
	mac hash.Hash
	in  []byte
	out key
}

// keyOf may be called when the hash key is settled: a restored state brings its own.
func (c *Cache) keyOf(secret ...string) key {
	h, ok := c.hashers.Get().(*hasher)
	if !ok {
		h = &hasher{mac: hmac.New(sha256.New, c.hashKey)}
	}
	h.in = h.in[:0]
	for _, part := range secret {
		h.in = append(h.in, part...)
	}
	h.mac.Reset()
	_, _ = h.mac.Write(h.in) // never fails
	h.mac.Sum(h.out[:0])
	clear(h.in)
	k := h.out
	c.hashers.Put(h)
	return k
}

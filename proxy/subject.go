package proxy

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"path"
	"strings"

	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// What has a home has a name in the cache. Tokens, leases and accessors are names by
// themselves; others get their kind in front, and the mount where they are unique only
// there.

func (x *exchange) within(kind, name string) string {
	return kind + " " + x.decision.Namespace + x.decision.Mount + " " + name
}

// serialName makes one name of both ways to write a serial number.
func (x *exchange) serialName(serial string) string {
	return x.within("serial", strings.ReplaceAll(strings.ToLower(serial), "-", ":"))
}

// subject is what the request names, as the cache knows it; empty when it names
// nothing.
func (x *exchange) subject() string {
	f := x.fields
	switch x.decision.Subject {
	case routing.BodyToken:
		return f.Token
	case routing.BodyAccessor:
		return f.Accessor
	case routing.BodyLease:
		return x.leaseID()
	case routing.Serial:
		return x.serialName(x.serial())
	case routing.OneTimePassword:
		return x.within("otp", f.OTP)
	case routing.MFARequest:
		return "mfa " + f.MFARequest
	case routing.OIDCState:
		return "state " + x.queryOr("state", f.State)
	case routing.OIDCCode:
		return "code " + f.Code
	case routing.ACMEAccount:
		return f.signer()
	case routing.EABKey:
		return "eab " + path.Base(x.decision.Path)
	}
	return ""
}

// kind says how a name can be looked for; false: by memory alone.
func (x *exchange) kind() (tokencache.Kind, bool) {
	kind, ok := map[routing.Subject]tokencache.Kind{
		routing.BodyToken: tokencache.Other, routing.BodyAccessor: tokencache.Accessor, routing.BodyLease: tokencache.Lease,
		routing.WrappingToken: tokencache.Wrapping, routing.Serial: tokencache.Certificate,
	}[x.decision.Subject]
	return kind, ok
}

// serial is the certificate that a PKI request names: in the body, else in the path
// (cert/SERIAL).
func (x *exchange) serial() string {
	if x.fields.Serial != "" {
		return x.fields.Serial
	}
	_, rest, _ := strings.Cut(x.decision.Path, "cert/")
	serial, _, _ := strings.Cut(rest, "/")
	return serial
}

// leaseID is the lease a request names: in the body, else at the end of the path.
func (x *exchange) leaseID() string {
	if x.fields.LeaseID != "" {
		return x.fields.LeaseID
	}
	p := strings.TrimPrefix(x.decision.Path, "leases/")
	_, id, _ := strings.Cut(p, "/")
	return id
}

func (x *exchange) queryOr(key, other string) string {
	values, _ := url.ParseQuery(x.target.query) // what can be parsed counts, as in Vault
	if v := values.Get(key); v != "" {
		return v
	}
	return other
}

// signer is who signed an ACME request: the account, by its URL, or the EAB key with
// which a new account is asked for (RFC 8555 6.2, 7.3.4).
func (f bodyFields) signer() string {
	if kid := keyID(f.Protected); kid != "" {
		return "acme " + path.Base(kid)
	}
	var payload struct {
		EAB struct {
			Protected string `json:"protected"`
		} `json:"externalAccountBinding"`
	}
	raw, _ := base64.RawURLEncoding.DecodeString(f.Payload)
	_ = json.Unmarshal(raw, &payload) // what is no JSON names no key
	if kid := keyID(payload.EAB.Protected); kid != "" {
		return "eab " + kid
	}
	return ""
}

// keyID reads the kid of a protected header of a JWS.
func keyID(protected string) string {
	var header struct {
		KeyID string `json:"kid"`
	}
	raw, _ := base64.RawURLEncoding.DecodeString(protected)
	_ = json.Unmarshal(raw, &header) // what is no JSON names no key
	return header.KeyID
}

// names are all things with a home that an answer tells of.
func (x *exchange) names(a *answer, l lesson) []string {
	var out []string
	add := func(name, value string) {
		if value != "" {
			out = append(out, name)
		}
	}
	if w := l.WrapInfo; w != nil {
		add(w.Token, w.Token)
		add(w.Accessor, w.Accessor)
		add(w.WrappedAccessor, w.WrappedAccessor)
	}
	if l.Auth != nil && l.Auth.MFARequirement != nil {
		id := l.Auth.MFARequirement.MFARequestID
		add("mfa "+id, id)
	}
	switch d := l.Data; {
	case x.decision.Engine == "pki":
		add(x.serialName(d.Serial), d.Serial)
		add("eab "+d.ID, d.ID)
		account := a.resp.Header.Get("Location")
		add("acme "+path.Base(account), account)
	case d.KeyType == "otp":
		add(x.within("otp", d.Key), d.Key)
	case d.AuthURL != "":
		u, _ := url.Parse(d.AuthURL)
		if u != nil {
			add("state "+u.Query().Get("state"), u.Query().Get("state"))
		}
	case l.Code != "":
		add("code "+l.Code, l.Code)
	}
	return out
}

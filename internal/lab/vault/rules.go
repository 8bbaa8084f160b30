package vault

import (
	"net/http"
	"strings"
)

// fate is what becomes of a request.
type fate int

const (
	stays   fate = iota // executed by the Vault where it arrives
	shared              // executed at the primary and repeated on the others
	refused             // can't be repeated with the same result
)

// rule gives a fate to paths below the mounts of an engine. In a pattern + is
// one segment and a * at the end is the rest.
type rule struct {
	engine, pattern string
	fate            fate
}

// rules are about requests that write; the first match counts, and a write that
// matches none is shared. Logins are not here: they always stay.
func rules() []rule {
	return []rule{
		{"cubbyhole", "*", stays},
		{"identity", "*", stays}, // ids are random: entities are each cluster's own
		{"token", "roles/*", shared},
		{"token", "*", stays},

		{"system", "leases/*", stays},
		{"system", "renew*", stays},
		{"system", "revoke*", stays},
		{"system", "wrapping/*", stays},
		{"system", "tools/*", stays},
		{"system", "capabilities*", stays},
		{"system", "internal/*", stays},
		{"system", "audit*", stays},
		{"system", "seal", stays},
		{"system", "step-down", stays},
		{"system", "replication/*", stays},
		{"system", "config/reload/*", stays},
		{"system", "config/ui*", stays}, // as config/cors: each cluster's own
		{"system", "config/cors", stays},
		{"system", "rotate*", stays},
		{"system", "rekey*", stays},
		{"system", "generate-root*", stays},
		{"system", "storage/*", stays},
		{"system", "raw/*", stays},
		{"system", "loggers*", stays},
		{"system", "pprof/*", stays},

		{"approle", "role/+/secret-id/lookup", stays},
		{"approle", "role/+/secret-id-accessor/lookup", stays},
		{"approle", "role/+/secret-id-accessor/destroy", refused}, // each cluster has its own accessor
		{"approle", "tidy/*", stays},

		{"database", "reset/*", stays},
		{"database", "rotate-root/*", refused}, // each cluster would make up another password
		{"database", "rotate-role/*", refused},
		{"database", "static-roles/*", refused},

		{"transit", "keys/*", refused}, // random key material
		{"transit", "restore*", refused},
		{"transit", "config/*", shared},
		{"transit", "*", stays},

		{"pki", "root/*", refused}, // random key material
		{"pki", "intermediate/*", refused},
		{"pki", "issuers/*", refused},
		{"pki", "issuer/*", refused},
		{"pki", "keys/*", refused},
		{"pki", "roles/*", shared},
		{"pki", "config/*", shared},
		{"pki", "*", stays},

		{"ssh", "config/ca", refused}, // random key material, unless it is imported
		{"ssh", "sign/*", stays},
		{"ssh", "creds/*", stays},
		{"ssh", "verify", stays},
		{"ssh", "issue/*", stays},
		{"totp", "keys/*", refused},
		{"totp", "code/*", stays},
	}
}

// matches reports whether a path below a mount fits a pattern.
func matches(pattern, path string) bool {
	for {
		want, morePattern, inPattern := strings.Cut(pattern, "/")
		have, morePath, inPath := strings.Cut(path, "/")
		if prefix, open := strings.CutSuffix(want, "*"); open && !inPattern {
			return strings.HasPrefix(path, prefix)
		}
		if want != "+" && want != have || inPattern != inPath {
			return false
		}
		if !inPattern {
			return true
		}
		pattern, path = morePattern, morePath
	}
}

func writes(method string) bool {
	switch method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	default:
		return false
	}
}

// fateOf decides about a request by its decoded path.
func (t mounts) fateOf(method, path string, body []byte) fate {
	m, below, ok := t.find(path)
	if !writes(method) || !ok || m.local {
		return stays
	}
	if m.auth() && (below == "login" || strings.HasPrefix(below, "login/")) {
		return stays
	}
	if m.engine == "system" && makesLocal(below, body) {
		return stays
	}
	for _, r := range rules() {
		if r.engine == m.engine && matches(r.pattern, below) {
			return r.fate
		}
	}
	return shared
}

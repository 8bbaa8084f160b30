package vault

import (
	"net/http"
	"testing"
)

// table is a mount table with something of everything.
func table() mounts {
	return mounts{
		{"sys/", "system", false}, {"cubbyhole/", "cubbyhole", true}, {"identity/", "identity", false},
		{"secret/", "kv", false}, {"secret/mine/", "kv", true}, {"database/", "database", false},
		{"transit/", "transit", false}, {"pki/", "pki", false},
		{"auth/token/", "token", false}, {"auth/userpass/", "userpass", false}, {"auth/approle/", "approle", false},
	}
}

func TestFates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, path, body string
		want               fate
	}{
		{"GET", "secret/data/a", "", stays},
		{"LIST", "secret/metadata/a", "", stays},
		{"POST", "secret/data/a", "", shared},
		{"PUT", "secret/data/login", "", shared},
		{"PATCH", "secret/data/a", "", shared},
		{"DELETE", "secret/data/a", "", shared},
		{"POST", "secret/mine/a", "", stays},
		{"POST", "nosuch/a", "", stays},
		{"POST", "cubbyhole/a", "", stays},
		{"POST", "identity/entity", "", stays},

		{"POST", "auth/userpass/login/demo", "", stays},
		{"POST", "auth/userpass/users/login", "", shared},
		{"POST", "auth/approle/login", "", stays},
		{"POST", "auth/approle/role/login", "", shared},
		{"POST", "auth/approle/role/r/secret-id", "", shared},
		{"POST", "auth/approle/role/r/secret-id/lookup", "", stays},
		{"POST", "auth/approle/role/r/secret-id/destroy", "", shared},
		{"POST", "auth/approle/role/r/secret-id-accessor/destroy", "", refused},
		{"POST", "auth/token/create", "", stays},
		{"POST", "auth/token/revoke-self", "", stays},
		{"POST", "auth/token/roles/r", "", shared},

		{"POST", "sys/policies/acl/p", "", shared},
		{"POST", "sys/mounts/x", `{"type":"kv"}`, shared},
		{"POST", "sys/mounts/x", `{"type":"kv","local":true}`, stays},
		{"POST", "sys/auth/x", `{"type":"userpass","local":true}`, stays},
		{"PUT", "sys/leases/renew", "", stays},
		{"PUT", "sys/renew", "", stays},
		{"PUT", "sys/seal", "", stays},
		{"POST", "sys/wrapping/unwrap", "", stays},
		{"POST", "sys/capabilities-self", "", stays},
		{"POST", "sys/tools/hash", "", stays},
		{"PUT", "sys/quotas/rate-limit/q", "", shared},

		{"POST", "database/config/pg", "", shared},
		{"POST", "database/roles/r", "", shared},
		{"POST", "database/rotate-root/pg", "", refused},
		{"POST", "database/static-roles/r", "", refused},
		{"POST", "database/reset/pg", "", stays},
		{"POST", "transit/encrypt/k", "", stays},
		{"POST", "transit/keys/k", "", refused},
		{"POST", "transit/keys/k/rotate", "", refused},
		{"POST", "pki/issue/r", "", stays},
		{"POST", "pki/roles/r", "", shared},
		{"POST", "pki/root/generate/internal", "", refused},
	} {
		if got := table().fateOf(c.method, c.path, []byte(c.body)); got != c.want {
			t.Errorf("%s %s %s: %d, want %d", c.method, c.path, c.body, got, c.want)
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"*", "a/b", true}, {"*", "", true},
		{"a", "a", true}, {"a", "a/b", false}, {"a/b", "a", false},
		{"a*", "ab/c", true}, {"a/*", "a", false}, {"a/*", "a/", true},
		{"a/+/c", "a/b/c", true}, {"a/+/c", "a/b/d", false}, {"a/+", "a/b/c", false},
	} {
		if got := matches(c.pattern, c.path); got != c.want {
			t.Errorf("%q, %q: %v", c.pattern, c.path, got)
		}
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		capability, method string
		want               bool
	}{
		{"root", http.MethodDelete, true}, {"update", http.MethodPost, true}, {"create", http.MethodPut, true},
		{"read", http.MethodPost, false}, {"update", http.MethodDelete, false}, {"patch", http.MethodPatch, true},
		{"update", http.MethodPatch, false}, {"deny", http.MethodPost, false},
	} {
		if got := suffices(c.capability, c.method); got != c.want {
			t.Errorf("%s for %s: %v", c.capability, c.method, got)
		}
	}
}

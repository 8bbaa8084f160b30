package routing

import (
	"strings"
	"testing"
)

// decided classifies a request by a table of the usual mounts.
func decided(t *testing.T, method, path string) Decision {
	t.Helper()
	table := (&Table{}).With("", []Mount{
		{Path: "secret/", Type: "kv-v2"}, {Path: "old/", Type: "kv-v1"}, {Path: "pki/", Type: "pki"}, {Path: "transit/", Type: "transit"},
		{Path: "auth/userpass/", Type: "auth/userpass"}, {Path: "auth/approle/", Type: "auth/approle"},
	}).With("team/", []Mount{{Path: "secret/", Type: "kv-v2"}})
	path, query, _ := strings.Cut(path, "?")
	d, err := New(nil).Classify(table, Request{Method: method, Path: "/v1/" + path, RawQuery: query})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWhatAnAnswerDependsOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		write, written string
		read, path     string
		want           bool
	}{
		{"POST", "secret/data/a/b", "GET", "secret/data/a/b", true},
		{"POST", "secret/data/a/b", "GET", "secret/data/a/b?version=1", true},
		{"POST", "secret/data/a/b", "GET", "secret/metadata/a/b", true},
		{"POST", "secret/data/a/b", "GET", "secret/subkeys/a/b", true},
		{"POST", "secret/data/a/b", "GET", "secret/data/a/c", false},
		{"POST", "secret/data/a/b", "GET", "secret/data/a", false},
		{"POST", "secret/data/a/b", "LIST", "secret/metadata/a", true},
		{"POST", "secret/data/a/b", "LIST", "secret/metadata/a/", true},
		{"POST", "secret/data/a/b", "GET", "secret/metadata/?list=true", true},
		{"POST", "secret/data/a/b", "LIST", "secret/metadata/", true},
		{"POST", "secret/data/a/b", "LIST", "secret/metadata/ab", false},
		{"DELETE", "secret/data/a", "GET", "secret/data/a", true},
		{"POST", "secret/delete/a", "GET", "secret/data/a", true},
		{"POST", "secret/undelete/a", "GET", "secret/data/a", true},
		{"PUT", "secret/destroy/a", "GET", "secret/data/a", true},
		{"DELETE", "secret/metadata/a", "GET", "secret/data/a", true},
		{"PATCH", "secret/data/a", "GET", "secret/data/a", true},
		{"POST", "secret/config", "GET", "secret/data/a", true},
		{"POST", "secret/data/a", "GET", "team/secret/data/a", false},
		{"POST", "team/secret/data/a", "GET", "team/secret/data/a", true},
		{"POST", "old/a", "GET", "old/a", true},
		{"POST", "old/a/b", "LIST", "old/a", true},
		{"POST", "old/a", "GET", "old/b", false},
		{"POST", "old/data/a", "GET", "old/a", false},
		{"POST", "pki/roles/web", "POST", "pki/issue/web", true},
		{"POST", "pki/roles/web", "GET", "secret/data/web", false},
		{"POST", "transit/keys/k", "POST", "transit/encrypt/k", true},
		{"POST", "auth/userpass/users/u", "POST", "auth/userpass/login/u", true},
		{"POST", "auth/userpass/users/u", "POST", "auth/approle/login", false},
		{"PUT", "sys/policies/acl/p", "GET", "secret/data/a", true},
		{"PUT", "sys/policies/acl/p", "POST", "auth/userpass/login/u", true},
		{"PUT", "sys/policies/acl/p", "GET", "sys/policies/acl/p", true},
		{"POST", "sys/mounts/new", "POST", "new/x", true},
		{"POST", "identity/group", "GET", "secret/data/a", true},
		{"POST", "secret/data/a", "GET", "sys/mounts", false},
		{"POST", "unknown/x", "GET", "unknown/y", true},
		{"POST", "unknown/x", "GET", "other/y", false},
		{"POST", "secret/data/a", "GET", "cubbyhole/a", false},
	} {
		write, read := decided(t, c.write, c.written).Scope(), decided(t, c.read, c.path).Scope()
		if got := write.Meets(read); got != c.want {
			t.Errorf("%s %s changes %s %s: %v, want %v", c.write, c.written, c.read, c.path, got, c.want)
		}
	}
}

func TestVersionsAreToldOfSecretsOnly(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{"secret/data/a": true, "secret/metadata/a": false, "old/data/a": false, "pki/data/a": false} {
		if got := decided(t, "GET", path).Versioned(); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

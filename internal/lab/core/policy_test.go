package core

import (
	"slices"
	"testing"
)

func TestCapabilities(t *testing.T) {
	t.Parallel()
	rules, err := parsePolicy(`
# a comment with "quotes" { and braces
name = "ignored"
path "secret/*" { capabilities = ["read"] } // another
path "secret/app/*" {
  capabilities = [
    "create", "update", # trailing comma
  ]
  allowed_parameters = { "a" = ["b", "c"], "d" = [] }
  min_wrapping_ttl = "1s"
}
path "secret/app/locked" { capabilities = ["deny"] }
path "+/config" { capabilities = ["list"] }
path "team/+/data/*" { capabilities = ["patch"] }
/* path "kv/*" { capabilities = ["read"] } */
`)
	if err != nil {
		t.Fatal(err)
	}
	a := &acl{rules: rules}
	tests := []struct {
		path string
		want []string
	}{
		{"secret/x", []string{"read"}},
		{"secret/app/x", []string{"create", "update"}},
		{"secret/app/locked", []string{"deny"}},
		{"kv/x", []string{"deny"}},
		{"mount/config", []string{"list"}},
		{"secret/config", []string{"read"}}, // the later wildcard wins
		{"a/b/config", []string{"deny"}},
		{"team/red/data/x/y", []string{"patch"}},
		{"team/red/other", []string{"deny"}},
	}
	for _, tt := range tests {
		if got := a.capabilities(tt.path); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.path, got, tt.want)
		}
	}
	for mount, want := range map[string]bool{"secret/": true, "team/": true, "any/": true, "auth/userpass/": false} {
		if got := a.sees(mount); got != want {
			t.Errorf("sees %s: %v", mount, got)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		rules      int
		ok         bool
	}{
		{"empty", "", 0, true},
		{"json", `{"path":{"a":{"capabilities":["read"]},"b/*":{"capabilities":["list"]}}}`, 2, true},
		{"bad json", `{"path":`, 0, false},
		{"no block", `path "a"`, 0, false},
		{"open block", `path "a" { capabilities = ["read"]`, 0, false},
		{"open list", `path "a" { capabilities = ["read" `, 0, false},
		{"unknown capability", `path "a" { capabilities = ["fly"] }`, 1, false},
		{"no list", `path "a" { capabilities = "read" }`, 0, false},
		{"open value", `path "a" { allowed_parameters = {`, 0, false},
		{"default", defaultPolicy, 18, true},
	}
	for _, tt := range tests {
		rules, err := parsePolicy(tt.text)
		if (err == nil) != tt.ok || len(rules) != tt.rules {
			t.Errorf("%s: %d rules, error %v", tt.name, len(rules), err)
		}
	}
}

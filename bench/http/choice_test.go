package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestProxiesAreChosenByName(t *testing.T) {
	got, err := chosen("VRProxy, haproxy")
	if err != nil || !slices.Equal(got, []string{vrproxy, haproxy}) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := chosen("envoy"); err == nil || !strings.Contains(err.Error(), "nginx") {
		t.Errorf("got %v; want an error with the names that there are", err)
	}
}

func TestEachNameIsAContender(t *testing.T) {
	s := site{dir: t.TempDir(), vault: "/vault"}
	all, err := s.contenders(names())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range all {
		got = append(got, c.name)
	}
	if !slices.Equal(got, names()) {
		t.Errorf("got %q", got)
	}
}

func TestTheVaultOfTheTestsIsFound(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"VRPROXY_E2E_CACHE": dir}
	find := func(named string) (string, error) { return findVault(named, func(k string) string { return env[k] }) }
	if got, err := find(""); got != "" || err != nil {
		t.Errorf("without any: %q, %v", got, err)
	}
	built := filepath.Join(dir, "vault-v1.21.1-go1.26-"+runtime.GOOS+"-"+runtime.GOARCH)
	if err := os.WriteFile(built, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := find(""); got != built || err != nil {
		t.Errorf("from the cache: %q, %v; want %q", got, err, built)
	}
	if _, err := find(filepath.Join(dir, "absent")); err == nil {
		t.Error("one that is named and absent is no error")
	}
}

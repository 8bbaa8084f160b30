package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// findVault is a vault binary: the one that is named, or the newest of those that the
// tests in e2e/ have built and kept. Empty: there is none.
func findVault(named string, getenv func(string) string) (string, error) {
	if named == "" {
		named = getenv("VRPROXY_E2E_VAULT")
	}
	if named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("-vault or VRPROXY_E2E_VAULT names no binary: %w", err)
		}
		return filepath.Abs(named)
	}
	found, err := filepath.Glob(filepath.Join(cacheDir(getenv), "vault-v*-"+runtime.GOOS+"-"+runtime.GOARCH))
	if err != nil || len(found) == 0 {
		return "", err
	}
	return slices.MaxFunc(found, func(a, b string) int { return made(a).Compare(made(b)) }), nil
}

func made(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// cacheDir is where e2e/vaultbin keeps what it builds.
func cacheDir(getenv func(string) string) string {
	if dir := getenv("VRPROXY_E2E_CACHE"); dir != "" {
		return dir
	}
	if dir := getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "vrproxy-e2e")
	}
	return filepath.Join(getenv("HOME"), ".cache", "vrproxy-e2e")
}

package dns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const installedResolved = "/lib/systemd/systemd-resolved"

// findResolved returns the path of systemd-resolved. Its Debian package, once
// installed, takes over the machine's /etc/resolv.conf; so where it is not, the package is
// only unpacked, once, beside the built Vault.
func findResolved(ctx context.Context, getenv func(string) string) (string, error) {
	if _, err := os.Stat(installedResolved); err == nil {
		return installedResolved, nil
	}
	cache, err := os.UserCacheDir()
	if dir := getenv("VRPROXY_E2E_CACHE"); dir != "" {
		cache, err = filepath.Abs(dir)
	}
	if err != nil {
		return "", fmt.Errorf("no place for systemd-resolved: %w", err)
	}
	unpacked := filepath.Join(cache, "vrproxy-e2e", "systemd-resolved")
	path := filepath.Join(unpacked, installedResolved)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, unpackResolved(ctx, unpacked)
}

// unpackResolved unpacks under another name first: who finds the folder finds all of it.
func unpackResolved(ctx context.Context, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(to), "unpack-")
	if err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	defer os.RemoveAll(dir)
	script := "(apt-get download -q systemd-resolved || apt-get update -q && apt-get download -q systemd-resolved) && dpkg -x systemd-resolved_*.deb unpacked"
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetching Debian's package systemd-resolved: %w\n%s", err, said)
	}
	if err := os.Rename(filepath.Join(dir, "unpacked"), to); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("keeping systemd-resolved: %w", err)
	}
	return nil
}

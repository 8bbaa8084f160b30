// Package vaultbin finds a Vault binary for the tests, or builds it once and
// keeps it.
package vaultbin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
)

const (
	module    = "github.com/hashicorp/vault"
	envReady  = "VRPROXY_E2E_VAULT" // a binary to use as it is
	envCache  = "VRPROXY_E2E_CACHE" // where built ones are kept
	cacheName = "vrproxy-e2e"
)

// Finder looks for the binary.
type Finder struct {
	Module string              // directory with the go.mod that names Vault's version
	Getenv func(string) string // of the process
	Out    io.Writer           // told before a long build

	// Build builds the binary of the module in dir and writes it to out. nil: the
	// go command.
	Build func(ctx context.Context, dir, out string) error
}

// Find returns the path of the binary, after building it if need be.
func (f Finder) Find(ctx context.Context) (string, error) {
	if ready := f.Getenv(envReady); ready != "" {
		if _, err := os.Stat(ready); err != nil {
			return "", fmt.Errorf("%s names no Vault binary: %w", envReady, err)
		}
		return filepath.Abs(ready)
	}
	dir, err := f.cacheDir()
	if err != nil {
		return "", err
	}
	name, err := f.name()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, f.make(ctx, path)
}

// make builds under another name first: who finds the file finds it whole, also
// when two builds run at once or one is interrupted.
func (f Finder) make(ctx context.Context, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "build-")
	if err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // only leftovers are there
	_, _ = fmt.Fprintf(f.Out, "e2e: building Vault into %s; this takes several minutes, and is done once\n", path)
	build := f.Build
	if build == nil {
		build = goBuild
	}
	out := filepath.Join(dir, "vault")
	if err := build(ctx, f.Module, out); err != nil {
		return fmt.Errorf("building Vault: %w", err)
	}
	return os.Rename(out, path)
}

func (f Finder) cacheDir() (string, error) {
	if dir := f.Getenv(envCache); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := f.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, cacheName), nil
	}
	if home := f.Getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", cacheName), nil
	}
	return "", errors.New("no place for the built Vault: set " + envCache + ", or HOME")
}

// name tells binaries of different versions apart.
func (f Finder) name() (string, error) {
	raw, err := os.ReadFile(filepath.Join(f.Module, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("finding Vault's version: %w", err)
	}
	found := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(raw)
	if found == nil {
		return "", fmt.Errorf("finding Vault's version: %s/go.mod does not require %s", f.Module, module)
	}
	return fmt.Sprintf("vault-%s-%s-%s-%s", found[1], runtime.Version(), runtime.GOOS, runtime.GOARCH), nil
}

func goBuild(ctx context.Context, dir, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, module)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

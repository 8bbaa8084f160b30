// Package vaultbin finds a Vault binary for the tests, or builds it once and
// keeps it; and other programs of its makers likewise.
package vaultbin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

const (
	vault     = "github.com/hashicorp/vault"
	envReady  = "VRPROXY_E2E_"      // and the program's name: a binary to use as it is
	envCache  = "VRPROXY_E2E_CACHE" // where built ones are kept
	cacheName = "vrproxy-e2e"
)

// Finder looks for the binary.
type Finder struct {
	Module string              // directory with the go.mod that names the program's version
	Tool   string              // import path of the program; default Vault's
	Getenv func(string) string // of the process
	Out    io.Writer           // told before a long build

	// Build builds the binary of the module in dir and writes it to out. nil: the
	// go command.
	Build func(ctx context.Context, dir, out string) error
}

// Find returns the path of the binary, after building it if need be.
func (f Finder) Find(ctx context.Context) (string, error) {
	if f.Tool == "" {
		f.Tool = vault
	}
	env := envReady + strings.ToUpper(strings.ReplaceAll(f.program(), "-", "_"))
	if ready := f.Getenv(env); ready != "" {
		if _, err := os.Stat(ready); err != nil {
			return "", fmt.Errorf("%s names no binary: %w", env, err)
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
	file := filepath.Join(dir, name)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	return file, f.make(ctx, file)
}

func (f Finder) program() string { return path.Base(f.Tool) }

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
	_, _ = fmt.Fprintf(f.Out, "e2e: building %s into %s; it takes several minutes, and is done once\n", f.program(), path)
	build := f.Build
	if build == nil {
		build = f.goBuild
	}
	out := filepath.Join(dir, f.program())
	if err := build(ctx, f.Module, out); err != nil {
		return fmt.Errorf("building %s: %w", f.program(), err)
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
		return "", fmt.Errorf("finding the version of %s: %w", f.Tool, err)
	}
	found := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(f.Tool) + ` (v\S+)`).FindSubmatch(raw)
	if found == nil {
		return "", fmt.Errorf("finding the version: %s/go.mod does not require %s", f.Module, f.Tool)
	}
	return fmt.Sprintf("%s-%s-%s-%s-%s", f.program(), found[1], runtime.Version(), runtime.GOOS, runtime.GOARCH), nil
}

func (f Finder) goBuild(ctx context.Context, dir, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, f.Tool)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

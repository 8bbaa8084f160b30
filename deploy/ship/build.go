package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// source is what everything is made of.
type source struct {
	root            string
	version, commit string
	when            time.Time
}

// platform is what a binary runs on.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// platforms are those of a release.
func platforms() []platform {
	var all []platform
	for _, system := range []string{"linux", "darwin", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			all = append(all, platform{system, arch})
		}
	}
	return all
}

// build builds the binary as all are: static, without paths of this machine.
func (s source) build(ctx context.Context, p platform, to string, env ...string) error {
	const app = "github.com/vrproxy/vrproxy/internal/app"
	to, err := filepath.Abs(to)
	if err != nil {
		return fmt.Errorf("building for %s: %w", p, err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", //nolint:gosec // what is run is our own
		"-ldflags", fmt.Sprintf("-s -w -X %[1]s.version=%[2]s -X %[1]s.commit=%[3]s", app, s.version, s.commit),
		"-o", to, "./cmd/vrproxy")
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+p.os, "GOARCH="+p.arch)
	cmd.Env = append(cmd.Env, env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building for %s: %w\n%s", p, err, said)
	}
	return nil
}

// prove builds twice, the second time from a copy of the source at another place and
// without anything that was built before, and compares.
func (s source) prove(ctx context.Context, p platform, say io.Writer) error {
	dir, err := os.MkdirTemp("", "vrproxy-prove-")
	if err != nil {
		return fmt.Errorf("proving that a build can be repeated: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	elsewhere := s
	elsewhere.root = filepath.Join(dir, "elsewhere")
	err = errors.Join(copySource(s.root, elsewhere.root), s.build(ctx, p, first))
	if err == nil {
		err = elsewhere.build(ctx, p, second, "GOCACHE="+filepath.Join(dir, "cache"))
	}
	if err != nil {
		return err
	}
	a, errA := digest(first)
	b, errB := digest(second)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	if a != b {
		return fmt.Errorf("two builds for %s differ: %s and %s", p, a, b)
	}
	_, err = fmt.Fprintf(say, "%s: built twice, from two places and without a cache: %s\n", p, a)
	return err
}

// copySource copies what a build of the root module reads.
func copySource(from, to string) error {
	if err := os.CopyFS(to, sources{os.DirFS(from)}); err != nil {
		return fmt.Errorf("copying the source: %w", err)
	}
	return nil
}

// sources hides what is no part of the module.
type sources struct{ fs.FS }

func (s sources) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(s.FS, name)
	var kept []fs.DirEntry
	for _, e := range all {
		switch e.Name() {
		case ".git", ".ci", "bin", "build", "bench", "deploy", "e2e", "tools":
			if name == "." {
				continue
			}
		}
		if e.Type().IsRegular() || e.IsDir() {
			kept = append(kept, e)
		}
	}
	return kept, err
}

func digest(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading what was made: %w", err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data)), nil
}

// writeFile writes what make makes, and leaves nothing behind if it fails.
func writeFile(name string, mode fs.FileMode, make func(io.Writer) error) error {
	var b bytes.Buffer
	if err := make(&b); err != nil {
		return fmt.Errorf("making %s: %w", filepath.Base(name), err)
	}
	if err := os.WriteFile(name, b.Bytes(), mode); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
	}
	return nil
}

package vaultbin

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// finder works on a cache of its own and counts builds.
func finder(t *testing.T, env map[string]string) (f Finder, builds *int, out *bytes.Buffer) {
	t.Helper()
	builds, out = new(int), &bytes.Buffer{}
	module := t.TempDir()
	write(t, filepath.Join(module, "go.mod"), "module m\n\nrequire (\n\tgithub.com/hashicorp/vault v1.2.3\n\tgithub.com/hashicorp/vault/api v1.9.9\n)\n")
	return Finder{Module: module, Getenv: func(n string) string { return env[n] }, Out: out,
		Build: func(_ context.Context, dir, to string) error {
			*builds++
			if dir != module {
				t.Errorf("built in %s", dir)
			}
			return os.WriteFile(to, []byte("vault"), 0o755)
		}}, builds, out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, f Finder) string {
	t.Helper()
	path, err := f.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVaultIsBuiltOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, builds, out := finder(t, map[string]string{"VRPROXY_E2E_CACHE": dir, "HOME": "/nowhere"})
	first, second := find(t, f), find(t, f)
	if first != second || *builds != 1 {
		t.Errorf("%s and %s after %d builds", first, second, *builds)
	}
	if name := filepath.Base(first); !strings.HasPrefix(name, "vault-v1.2.3-go") || filepath.Dir(first) != dir {
		t.Errorf("kept as %s", first)
	}
	if !strings.Contains(out.String(), "takes several minutes") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("said %q", out)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

func TestAnotherVersionIsAnotherBuild(t *testing.T) {
	t.Parallel()
	f, builds, _ := finder(t, map[string]string{"VRPROXY_E2E_CACHE": t.TempDir()})
	first := find(t, f)
	write(t, filepath.Join(f.Module, "go.mod"), "module m\n\nrequire github.com/hashicorp/vault v1.2.4\n")
	if second := find(t, f); first == second || *builds != 2 {
		t.Errorf("%s after %d builds", second, *builds)
	}
}

func TestAFailedBuildLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, _, _ := finder(t, map[string]string{"VRPROXY_E2E_CACHE": dir})
	broken := errors.New("no compiler")
	f.Build = func(_ context.Context, _, to string) error { return errors.Join(broken, os.WriteFile(to, nil, 0o755)) }
	if _, err := f.Find(t.Context()); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"home": {map[string]string{"HOME": home}, filepath.Join(home, ".cache", "vrproxy-e2e")},
		"xdg":  {map[string]string{"HOME": "/nowhere", "XDG_CACHE_HOME": filepath.Join(home, "x")}, filepath.Join(home, "x", "vrproxy-e2e")},
	} {
		f, _, _ := finder(t, c.env)
		if got := filepath.Dir(find(t, f)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	f, _, _ := finder(t, nil)
	if _, err := f.Find(t.Context()); err == nil || !strings.Contains(err.Error(), "VRPROXY_E2E_CACHE") {
		t.Errorf("without a home: %v", err)
	}
}

func TestAReadyBinaryIsUsedAsItIs(t *testing.T) {
	t.Parallel()
	ready := filepath.Join(t.TempDir(), "vault")
	env := map[string]string{"VRPROXY_E2E_VAULT": ready}
	f, builds, _ := finder(t, env)
	if _, err := f.Find(t.Context()); err == nil {
		t.Error("a missing binary was taken")
	}
	write(t, ready, "vault")
	if got := find(t, f); got != ready || *builds != 0 {
		t.Errorf("%s after %d builds", got, *builds)
	}
}

// The real go.mod names a version.
func TestTheModuleNamesItsVault(t *testing.T) {
	t.Parallel()
	name, err := Finder{Module: filepath.Join("..", "vault"), Tool: vault}.name()
	if err != nil || !strings.HasPrefix(name, "vault-v1.") {
		t.Errorf("%q, %v", name, err)
	}
}

func TestOtherProgramsToo(t *testing.T) {
	name, err := Finder{Module: filepath.Join("..", "consultemplate"), Tool: "github.com/hashicorp/consul-template"}.name()
	if err != nil || !strings.HasPrefix(name, "consul-template-v") {
		t.Errorf("%q %v", name, err)
	}
}

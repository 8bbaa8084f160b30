package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// imageIn reads an archive back and gives its images by architecture.
func imagesIn(t *testing.T, archive string) map[string]v1.Image {
	t.Helper()
	dir := t.TempDir()
	must(t, "tar", "-xf", archive, "-C", dir)
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := top.IndexManifest()
	if err != nil || len(list.Manifests) != 1 || list.Manifests[0].Annotations["org.opencontainers.image.ref.name"] == "" {
		t.Fatalf("%+v, %v; want one index, with its version", list, err)
	}
	index, err := top.ImageIndex(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatalf("not a valid image: %v", err)
	}
	images := make(map[string]v1.Image)
	list, err = index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list.Manifests {
		if images[m.Platform.String()], err = index.Image(m.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return images
}

// content reads all files of an image.
func content(t *testing.T, img v1.Image) (map[string]*tar.Header, map[string][]byte) {
	t.Helper()
	heads, data := make(map[string]*tar.Header), make(map[string][]byte)
	r := mutate.Extract(img)
	defer r.Close()
	for files := tar.NewReader(r); ; {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return heads, data
		}
		if err != nil {
			t.Fatal(err)
		}
		heads[head.Name] = head
		if data[head.Name], err = io.ReadAll(files); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	first, second := filepath.Join(t.TempDir(), "a.tar"), filepath.Join(t.TempDir(), "b.tar")
	for _, to := range []string{first, second} {
		if err := ours().imageArchive(t.Context(), to, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	a, errA := digest(first)
	b, errB := digest(second)
	if a != b || errors.Join(errA, errB) != nil {
		t.Errorf("made twice, it differs: %s, %s, %v", a, b, errors.Join(errA, errB))
	}
	images := imagesIn(t, first)
	if len(images) != 2 {
		t.Fatalf("%d platforms, want linux/amd64 and linux/arm64", len(images))
	}
	for p, machine := range map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64} {
		t.Run(p, func(t *testing.T) {
			hasConfig(t, images[p], p)
			heads, data := content(t, images[p])
			hasFiles(t, heads, data)
			isStatic(t, data["usr/bin/vrproxy"], machine)
		})
	}
}

func hasConfig(t *testing.T, img v1.Image, p string) {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.OS+"/"+c.Architecture != p || c.Config.User != "65532:65532" || !c.Created.Equal(ours().when) {
		t.Errorf("for %s/%s, as %q, of %s", c.OS, c.Architecture, c.Config.User, c.Created)
	}
	if got := strings.Join(append(c.Config.Entrypoint, c.Config.Cmd...), " "); got != "/usr/bin/vrproxy run -c /etc/vrproxy/vrproxy.yaml" {
		t.Errorf("it runs %q", got)
	}
	for label, want := range map[string]string{"version": ours().version, "revision": ours().commit, "licenses": "Apache-2.0", "created": "2023-11-14T22:13:20Z", "source": "https://github.com/vrproxy/vrproxy"} {
		if got := c.Config.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s: %q, want %q", label, got, want)
		}
	}
}

func hasFiles(t *testing.T, heads map[string]*tar.Header, data map[string][]byte) {
	t.Helper()
	for name, h := range heads {
		owner := 0
		if strings.TrimSuffix(name, "/") == "run/vrproxy" {
			owner = nobody
		}
		if h.Uid != owner || h.Gid != owner || h.Mode&0o7022 != 0 || !h.ModTime.Equal(ours().when) || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			t.Errorf("%s: owner %d:%d, mode %o, of %s", name, h.Uid, h.Gid, h.Mode, h.ModTime)
		}
		if strings.HasPrefix(name, "bin/") || strings.HasPrefix(name, "lib") {
			t.Errorf("%s is in a distroless image", name)
		}
	}
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM(data["etc/ssl/certs/ca-certificates.crt"]) || bytes.Count(data["etc/ssl/certs/ca-certificates.crt"], []byte("BEGIN")) < 100 {
		t.Error("no authorities")
	}
	if _, err := time.LoadLocationFromTZData("Europe/Vienna", data["usr/share/zoneinfo/Europe/Vienna"]); err != nil {
		t.Errorf("no time zones: %v", err)
	}
	if !bytes.Contains(data["etc/passwd"], []byte("nonroot:x:65532:65532:")) || len(data["usr/share/doc/vrproxy/LICENSE"]) == 0 {
		t.Error("no user, or no license")
	}
}

func isStatic(t *testing.T, binary []byte, want elf.Machine) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine != want {
		t.Errorf("for %s, want %s", f.Machine, want)
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC }) {
		t.Error("it needs a dynamic linker")
	}
}

// The image's own files are all that the proxy has here: another root, another user.
func TestTheImageRuns(t *testing.T) {
	t.Parallel()
	asRoot(t)
	root, l := t.TempDir(), newLab(t)
	if err := ours().rootfsDir(t.Context(), root, here()); err != nil {
		t.Fatal(err)
	}
	config := clusters(l) + "listeners: [{address: \"127.0.0.1:0\"}, {address: \"unix:///run/vrproxy/vault.sock\"}]\nadmin: {address: \"127.0.0.1:0\"}\n"
	if err := errors.Join(os.Chmod(root, 0o755), os.WriteFile(filepath.Join(root, "etc/vrproxy/vrproxy.yaml"), []byte(config), 0o644)); err != nil {
		t.Fatal(err)
	}
	inside := func(args ...string) *exec.Cmd {
		cmd := exec.Command("/usr/bin/vrproxy", args...)
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd
	}
	if said, err := inside("version").CombinedOutput(); err != nil || !strings.Contains(string(said), "vrproxy v1.2.3-4-gabcdef0 (commit abcdef012345, go") {
		t.Fatalf("%v: %s", err, said)
	}
	said := startProxy(t, inside("run", "-c", "/etc/vrproxy/vrproxy.yaml"))
	serves(t, said.Listeners[0])
	if said, err := inside("probe", "readiness", "--admin", said.Admin).CombinedOutput(); err != nil {
		t.Errorf("probe: %v: %s", err, said)
	}
}

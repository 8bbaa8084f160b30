package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nobody is whom the image runs as. It has no name elsewhere.
const nobody = 65532

// file is one of the image. A name that ends with a slash is a folder.
type file struct {
	name  string
	mode  fs.FileMode
	owner int
	data  []byte
}

// rootfs is everything in the image, in order: the binary, and what Go programs look for
// outside of themselves.
func rootfs(ctx context.Context, binary, license []byte) ([]file, error) {
	zones, err := timeZones(ctx)
	if err != nil {
		return nil, err
	}
	const public = 0o644
	files := slices.Concat([]file{
		{name: "etc/group", mode: public, data: fmt.Appendf(nil, "root:x:0:\nnonroot:x:%d:\n", nobody)},
		{name: "etc/passwd", mode: public, data: fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%[1]d:%[1]d:nonroot:/:/sbin/nologin\n", nobody)},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: public, data: authorities()},
		{name: "etc/vrproxy/", mode: 0o755},
		{name: "run/vrproxy/", mode: 0o755, owner: nobody}, // for unix sockets, where nothing is mounted
		{name: "usr/bin/vrproxy", mode: 0o755, data: binary},
		{name: "usr/share/doc/vrproxy/LICENSE", mode: public, data: license},
	}, zones)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// authorities are Mozilla's, in the version of go.sum. Those that are trusted only under
// conditions are left out, because a file can't say so.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return b.Bytes()
}

// timeZones are those of the Go toolchain.
func timeZones(ctx context.Context) ([]file, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("asking for GOROOT: %w", err)
	}
	all, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		return nil, fmt.Errorf("reading Go's time zones: %w", err)
	}
	defer all.Close()
	var files []file
	for _, f := range all.File {
		if f.FileInfo().IsDir() {
			continue
		}
		data, err := fs.ReadFile(all, f.Name)
		if err != nil {
			return nil, fmt.Errorf("reading Go's time zones: %w", err)
		}
		files = append(files, file{name: path.Join("usr/share/zoneinfo", f.Name), mode: 0o644, data: data})
	}
	return files, nil
}

// writeTar writes files with their folders, all of one time.
func writeTar(w io.Writer, files []file, when time.Time) error {
	t := tar.NewWriter(w)
	made := map[string]bool{".": true}
	var folder func(name string, mode fs.FileMode, owner int) error
	folder = func(name string, mode fs.FileMode, owner int) error {
		if made[name] {
			return nil
		}
		if err := folder(path.Dir(name), 0o755, 0); err != nil {
			return err
		}
		made[name] = true
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(mode), Uid: owner, Gid: owner, ModTime: when, Format: tar.FormatPAX})
	}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.name, "/"); ok {
			if err := folder(name, f.mode, f.owner); err != nil {
				return err
			}
			continue
		}
		head := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: int64(f.mode), Uid: f.owner, Gid: f.owner, ModTime: when, Size: int64(len(f.data)), Format: tar.FormatPAX}
		if err := errors.Join(folder(path.Dir(f.name), 0o755, 0), t.WriteHeader(head)); err != nil {
			return err
		}
		if _, err := t.Write(f.data); err != nil {
			return err
		}
	}
	return t.Close()
}

// layer builds the one layer of an image.
func (s source) layer(ctx context.Context, p platform) ([]byte, error) {
	dir, err := os.MkdirTemp("", "vrproxy-image-")
	if err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	to := filepath.Join(dir, "vrproxy")
	if err := s.build(ctx, p, to); err != nil {
		return nil, err
	}
	binary, errB := os.ReadFile(to)
	license, errL := os.ReadFile(filepath.Join(s.root, "LICENSE"))
	if err := errors.Join(errB, errL); err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	files, err := rootfs(ctx, binary, license)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = writeTar(&b, files, s.when)
	return b.Bytes(), err
}

// image is the image for one platform.
func (s source) image(ctx context.Context, p platform) (v1.Image, error) {
	raw, err := s.layer(ctx, p)
	if err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
	layer, err := tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: s.when}, CreatedBy: "make image"}})
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	return mutate.ConfigFile(img, s.config(img, p))
}

func (s source) config(img v1.Image, p platform) *v1.ConfigFile {
	old, err := img.ConfigFile()
	if err != nil {
		return nil // the images that are made here have one
	}
	c := old.DeepCopy()
	c.OS, c.Architecture, c.Created = p.os, p.arch, v1.Time{Time: s.when}
	c.Config = v1.Config{
		User:         fmt.Sprintf("%[1]d:%[1]d", nobody), // as numbers: what Kubernetes can tell from root
		Entrypoint:   []string{"/usr/bin/vrproxy"},
		Cmd:          []string{"run", "-c", "/etc/vrproxy/vrproxy.yaml"},
		Env:          []string{"PATH=/usr/bin"},
		WorkingDir:   "/",
		StopSignal:   "SIGTERM",
		ExposedPorts: map[string]struct{}{"8200/tcp": {}},
		Labels:       s.labels(),
	}
	return c
}

// labels are those of the OCI image specification.
func (s source) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "vrproxy",
		"org.opencontainers.image.description": "A region-aware routing proxy for HashiCorp Vault",
		"org.opencontainers.image.source":      "https://github.com/vrproxy/vrproxy",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     s.version,
		"org.opencontainers.image.revision":    s.commit,
		"org.opencontainers.image.created":     s.when.Format(time.RFC3339),
	}
}

// index is the image for all platforms that containers run on.
func (s source) index(ctx context.Context) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := s.image(ctx, platform{"linux", arch})
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return index, nil
}

// imageArchive writes what `podman load`, `skopeo copy oci-archive:` and `ctr image import`
// take.
func (s source) imageArchive(ctx context.Context, to string, say io.Writer) error {
	index, err := s.index(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "vrproxy-oci-")
	if err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	if err := l.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": s.version})); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	files, err := readTree(dir)
	if err != nil {
		return err
	}
	if err := writeFile(to, 0o644, func(w io.Writer) error { return writeTar(w, files, s.when) }); err != nil {
		return err
	}
	sum, err := index.Digest()
	if err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	_, err = fmt.Fprintf(say, "%s: %s\n", to, sum)
	return err
}

// readTree reads all files of a folder, in order.
func readTree(dir string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, name)
		files = append(files, file{name: filepath.ToSlash(below), mode: 0o644, data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", dir, err)
	}
	return files, nil
}

// rootfsDir unpacks the image's content, for deploy/docker/Dockerfile.
func (s source) rootfsDir(ctx context.Context, dir string, p platform) error {
	raw, err := s.layer(ctx, p)
	if err != nil {
		return err
	}
	for t := tar.NewReader(bytes.NewReader(raw)); ; {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = unpack(t, head, dir)
		}
		if err != nil {
			return fmt.Errorf("unpacking into %s: %w", dir, err)
		}
	}
}

func unpack(r io.Reader, head *tar.Header, dir string) error {
	name := filepath.Join(dir, filepath.FromSlash(head.Name)) //nolint:gosec // the names are our own
	mode := fs.FileMode(head.Mode)                            //nolint:gosec // so are the modes
	if head.Typeflag == tar.TypeDir {
		return errors.Join(os.MkdirAll(name, mode), chown(name, head.Uid))
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, mode)
}

// chown does nothing for those who can't.
func chown(name string, owner int) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(name, owner, owner)
}

package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // how it is registered
)

// release makes everything of a release in one folder, and checksums over it.
func (s source) release(ctx context.Context, out string, say io.Writer) error {
	bin, err := os.MkdirTemp("", "vrproxy-release-")
	if err != nil {
		return fmt.Errorf("making a release: %w", err)
	}
	defer func() { _ = os.RemoveAll(bin) }()
	for _, p := range platforms() {
		name := p.os + "_" + p.arch
		binary := filepath.Join(bin, name)
		if err := s.build(ctx, p, binary); err != nil {
			return err
		}
		if err := s.ship(binary, p, out); err != nil {
			return err
		}
	}
	if err := s.imageArchive(ctx, filepath.Join(out, "vrproxy-"+s.version+".oci.tar"), say); err != nil {
		return err
	}
	return checksums(out)
}

// ship makes of one binary what is released of it.
func (s source) ship(binary string, p platform, out string) error {
	base := filepath.Join(out, fmt.Sprintf("vrproxy_%s_%s_%s", s.version, p.os, p.arch))
	files, err := s.archived(binary, p)
	if err != nil {
		return err
	}
	if p.os == "windows" {
		err = writeFile(base+".zip", 0o644, func(w io.Writer) error { return s.writeZip(w, files) })
	} else {
		err = writeFile(base+".tar.gz", 0o644, func(w io.Writer) error { return s.writeTarGz(w, files) })
	}
	if err != nil {
		return err
	}
	if err := writeFile(base+".cdx.json", 0o644, func(w io.Writer) error { return s.writeBOM(w, binary, p) }); err != nil {
		return err
	}
	if p.os != "linux" {
		return nil
	}
	name := filepath.Join(out, fmt.Sprintf("vrproxy_%s_%s.deb", debianVersion(s.version), p.arch))
	return writeFile(name, 0o644, func(w io.Writer) error { return s.writeDeb(w, binary, p) })
}

// archived is what an archive holds.
func (s source) archived(binary string, p platform) ([]file, error) {
	name := "vrproxy"
	if p.os == "windows" {
		name += ".exe"
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("making an archive: %w", err)
	}
	files := []file{{name: name, mode: 0o755, data: data}}
	examples, err := filepath.Glob(filepath.Join(s.root, "configs", "examples", "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("making an archive: %w", err)
	}
	for _, name := range append(examples, filepath.Join(s.root, "LICENSE"), filepath.Join(s.root, "README.md"), filepath.Join(s.root, "CHANGELOG.md")) {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("making an archive: %w", err)
		}
		to := filepath.Base(name)
		if strings.HasSuffix(to, ".yaml") {
			to = "examples/" + to
		}
		files = append(files, file{name: to, mode: 0o644, data: data})
	}
	return files, nil
}

func (s source) writeTarGz(w io.Writer, files []file) error {
	z := gzip.NewWriter(w)
	return errors.Join(writeTar(z, files, s.when), z.Close())
}

func (s source) writeZip(w io.Writer, files []file) error {
	z := zip.NewWriter(w)
	for _, f := range files {
		head := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: s.when}
		head.SetMode(f.mode)
		to, err := z.CreateHeader(head)
		if err == nil {
			_, err = to.Write(f.data)
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

// writeDeb makes the Debian package of deploy/debian/nfpm.yaml.
func (s source) writeDeb(w io.Writer, binary string, p platform) error {
	root, err := filepath.Abs(s.root)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "debian", "nfpm.yaml"))
	if err != nil {
		return err
	}
	binary, err = filepath.Abs(binary)
	if err != nil {
		return err
	}
	values := map[string]string{"ARCH": p.arch, "VERSION": debianVersion(s.version), "BINARY": binary, "ROOT": root}
	config, err := nfpm.ParseWithEnvMapping(strings.NewReader(os.Expand(string(text), func(name string) string { return values[name] })), func(string) string { return "" })
	if err != nil {
		return err
	}
	info, err := config.Get("deb")
	if err != nil {
		return err
	}
	info.MTime = s.when
	packager, err := nfpm.Get("deb")
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	return packager.Package(info, w)
}

var afterTag = regexp.MustCompile(`-([0-9]+)-g([0-9a-f]+)`)

// debianVersion is what git describe says in Debian's order: release candidates before
// the release, commits after it, and what has no tag before everything.
func debianVersion(version string) string {
	version, dirty := strings.CutSuffix(version, "-dirty")
	v := strings.TrimPrefix(version, "v")
	if v == "" || v[0] < '0' || v[0] > '9' || !strings.Contains(v, ".") {
		v = "0~" + version
	}
	v = afterTag.ReplaceAllString(v, "+$1.g$2")
	v = strings.Replace(v, "-", "~", 1)
	if dirty {
		v += "+dirty"
	}
	return strings.ReplaceAll(v, "-", ".")
}

const sums = "SHA256SUMS"

// checksums writes them over all files, as sha256sum -c reads them.
func checksums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("making checksums: %w", err)
	}
	var b bytes.Buffer
	for _, e := range entries {
		if e.Name() == sums || !slices.ContainsFunc([]string{".tar.gz", ".zip", ".deb", ".json", ".tar"}, func(end string) bool { return strings.HasSuffix(e.Name(), end) }) {
			continue
		}
		sum, err := digest(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, e.Name())
	}
	return writeFile(filepath.Join(dir, sums), 0o644, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err })
}

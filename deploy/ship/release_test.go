package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
)

func TestDebianVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "v1.2.3-rc.1": "1.2.3~rc.1", "v1.2.3-4-gabcdef0": "1.2.3+4.gabcdef0", "v1.2.3-rc.1-4-gabcdef0": "1.2.3~rc.1+4.gabcdef0",
		"v1.2.3-dirty": "1.2.3+dirty", "0abcdef": "0~0abcdef", "a62e32a-dirty": "0~a62e32a+dirty", "dev": "0~dev",
	} {
		if got := debianVersion(version); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}

// What is made of a binary is the same each time, and complete.
func TestShip(t *testing.T) {
	t.Parallel()
	binary := builtFor(t, here())
	first, second := t.TempDir(), t.TempDir()
	for _, dir := range []string{first, second} {
		for _, p := range []platform{here(), {"windows", "amd64"}, {"darwin", "arm64"}} { // the archives do not look into it
			if err := ours().ship(binary, p, dir); err != nil {
				t.Fatal(err)
			}
		}
		if err := checksums(dir); err != nil {
			t.Fatal(err)
		}
	}
	a, errA := os.ReadFile(filepath.Join(first, sums))
	b, errB := os.ReadFile(filepath.Join(second, sums))
	if !bytes.Equal(a, b) || errors.Join(errA, errB) != nil || bytes.Count(a, []byte("\n")) != 7 {
		t.Errorf("made twice:\n%s\n%s\n%v", a, b, errors.Join(errA, errB))
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "-c", sums)
	check.Dir = first
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	list := must(t, "tar", "-tzf", filepath.Join(first, "vrproxy_v1.2.3-4-gabcdef0_linux_"+here().arch+".tar.gz"))
	archive, err := zip.OpenReader(filepath.Join(first, "vrproxy_v1.2.3-4-gabcdef0_windows_amd64.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, name := range []string{"vrproxy", "LICENSE", "README.md", "CHANGELOG.md", "examples/vrproxy.yaml"} {
		if !strings.Contains(list, name+"\n") {
			t.Errorf("no %s in %s", name, list)
		}
		if name == "vrproxy" {
			name = "vrproxy.exe"
		}
		if f, err := archive.Open(name); err != nil {
			t.Errorf("zip: %s: %v", name, err)
		} else {
			_ = f.Close()
		}
	}
}

// The bill names what go version -m names, and nothing else.
func TestBillOfMaterials(t *testing.T) {
	t.Parallel()
	binary := builtFor(t, here())
	var b bytes.Buffer
	if err := ours().writeBOM(&b, binary, here()); err != nil {
		t.Fatal(err)
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(&b, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	deps := regexp.MustCompile(`(?m)^\tdep\t(\S+)\t(\S+)`).FindAllStringSubmatch(must(t, "go", "version", "-m", binary), -1)
	if len(*bom.Components) != len(deps)+1 || len(deps) < 20 || (*bom.Components)[0].Name != "std" {
		t.Errorf("%d components for %d modules", len(*bom.Components), len(deps))
	}
	for i, d := range deps {
		if c := (*bom.Components)[i+1]; c.Name != d[1] || c.Version != d[2] || !strings.HasPrefix(c.PackageURL, "pkg:golang/"+d[1]+"@") {
			t.Errorf("%+v, want %v", c, d)
		}
	}
	if bom.SpecVersion.String() == "" || !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(bom.SerialNumber) {
		t.Errorf("serial number %q", bom.SerialNumber)
	}
}

// The package, as it lies on a machine: its units, users and folders as systemd reads
// them, and its binary behind a socket.
func TestDebianPackage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := ours().ship(builtFor(t, here()), here(), dir); err != nil {
		t.Fatal(err)
	}
	deb, root := filepath.Join(dir, "vrproxy_1.2.3+4.gabcdef0_"+here().arch+".deb"), filepath.Join(dir, "root")
	dpkg := tool(t, "dpkg-deb", "dpkg")
	info := must(t, dpkg, "--info", deb)
	for _, want := range []string{"Package: vrproxy", "Version: 1.2.3+4.gabcdef0", "Architecture: " + here().arch, "conffiles", "postinst", "prerm", "postrm"} {
		if !strings.Contains(info, want) {
			t.Errorf("no %q in:\n%s", want, info)
		}
	}
	must(t, dpkg, "-x", deb, root)
	must(t, dpkg, "-e", deb, filepath.Join(dir, "control"))
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		must(t, "sh", "-n", filepath.Join(dir, "control", script))
	}
	if files, err := os.ReadFile(filepath.Join(dir, "control", "conffiles")); err != nil || strings.TrimSpace(string(files)) != "/etc/vrproxy/vrproxy.yaml" {
		t.Errorf("conffiles: %q, %v", files, err)
	}
	must(t, filepath.Join(root, "usr/bin/vrproxy"), "check", "-c", filepath.Join(root, "etc/vrproxy/vrproxy.yaml"))
	t.Run("units", func(t *testing.T) { hardened(t, root) })
	t.Run("users and folders", func(t *testing.T) { prepared(t, root) })
	t.Run("socket activation", func(t *testing.T) { activated(t, root) })
}

// hardened reads the units with systemd itself.
func hardened(t *testing.T, root string) {
	analyze := tool(t, "systemd-analyze", "systemd")
	units := filepath.Join(root, "usr/lib/systemd/system")
	// What other packages would bring.
	for _, name := range []string{"sysinit.target", "basic.target", "sockets.target", "network-online.target", "shutdown.target", "multi-user.target", "nss-lookup.target", "-.mount", "system.slice", "-.slice"} {
		if err := os.Symlink("/usr/lib/systemd/system/"+name, filepath.Join(units, name)); err != nil {
			t.Fatal(err)
		}
	}
	if said := must(t, analyze, "security", "--offline=true", "--threshold=15", "--no-pager", filepath.Join(units, "vrproxy.service")); !strings.Contains(said, "Overall exposure level") {
		t.Error(said)
	} else {
		t.Log(said[strings.Index(said, "→"):])
	}
	for _, unit := range []string{"vrproxy.service", "vrproxy.socket", "vrproxy-dns.socket"} {
		// The binary is looked for on this machine.
		text, err := os.ReadFile(filepath.Join(units, unit))
		if err != nil {
			t.Fatal(err)
		}
		moved := bytes.ReplaceAll(text, []byte("/usr/bin/vrproxy"), []byte(filepath.Join(root, "usr/bin/vrproxy")))
		if err := os.WriteFile(filepath.Join(units, unit), moved, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	verify := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", filepath.Join(units, "vrproxy.service"), filepath.Join(units, "vrproxy.socket"), filepath.Join(units, "vrproxy-dns.socket"))
	said, err := verify.CombinedOutput()
	if err != nil || strings.Contains(string(said), "vrproxy") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, said)
	}
}

func prepared(t *testing.T, root string) {
	asRoot(t)
	must(t, tool(t, "systemd-sysusers", "systemd"), "--root="+root, "vrproxy.conf")
	must(t, tool(t, "systemd-tmpfiles", "systemd"), "--root="+root, "--create", "vrproxy.conf")
	users, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil || !regexp.MustCompile(`(?m)^vrproxy:.*:/var/lib/vrproxy:`).Match(users) {
		t.Errorf("no user: %s, %v", users, err)
	}
	for name, mode := range map[string]os.FileMode{"etc/vrproxy/credentials": 0o700, "run/vrproxy": 0o755} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %o", name, info, err, mode)
		}
	}
}

// activated starts the package's binary behind a socket that systemd's own program made.
func activated(t *testing.T, root string) {
	activate := tool(t, "systemd-socket-activate", "systemd")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	config := filepath.Join(t.TempDir(), "vrproxy.yaml")
	text := clusters(newLab(t)) + "listeners: [{address: \"systemd:vault\"}]\nadmin: {address: \"127.0.0.1:0\"}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(activate, "--listen="+address, "--fdname=vault", filepath.Join(root, "usr/bin/vrproxy"), "run", "-c", config)
	// It starts the proxy when somebody connects.
	dialled := make(chan struct{})
	go func() {
		defer close(dialled)
		connect(t, address)
	}()
	said := startProxy(t, cmd)
	<-dialled
	if len(said.Listeners) != 1 || said.Listeners[0] != address {
		t.Errorf("it listens at %v, want %s", said.Listeners, address)
	}
	serves(t, address)
}

// connect tries until somebody listens.
func connect(t *testing.T, address string) {
	d := net.Dialer{Timeout: patience}
	for t.Context().Err() == nil {
		c, err := d.DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = c.Close()
			return
		}
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args  []string
		epoch int64
		want  string
	}{
		{[]string{"image"}, -1, "SOURCE_DATE_EPOCH"},
		{[]string{"everything"}, 1, "image, rootfs, release or prove"},
	} {
		epoch := ""
		if c.epoch > 0 {
			epoch = strconv.FormatInt(c.epoch, 10)
		}
		if err := run(t.Context(), append([]string{"-out", t.TempDir()}, c.args...), epoch, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}

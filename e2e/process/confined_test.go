//go:build linux

package process

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const nobody = 65534

// profile is what is shipped.
const profile = "../../deploy/seccomp/vrproxy.json"

// TestConfined: without root, capabilities or a writable file system, behind the seccomp
// profile, everything works; and its memory is closed to others.
func TestConfined(t *testing.T) {
	asRoot(t)
	l := newLab(t)
	root := emptyRoot(t)
	certificate(t, filepath.Join(root, "etc"))
	file := filepath.Join(root, "etc", "vrproxy.yaml")
	text := configuration(l, `
listeners:
  - address: "127.0.0.1:0"
  - address: "127.0.0.1:00"
    tls: {cert_file: server.pem, key_file: server.key}
  - {address: "unix:///run/vault.sock", mode: "0600", user: "65534", group: "65534"}
dns: {address: "127.0.0.1:0", forward: []}
identity:
  method: approle
  options: {role_id: demo, secret_id: demo}
  sinks: [{path: /run/token}]
sessions: {state_file: /run/state, state_key_file: key}
shutdown: {drain_timeout: 5s}
`)
	must(t, os.WriteFile(file, []byte(text), 0o644))
	abs, err := filepath.Abs(profile)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), binary("confine"), "-root", root, "-uid", strconv.Itoa(nobody), "-seccomp", abs, "/vrproxy", "run", "--watch", "-c", "/etc/vrproxy.yaml")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	p := start(t, cmd)
	pid := p.cmd.Process.Pid

	status := read(t, pid, "status")
	for _, line := range []string{"Uid:\t65534\t65534\t65534\t65534", "Groups:\t ", "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, line+"\n") {
			t.Errorf("/proc/PID/status does not say %q:\n%s", line, status)
		}
	}
	if mounts := read(t, pid, "mountinfo"); !regexp.MustCompile(`(?m)^\S+ \S+ \S+ \S+ / ro[, ]`).MatchString(mounts) {
		t.Errorf("the root is not read-only:\n%s", mounts)
	}
	checkLimits(t, pid)
	checkDumpable(t, pid)
	for _, warning := range []string{`"level":"error"`, "memory limit of the control group is not known"} {
		if strings.Contains(p.log(), warning) {
			t.Errorf("the log says %s", warning)
		}
	}

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted(t, root), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}, Timeout: patience}
	defer client.CloseIdleConnections()
	for _, base := range []string{"http://" + p.said.Listeners[0], "https://" + p.said.Listeners[1]} {
		want(t, client, http.MethodPost, base+"/v1/secret/data/confined", `{"data":{"a":"1"}}`, 200, "version")
		eventually(t, "the write is read", func() bool {
			status, body, err := ask(t.Context(), client, http.MethodGet, base+"/v1/secret/data/confined", "")
			return err == nil && status == 200 && strings.Contains(body, `"a":"1"`)
		})
		want(t, client, http.MethodGet, base+"/v1/secret/metadata?list=true", "", 200, "confined")
	}
	overSocket(t, pid)
	asksDNS(t, pid)
	admin := "http://" + p.said.Admin
	for path, text := range map[string]string{"/metrics": "process_open_fds", "/status": "eu-west", "/readiness": "", "/ui": "html"} {
		want(t, client, http.MethodGet, admin+path, "", 200, text)
	}
	for _, name := range []string{"token", "state"} {
		eventually(t, "/run/"+name+" is written", func() bool { _, err := os.Stat(inside(pid, "run", name)); return err == nil })
	}

	// A changed file, by inotify and by SIGHUP.
	must(t, os.WriteFile(file, []byte(text+"log: {level: debug}\n"), 0o644))
	eventually(t, "reloaded with --watch", func() bool { return p.says("configuration reloaded") != "" })
	must(t, p.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, "reloaded by SIGHUP", func() bool { return strings.Count(p.log(), `"msg":"configuration reloaded"`) == 2 })
	l.Cluster("eu-west").Kill()
	want(t, client, http.MethodGet, "http://"+p.said.Listeners[0]+"/v1/secret/data/hello", "", 200, "hello")
	p.end()
	if !strings.Contains(p.says("stopped"), `"requests_cut":0`) {
		t.Errorf("%s", p.says("stopped"))
	}
}

// TestTheProfileRefuses what a process that was taken over would try.
func TestTheProfileRefuses(t *testing.T) {
	asRoot(t) // or the kernel would refuse without it
	if out, err := exec.CommandContext(t.Context(), binary("confine"), "-seccomp", profile, "-probe").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), binary("confine"), "-probe").CombinedOutput(); err == nil {
		t.Errorf("the probe finds nothing without the profile: %s", out)
	}
}

// TestTheProfileIsOneThatRuntimesRead: what Docker, containerd and Kubernetes decode.
func TestTheProfileIsOneThatRuntimesRead(t *testing.T) {
	data, err := os.ReadFile(profile)
	must(t, err)
	var p struct {
		DefaultAction   string   `json:"defaultAction"`
		DefaultErrnoRet uint     `json:"defaultErrnoRet"`
		Architectures   []string `json:"architectures"`
		Syscalls        []struct {
			Names    []string `json:"names"`
			Action   string   `json:"action"`
			ErrnoRet *uint    `json:"errnoRet"`
			Comment  string   `json:"comment"`
			Args     []struct {
				Index    uint   `json:"index"`
				Value    uint64 `json:"value"`
				ValueTwo uint64 `json:"valueTwo"`
				Op       string `json:"op"`
			} `json:"args"`
		} `json:"syscalls"`
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	must(t, dec.Decode(&p))
	if p.DefaultAction != "SCMP_ACT_ERRNO" || p.DefaultErrnoRet != uint(syscall.EPERM) || len(p.Architectures) != 2 {
		t.Errorf("%+v", p)
	}
	seen := map[string]bool{}
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
	}
	for _, name := range []string{"mount", "ptrace", "process_vm_readv", "unshare", "setns", "bpf", "keyctl", "init_module", "io_uring_setup", "userfaultfd", "perf_event_open", "chroot", "pivot_root", "kill"} {
		if seen[name] {
			t.Errorf("%s is allowed", name)
		}
	}
}

// TestTheMemoryLimitOfTheControlGroup becomes that of Go's collector.
func TestTheMemoryLimitOfTheControlGroup(t *testing.T) {
	asRoot(t)
	const limit = 256 << 20
	group := memoryGroup(t, limit)
	file := filepath.Join(t.TempDir(), "vrproxy.yaml")
	must(t, os.WriteFile(file, []byte(configuration(newLab(t), "listeners: [{address: \"127.0.0.1:0\"}]")), 0o600))
	for env, want := range map[string]string{"": fmt.Sprint(limit / 10 * 9), "GOMEMLIMIT=100MiB": fmt.Sprint(100 << 20)} {
		cmd := exec.CommandContext(t.Context(), binary("confine"), "-cgroup", group, binary("vrproxy"), "run", "-c", file)
		if env != "" {
			cmd.Env = append(os.Environ(), env)
		}
		p := start(t, cmd)
		client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
		_, metrics, err := ask(t.Context(), client, http.MethodGet, "http://"+p.said.Admin+"/metrics", "")
		must(t, err)
		client.CloseIdleConnections()
		m := regexp.MustCompile(`(?m)^go_gc_gomemlimit_bytes (\S+)$`).FindStringSubmatch(metrics)
		if m == nil {
			t.Fatal("the metric is missing")
		}
		got, err := strconv.ParseFloat(m[1], 64)
		must(t, err)
		if wanted, _ := strconv.ParseFloat(want, 64); got < wanted-10 || got > wanted+10 {
			t.Errorf("%q: the limit is %.0f, want %s", env, got, want)
		}
		p.end()
	}
}

// memoryGroup makes a control group with a limit, of version 2 or 1, whichever is here.
func memoryGroup(t *testing.T, limit int) string {
	t.Helper()
	name := fmt.Sprintf("vrproxy-test-%d", os.Getpid())
	for base, file := range map[string]string{"/sys/fs/cgroup/" + name: "memory.max", "/sys/fs/cgroup/memory/" + name: "memory.limit_in_bytes"} {
		if os.Mkdir(base, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(base) })
		if _, err := os.Stat(filepath.Join(base, file)); err != nil {
			continue // a plain folder, or no memory controller
		}
		if os.WriteFile(filepath.Join(base, file), []byte(strconv.Itoa(limit)), 0o600) == nil {
			t.Log("control group:", base)
			return base
		}
	}
	t.Skip("no control group with a memory limit can be made here: /sys/fs/cgroup is read-only or has no memory controller")
	return ""
}

// emptyRoot is what a container image without a system has.
func emptyRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for dir := root; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755)) // testing makes them for its own user only
	}
	for _, dir := range []string{"etc", "proc", "run"} {
		must(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	data, err := os.ReadFile(binary("vrproxy"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "vrproxy"), data, 0o755))
	must(t, os.WriteFile(filepath.Join(root, "etc", "key"), []byte("0123456789abcdef0123456789abcdef"), 0o644))
	return root
}

// certificate writes server.pem and server.key, signed by itself.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vrproxy"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "server.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "server.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o644))
}

func trusted(t *testing.T, root string) *x509.CertPool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "etc", "server.pem"))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return pool
}

// checkLimits: no core file, and as many open files as may be.
func checkLimits(t *testing.T, pid int) {
	t.Helper()
	limits := read(t, pid, "limits")
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).MatchString(limits) {
		t.Errorf("core files are possible:\n%s", limits)
	}
	m := regexp.MustCompile(`(?m)^Max open files +(\d+) +(\d+) `).FindStringSubmatch(limits)
	if m == nil || m[1] != m[2] {
		t.Errorf("the limit of open files is not raised:\n%s", limits)
	}
}

// checkDumpable: what is not dumpable belongs to root in /proc, and another process of
// the same user can't look into it.
func checkDumpable(t *testing.T, pid int) {
	t.Helper()
	info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "mem"))
	must(t, err)
	if s, _ := info.Sys().(*syscall.Stat_t); s.Uid != 0 {
		t.Errorf("/proc/PID/mem belongs to %d: the process is dumpable", s.Uid)
	}
	for _, name := range []string{"environ", "mem", "maps"} {
		cmd := exec.CommandContext(t.Context(), binary("confine"), "-uid", strconv.Itoa(nobody), "/bin/cat", filepath.Join("/proc", strconv.Itoa(pid), name))
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
			t.Errorf("another process of the user reads /proc/PID/%s: %v %.100s", name, err, out)
		}
	}
}

// inside is a path as the process sees it.
func inside(pid int, name ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(pid), "root"}, name...)...)
}

func overSocket(t *testing.T, pid int) {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", inside(pid, "run", "vault.sock"))
	}}
	defer tr.CloseIdleConnections()
	want(t, &http.Client{Transport: tr, Timeout: patience}, http.MethodGet, "http://vault/v1/secret/data/hello", "", 200, "hello")
}

// asksDNS finds the DNS server's port in what the process has open.
func asksDNS(t *testing.T, pid int) {
	t.Helper()
	q := new(dns.Msg).SetQuestion("primary.vault.internal.", dns.TypeA)
	for _, line := range strings.Split(read(t, pid, "net/udp"), "\n") {
		f := strings.Fields(line)
		if len(f) < 10 || !strings.HasPrefix(f[1], "0100007F:") || f[7] != strconv.Itoa(nobody) {
			continue
		}
		port, err := strconv.ParseUint(f[1][9:], 16, 16)
		must(t, err)
		answer, _, err := new(dns.Client).ExchangeContext(t.Context(), q, fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil || len(answer.Answer) == 0 {
			t.Errorf("%v %v", answer, err)
		}
		return
	}
	t.Error("no UDP socket on loopback is the process's")
}

func read(t *testing.T, pid int, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	must(t, err)
	return string(data)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

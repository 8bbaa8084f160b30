package dns

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// resolved runs systemd-resolved with the file of docs/dns.md. It wants a user of its
// own, whom only this mount namespace knows, and does without the system bus. It listens
// on 127.0.0.53 only, so a relay in its place is where the client asks.
func resolved(t *testing.T) string {
	dir := t.TempDir()
	for file, line := range map[string]string{
		"/etc/passwd": "systemd-resolve:x:64997:64997::/:/usr/sbin/nologin\n",
		"/etc/group":  "systemd-resolve:x:64997:\n",
	} {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		over := filepath.Join(dir, filepath.Base(file))
		write(t, over, string(raw)+line)
		shell(t, "mount --bind "+over+" "+file)
		t.Cleanup(func() { shell(t, "umount "+file) })
	}
	shell(t, "mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && mkdir -p /run/systemd/resolve && chown 64997:64997 /run/systemd/resolve")
	t.Cleanup(func() { shell(t, "umount /run/systemd") })
	write(t, "/run/systemd/resolved.conf.d/vrproxy.conf", example(t, "systemd-resolved"))
	write(t, "/run/systemd/resolved.conf.d/test.conf", "[Resolve]\nDNSStubListenerExtra="+frontAddress+"\nFallbackDNS="+upstreamAddress+"\n")
	background(t, os.Getenv(envResolved))
	return nameserver(frontAddress)
}

func shell(t *testing.T, script string) {
	t.Helper()
	if said, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, said)
	}
}

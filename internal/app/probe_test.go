package app

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, what := range []string{"", "startup", "readiness", "liveness"} {
		if code, out, errs := pipe(t, "", strings.Fields("probe --admin "+w.app.AdminAddress()+" "+what)...); code != 0 || out+errs != "" {
			t.Errorf("probe %s: exit %d: %s%s", what, code, out, errs)
		}
	}
	for _, c := range w.lab.Clusters() {
		c.Kill()
	}
	eventually(t, "not ready, with the reason", func() bool {
		code, _, errs := pipe(t, "", "probe", "--admin", w.app.AdminAddress())
		return code == 1 && strings.Contains(errs, "answered 503: no cluster")
	})
	if code, _, errs := pipe(t, "", "probe", "--admin", "127.0.0.1:1"); code != 1 || !strings.Contains(errs, "no running proxy answers") {
		t.Errorf("nobody there: exit %d: %s", code, errs)
	}
	if code, _, errs := pipe(t, "", "probe", "health"); code != 2 || !strings.Contains(errs, `invalid argument "health"`) {
		t.Errorf("unknown probe: exit %d: %s", code, errs)
	}
}

// In a pod the admin listener is open to Prometheus, so it asks for client certificates;
// the pod's own probes have the listener's.
func TestProbeOfAnAdminListenerForClientCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("admin", 2)
	block := fmt.Sprintf("tls: {cert_file: %[1]s/admin.pem, key_file: %[1]s/admin.key, client_ca_file: %[1]s/ca.pem}", a.dir)
	w := newWorld(t, `admin: {address: "127.0.0.1:0", `+block+"}")
	_, port, err := net.SplitHostPort(w.app.AdminAddress())
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, w.yaml(`admin: {address: "0.0.0.0:`+port+`", `+block+"}"))
	for _, args := range [][]string{{"probe", "-c", file}, {"status", "-c", file}} {
		if code, _, errs := pipe(t, "", args...); code != 0 {
			t.Errorf("%v: exit %d: %s", args, code, errs)
		}
	}
}

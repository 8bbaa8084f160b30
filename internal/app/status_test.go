package app

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/admin"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	w.want(w.do("GET", "database/creds/readonly", ""), 200, "eu-west")
	w.lab.Cluster("us-west").Seal()
	w.state("us-west", health.StateDown)
	code, out, errs := pipe(t, "", "status", "--admin", w.app.AdminAddress())
	for _, want := range []string{"region eu-west   primary us-east   sessions 1", "CLUSTER", "us-west: sealed", "-  us-east-dr", "dr"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in:\n%s%s", code, want, out, errs)
		}
	}
	for line := range strings.Lines(out) {
		if len(line) > 81 || strings.Contains(line, "\x1b") {
			t.Errorf("wider than 80 columns, or coloured: %q", line)
		}
	}
	_, out, _ = pipe(t, "", "status", "--admin", w.app.AdminAddress(), "-o", "json")
	var s admin.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Clusters) != 4 || s.Primary != "us-east" {
		t.Errorf("%v: %s", err, out)
	}
	file := write(t, w.yaml("")) // its admin address is any free port: nobody is there
	if code, _, errs := pipe(t, "", "status", "-c", file); code != 1 || !strings.Contains(errs, "no running proxy answers") {
		t.Errorf("exit %d: %s", code, errs)
	}
	for args, want := range map[string]string{"status -o xml": "want text or json", "status --every 0s": "above 0", "status now": "unknown command"} {
		if code, _, errs := pipe(t, "", strings.Fields(args)...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s", args, code, errs)
		}
	}
}

func TestStatusWatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	c := start(map[string]string{"VRPROXY_ADMIN_ADDR": w.app.AdminAddress()}, "status", "--watch", "--every", "20ms")
	eventually(t, "shown three times", func() bool { return strings.Count(c.out.String(), "region eu-west") >= 3 })
	c.signals <- syscall.SIGINT
	if code := <-c.exit; code != 0 {
		t.Errorf("exit %d: %s", code, c.errs.String())
	}
}

func TestStatusColours(t *testing.T) {
	t.Parallel()
	s := admin.Status{SplitBrain: true, Claimants: []string{"a", "b"}, Clusters: []admin.ClusterStatus{{Name: "a", Region: "r", Role: health.RolePrimary, State: health.StateHealthy}}}
	if text := statusText(s, true); !strings.Contains(text, "\x1b[32mhealthy\x1b[0m") || !strings.Contains(text, "SPLIT BRAIN\x1b[0m of a and b") {
		t.Errorf("%q", text)
	}
}

// TestStatusFits: names and reasons may be longer than a terminal is wide.
func TestStatusFits(t *testing.T) {
	t.Parallel()
	long, ms := strings.Repeat("eu-west-production-", 3)+"1", 12345.6
	s := admin.Status{
		Region: "eu-west", Primary: "us", Reads: admin.Target{Cluster: "us", Reason: strings.Repeat("why ", 40), Since: time.Now()},
		LastFailover: &admin.Event{Time: time.Now().Add(-48 * time.Hour), From: long, To: "us", Reason: strings.Repeat("because ", 30)},
		Clusters: []admin.ClusterStatus{{
			Name: long, Region: long, Role: health.RoleStandalone, State: health.StateDegraded, Reason: strings.Repeat("reason ", 40),
			RTTms: &ms, LagMs: &ms, Order: 1, Tokens: 10000, Leases: 10000,
		}},
	}
	text := statusText(s, false)
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	for _, want := range []string{"degraded", "10000", "reads to  us since ", "writes to nowhere", "last failover "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

package health

import (
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/replication"
)

const secondaryBody = `{"initialized":true,"sealed":false,"standby":false,"performance_standby":false,
	"replication_performance_mode":"secondary","replication_dr_mode":"primary","server_time_utc":1763000000,"version":"1.21.1+ent",
	"enterprise":true,"cluster_name":"vault-cluster-eu","cluster_id":"7f3a4470-7e12-7807-51bd-fbb2b9c2ab51","last_wal":123,
	"license":{"state":"autoloaded","expiry_time":"2099-01-01T00:00:00Z","terminated":false},
	"echo_duration_ms":1,"clock_skew_ms":0,"replication_primary_canary_age_ms":1500}`

func TestDecodeReport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		role       Role
		refusal    string
		replicates bool
	}{
		{"a performance secondary with a DR copy", secondaryBody, RoleSecondary, "", true},
		{"a primary", strings.Replace(secondaryBody, `"secondary"`, `"primary"`, 1), RolePrimary, "", true},
		{"a DR secondary, whatever it says of performance", strings.Replace(secondaryBody, `"replication_dr_mode":"primary"`, `"replication_dr_mode":"secondary"`, 1), RoleDR, "", true},
		{"community", `{"initialized":true,"sealed":false,"standby":false,"performance_standby":false,"replication_performance_mode":"disabled","replication_dr_mode":"disabled","server_time_utc":1,"version":"1.21.1","enterprise":false,"cluster_name":"c","cluster_id":"i","echo_duration_ms":0,"clock_skew_ms":0,"replication_primary_canary_age_ms":0}`, RoleStandalone, "", false},
		{"openbao", `{"initialized":true,"sealed":false,"standby":true,"server_time_utc":1,"version":"2.6.2","cluster_name":"c","cluster_id":"i"}`, RoleStandalone, "", false},
		{"only a DR copy", `{"initialized":true,"sealed":false,"replication_performance_mode":"disabled","replication_dr_mode":"primary"}`, RoleStandalone, "", true},
		{"sealed knows nothing of its role", `{"initialized":true,"sealed":true,"standby":true,"replication_performance_mode":"unknown","replication_dr_mode":"unknown"}`, RoleUnknown, "sealed", false},
		{"bootstrapping", `{"initialized":true,"sealed":false,"replication_performance_mode":"bootstrapping","replication_dr_mode":"disabled"}`, RoleUnknown, "", false},
		{"uninitialised", `{"initialized":false,"sealed":true,"standby":true}`, RoleStandalone, "not initialized", false},
		{"removed", `{"initialized":true,"sealed":true,"removed_from_cluster":true,"replication_performance_mode":"unknown"}`, RoleUnknown, "removed from its cluster", false},
		{"standby alone", `{"initialized":true,"standby":true,"ha_connection_healthy":false,"replication_performance_mode":"unknown"}`, RoleUnknown, "standby without a connection to its active node", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := DecodeReport([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if r.role() != c.role || r.refusal() != c.refusal || r.replicates() != c.replicates {
				t.Errorf("%s, refusal %q, replicates %v; want %s, %q, %v", r.role(), r.refusal(), r.replicates(), c.role, c.refusal, c.replicates)
			}
		})
	}
}

func TestReportKeepsWhatTheTopologyShows(t *testing.T) {
	t.Parallel()
	r, err := DecodeReport([]byte(secondaryBody))
	if err != nil {
		t.Fatal(err)
	}
	n := nodeState{up: true, report: r, status: replication.Status{Performance: replication.Mode{Mode: "secondary", ClusterID: "set", ConnectionState: "ready"}}}
	var c Cluster
	c.describe(n)
	if c.Role != RoleSecondary || c.ClusterID != "7f3a4470-7e12-7807-51bd-fbb2b9c2ab51" || c.SetID != "set" || !c.Linked || c.Lag != 1500*time.Millisecond {
		t.Errorf("described as %+v", c)
	}
	r.CanaryAgeMS = nil // a version that tells it in the replication status only
	n.report, n.status.Performance.Primaries = r, []replication.Peer{{CanaryAgeMS: replication.Number{Value: 20, Known: true}}}
	c.describe(n)
	if c.Lag != 20*time.Millisecond {
		t.Errorf("lag %v, want 20ms", c.Lag)
	}
	n.status.Performance.Primaries = nil
	if c.describe(n); c.Lag >= 0 {
		t.Errorf("lag %v, want unknown", c.Lag)
	}
}

func TestWhatIsNoHealthAnswerIsAnError(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `<html>`, `[]`, `{}`, `{"errors":["rate limited"]}`, `{"initialized":"yes"}`} {
		if r, err := DecodeReport([]byte(body)); err == nil {
			t.Errorf("%q was taken for %+v", body, r)
		}
	}
}

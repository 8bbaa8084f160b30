package admin

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/replication"
)

func TestReplicationFacts(t *testing.T) {
	t.Parallel()
	s := start(t)
	shown := &health.Topology{Clusters: []health.Cluster{
		{Name: "a", Lag: -1, Replication: replication.Status{
			Performance: replication.Mode{Mode: "primary", LastPerformanceWAL: replication.Number{Value: 9, Known: true}, KnownSecondaries: []string{"b", "c"},
				Secondaries: []replication.Peer{{NodeID: "b", ConnectionStatus: "connected"}, {NodeID: "c", ConnectionStatus: "disconnected"}}},
			DR: replication.Mode{Mode: "disabled"},
		}},
		{Name: "b", Lag: -1, Replication: replication.Status{
			Performance: replication.Mode{Mode: "secondary", State: "stream-wals", ConnectionState: "ready", LastRemoteWAL: replication.Number{Value: 8, Known: true}},
			DR:          replication.Mode{Mode: "secondary", State: "idle"},
		}},
	}}
	s.topology.Store(shown)
	_, body := s.do(t, "GET", "/metrics")
	for _, line := range []string{
		`vrproxy_replication_mode{cluster="a",kind="performance",mode="primary"} 1`,
		`vrproxy_replication_secondaries{cluster="a",connected="true",kind="performance"} 1`,
		`vrproxy_replication_secondaries{cluster="a",connected="false",kind="performance"} 1`,
		`vrproxy_replication_wal{cluster="a",kind="performance"} 9`,
		`vrproxy_replication_wal{cluster="b",kind="performance"} 8`,
		`vrproxy_replication_streaming{cluster="b",kind="performance"} 1`,
		`vrproxy_replication_streaming{cluster="b",kind="dr"} 0`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	_, body = s.do(t, "GET", "/status")
	if !strings.Contains(body, `"performance":{"mode":"primary","state":"","connection":"","last_wal":9,"secondaries":["b","c"],"connected":1}`) {
		t.Error(body)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := start(t)
	resp, body := s.do(t, "GET", "/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/openmetrics-text") {
		t.Errorf("content type %s", ct)
	}
	for _, line := range []string{
		`vrproxy_cluster_up{cluster="us-east"} 1.0`,
		`vrproxy_cluster_up{cluster="eu-west"} 1.0`,
		`vrproxy_cluster_up{cluster="us-east-dr"} 0.0`,
		`vrproxy_cluster_role{cluster="us-east",role="primary"} 1.0`,
		`vrproxy_cluster_role{cluster="us-east",role="secondary"} 0.0`,
		`vrproxy_cluster_rtt_seconds{cluster="us-east"} 0.08`,
		`vrproxy_cluster_lag_seconds{cluster="us-east-dr"} 1.0`,
		`vrproxy_split_brain 0.0`,
		`vrproxy_sessions 7.0`,
		`vrproxy_tokens{cluster="us-east"} 7.0`,
		`vrproxy_leases{cluster="us-east"} 14.0`,
		fmt.Sprintf(`vrproxy_build_info{commit="c",goversion=%q,version="v1"} 1.0`, runtime.Version()),
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	for _, unknown := range []string{`lag_seconds{cluster="eu-west"}`, `rtt_seconds{cluster="us-east-dr"}`} {
		if strings.Contains(body, unknown) {
			t.Errorf("%s is unknown and must be absent", unknown)
		}
	}
	s.topology.Store(nil)
	if resp, body := s.do(t, "GET", "/metrics"); resp.StatusCode != 200 || !strings.Contains(body, "vrproxy_build_info") {
		t.Errorf("without a topology: %d", resp.StatusCode)
	}
}

package admin

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

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

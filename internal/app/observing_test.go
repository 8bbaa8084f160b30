//go:build unix

package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/admin"
)

// decided is one decision of the flight recorder.
type decided struct {
	ID      string `json:"request_id"`
	Mount   string `json:"mount"`
	Cluster string `json:"cluster"`
	Code    string `json:"code"`
	Why     string `json:"why"`
	Tried   []struct{ Cluster, Verdict string }
}

// decision waits until the recorder has a request with an id.
func (w *world) decision(id string) decided {
	w.tb.Helper()
	var found decided
	eventually(w.tb, "decision "+id, func() bool {
		for dec := json.NewDecoder(strings.NewReader(w.ask("/debug/decisions"))); dec.More(); {
			if err := dec.Decode(&found); err != nil {
				w.tb.Fatal(err)
			}
			if found.ID == id {
				return true
			}
		}
		return false
	})
	return found
}

// TestWhatHappenedAtTheLastFailover: a person can tell afterwards which cluster serves
// reads, why, since when, and what each request did.
func TestWhatHappenedAtTheLastFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "health: {interval: 30s, timeout: 1s}\nrouting: {failover: [us-east, us-west]}") // nobody notices but the request
	w.login()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west") // its mount is known from now on
	w.lab.Cluster("eu-west").Kill()
	w.want(w.do("GET", "secret/data/hello", "", "X-Request-Id", "the-failover"), 200, "us-east")
	d := w.decision("the-failover")
	if d.Mount != "secret/" || d.Cluster != "us-east" || d.Why != "connection refused" || fmt.Sprint(d.Tried) != "[{eu-west next} {us-east done}]" {
		t.Errorf("%+v", d)
	}
	var s admin.Status
	eventually(t, "reads moved", func() bool {
		if err := json.Unmarshal([]byte(w.ask("/status")), &s); err != nil {
			t.Fatal(err)
		}
		return s.Reads.Cluster == "us-east" && s.LastFailover != nil
	})
	if s.Reads.Since.IsZero() || !strings.Contains(s.Reads.Reason, "eu-west is d") || !strings.Contains(s.Reads.Reason, "routing.failover") || s.LastFailover.From != "eu-west" || s.LastFailover.To != "us-east" || s.Writes.Cluster != "us-east" {
		t.Errorf("reads %+v, writes %+v, last failover %+v", s.Reads, s.Writes, s.LastFailover)
	}
	for _, c := range s.Clusters {
		if c.Name == "us-east" && c.Requests["nearest"] == 0 {
			t.Errorf("no requests are counted: %+v", c)
		}
	}
	_, out, _ := pipe(t, "", "status", "--admin", w.app.AdminAddress())
	for _, want := range []string{"reads to  us-east since ", "writes to us-east since ", "last failover "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if dump := w.ask("/debug/decisions"); strings.Contains(dump, w.token) || strings.Contains(dump, "hello") {
		t.Errorf("a token or a path in the decisions: %s", dump)
	}
}

func TestMountsAreShownWithTheirClasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.want(w.do("GET", "secret/data/hello", ""), 200, "")
	if all := w.ask("/mounts"); !strings.Contains(all, `{"namespace":"","path":"secret/","type":"kv-v2","local":false,"reads":["nearest"],"writes":[`) {
		t.Errorf("%s", all)
	}
}

// TestSignalDumpsDecisions runs the command, because signals are its business.
func TestSignalDumpsDecisions(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	c := start(nil, "dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dns", "", "--lab-port", "0", "--latency=false")
	eventually(t, "ready", func() bool { return strings.Contains(c.out.String(), "Watch:") })
	c.signals <- syscall.SIGUSR1
	eventually(t, "told where", func() bool { return strings.Contains(c.errs.String(), "decisions written") })
	files, err := filepath.Glob(filepath.Join(dir, "vrproxy-decisions-*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	c.signals <- syscall.SIGTERM
	if code := <-c.exit; code != 0 {
		t.Errorf("exit %d: %s", code, c.errs.String())
	}
}

// TestTracing is the whole way: a request that fails over is one trace at the collector.
func TestTracing(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	spans := map[string]string{} // name to trace
	collect := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(raw, &req); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, s := range req.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans() {
			spans[s.GetName()] = fmt.Sprintf("%x", s.GetTraceId())
		}
	}))
	defer collect.Close()
	w := newWorld(t, "health: {interval: 30s, timeout: 1s}\nrouting: {failover: [us-east, us-west]}\ntracing: {endpoint: "+collect.URL+", sample: 0}")
	w.login()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west") // its mount is known from now on
	w.lab.Cluster("eu-west").Kill()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	w.want(w.do("GET", "secret/data/hello", "", "Traceparent", "00-"+trace+"-b7ad6b7169203331-01"), 200, "us-east")
	w.stop() // sends what is left
	for _, name := range []string{"attempt eu-west", "attempt us-east", "GET kv-v2"} {
		if spans[name] != trace {
			t.Errorf("no span %q of the client's trace: %v", name, spans)
		}
	}
	if len(spans) != 3 {
		t.Errorf("spans of what the client did not trace: %v", spans)
	}
	if !strings.Contains(w.logs.String(), `"trace_id":"`+trace+`"`) {
		t.Error("no log line has the trace")
	}
}

// TestMetricsDoNotGrowWithSessions: what clients bring must not make series.
func TestMetricsDoNotGrowWithSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sessions: {prewarm: false}")
	w.want(w.do("GET", "secret/data/hello", ""), 200, "")
	w.login()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "")
	before := w.series()
	for i := range 1000 {
		w.login()
		w.do("GET", fmt.Sprintf("secret/data/app-%d", i), "", "X-Request-Id", fmt.Sprintf("id-%d", i), "X-Vault-Namespace", "")
	}
	eventually(t, "1000 sessions", func() bool { return w.app.shared.tokens.Sessions() >= 1000 })
	after := w.series()
	t.Logf("series: %d with one session, %d with 1000", before, after)
	if after > before+40 { // a few codes and classes that were not seen before, histograms included
		t.Errorf("series grew from %d to %d", before, after)
	}
}

// series counts all time series of the registry, as a scrape would see them.
func (w *world) series() int {
	w.tb.Helper()
	families, err := w.app.registry.Gather()
	if err != nil {
		w.tb.Fatal(err)
	}
	n := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch {
			case m.GetHistogram() != nil:
				n += len(m.GetHistogram().GetBucket()) + 3
			case m.GetSummary() != nil:
				n += len(m.GetSummary().GetQuantile()) + 2
			default:
				n++
			}
		}
	}
	return n
}

// TestPromisedMetrics: the contract's names are there once each thing has happened.
func TestPromisedMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "")
	w.lab.Cluster("us-west").Seal()
	w.state("us-west", health.StateDown)
	all := []byte(w.ask("/metrics"))
	for _, name := range []string{
		"requests_total{", "request_duration_seconds_bucket{", "upstream_attempts_total{", `cluster_up{cluster="us-west"} 0`, "cluster_role{", "cluster_rtt_seconds{",
		"cluster_lag_seconds{", `cluster_stale{cluster="eu-west"} 0`, "sessions 1", "tokens{", "leases{", "split_brain 0", "build_info{",
	} {
		if !bytes.Contains(all, []byte("\nvrproxy_"+name)) {
			t.Errorf("vrproxy_%s is missing", name)
		}
	}
}

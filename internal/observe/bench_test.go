//go:build unix

package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/consistency"
	"github.com/vrproxy/vrproxy/internal/http1"
	"github.com/vrproxy/vrproxy/proxy"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// near is everything around a proxy, in memory: one cluster with one mount, which
// answers at once.
type near struct {
	topology *health.Topology
	table    *routing.Table
}

func (n near) Topology() *health.Topology { return n.topology }
func (near) Changed() <-chan struct{}     { return nil }
func (near) Failed(string, string, error) {}
func (near) Succeeded(string, string)     {}

func (n near) Table() *routing.Table                                    { return n.table }
func (near) Learn(context.Context, string, string, string, string) bool { return false }
func (near) Forget(string)                                              {}
func (near) Refresh(string, string, string)                             {}

func (near) Client(string) (*api.Client, error) { return nil, errors.New("nothing to ask") }

func (near) Send(context.Context, string, *http1.Call, bool) (*http.Response, bool, error) {
	const body = `{"data":{"data":{"a":"b"}}}`
	return &http.Response{
		StatusCode: http.StatusOK, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Content-Type": {"application/json"}},
	}, true, nil
}

func inMemory(tb testing.TB, o proxy.Observer) http.Handler {
	tb.Helper()
	return inMemoryWith(tb, o, 0)
}

// tokenOf is the token of one of the sessions that inMemoryWith makes.
func tokenOf(session int) string { return fmt.Sprintf("hvs.CAESIJ%080d", session) }

// inMemoryWith is a proxy that knows so many sessions.
func inMemoryWith(tb testing.TB, o proxy.Observer, sessions int) http.Handler {
	tb.Helper()
	n := near{
		&health.Topology{Region: "r", Primary: "one", Clusters: []health.Cluster{{
			Name: "one", Region: "r", Role: health.RolePrimary, State: health.StateHealthy,
			Nodes: []health.Node{{Address: "http://one", State: health.StateHealthy, Serves: true, Active: true}},
		}}},
		(&routing.Table{}).With("", []routing.Mount{{Path: "secret/", Type: "kv-v2"}}),
	}
	tokens, err := tokencache.New(tokencache.Config{Vault: n, Replay: true})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range sessions {
		tokens.Adopt(tokencache.Login{Home: "one", Body: []byte("{}"), Auth: &api.SecretAuth{ClientToken: tokenOf(i), LeaseDuration: 3600}})
	}
	memories, err := consistency.New(consistency.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return proxy.New(proxy.Config{
		Health: n, Mounts: n, Upstream: n, Router: routing.New(nil), Planner: routing.NewPlanner(routing.Preferences{}),
		Tokens: tokens, Metrics: proxy.NewMetrics(prometheus.NewRegistry()), Observer: o, Memories: memories,
	}).Handler(proxy.Policy{Lend: proxy.LendNever})
}

// nowhere takes an answer.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header        { return n.h }
func (nowhere) Write(p []byte) (int, error)  { return len(p), nil }
func (nowhere) WriteHeader(int)              {}
func read(h http.Handler, req *http.Request) { h.ServeHTTP(nowhere{http.Header{}}, req) }
func plainRead() *http.Request {
	req := httptest.NewRequest(http.MethodGet, "/v1/secret/data/app", nil)
	req.Header.Set("X-Request-Id", "b7ad6b71-69203331")
	return req
}

func logging(level zapcore.Level) *zap.Logger {
	enc := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	return zap.New(zapcore.NewCore(enc, zapcore.AddSync(io.Discard), level))
}

// TestAWatchedRequestAllocatesNoMore than one that nobody watches.
func TestAWatchedRequestAllocatesNoMore(t *testing.T) {
	count := func(o proxy.Observer) float64 {
		h, req := inMemory(t, o), plainRead()
		return testing.AllocsPerRun(2000, func() { read(h, req) })
	}
	without, with := count(nil), count(New(logging(zap.InfoLevel), nil))
	if raced {
		t.Log("not compared: under the race detector, pools forget at random; make test counts without it, too")
	} else if with > without {
		t.Errorf("%v allocations watched, %v not", with, without)
	}
	t.Logf("%v allocations a request in memory, watched or not", without)
}

// BenchmarkRequest is one read through the proxy, without any network.
func BenchmarkRequest(b *testing.B) {
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer collector.Close()
	traced := func(sample float64) *Observer {
		traces, err := NewTraces(b.Context(), TraceConfig{Endpoint: collector.URL, Sample: sample, Logger: zap.NewNop()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = traces.Close(context.Background()) })
		return New(logging(zap.InfoLevel), traces)
	}
	for _, c := range []struct {
		name     string
		o        proxy.Observer
		sessions int
	}{
		{"unwatched", nil, 0},
		{"watched", New(logging(zap.InfoLevel), nil), 0},
		{"session", New(logging(zap.InfoLevel), nil), 1000},
		{"debug-lines", New(logging(zap.DebugLevel), nil), 0},
		{"traced-1-percent", traced(0.01), 0},
		{"traced-all", traced(1), 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			h, req := inMemoryWith(b, c.o, c.sessions), plainRead()
			if c.sessions > 0 {
				req.Header.Set("X-Vault-Token", tokenOf(c.sessions/2))
			}
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				read(h, req)
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu is what the process has used so far: unlike the clock, it does not count what others
// on the machine do.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFlight is what the flight recorder alone costs.
func BenchmarkFlight(b *testing.B) {
	f, r := NewFlight(Decisions), numbered(1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f.add(r)
		}
	})
}

// BenchmarkDump is a dump of all decisions.
func BenchmarkDump(b *testing.B) {
	f := NewFlight(Decisions)
	for n := range uint64(Decisions) {
		f.add(numbered(n))
	}
	for b.Loop() {
		if err := f.Dump(io.Discard, 0); err != nil {
			b.Fatal(err)
		}
	}
}

package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/vrproxy/vrproxy/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a set with the proxy in eu-west.
func world(change ...func(*health.Topology)) *health.Topology {
	t := &health.Topology{
		Generation: 3, Region: "eu-west", Primary: "us-east",
		Clusters: []health.Cluster{
			{
				Name: "us-east", Region: "us-east", Role: health.RolePrimary, State: health.StateHealthy,
				RTT: 80 * time.Millisecond, ClusterID: "id-1",
				Nodes: []health.Node{{Address: "https://10.0.0.1:8200", State: health.StateHealthy, Active: true, RTT: 80 * time.Millisecond}},
			},
			{
				Name: "eu-west", Region: "eu-west", Role: health.RoleSecondary, Order: 1, State: health.StateDegraded,
				Reason: "no node is ideal", RTT: 1500 * time.Microsecond, Lag: -1,
			},
			{Name: "us-east-dr", Region: "us-west", DROf: "us-east", Role: health.RoleDR, Order: 2, State: health.StateDown, Lag: time.Second},
		},
	}
	for _, f := range change {
		f(t)
	}
	return t
}

type fixedCounts struct{}

func (fixedCounts) Tokens(cluster string) int { return len(cluster) }
func (fixedCounts) Leases(cluster string) int { return 2 * len(cluster) }
func (fixedCounts) Sessions() int             { return 7 }

// journal remembers what was done to clusters; it is a Drainer and a Lab.
type journal struct {
	mu   sync.Mutex
	done []string
	err  error
}

func (j *journal) note(what string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	j.done = append(j.done, what)
	return nil
}

func (j *journal) Drain(c string) error      { return j.note("drain " + c) }
func (j *journal) Undrain(c string) error    { return j.note("undrain " + c) }
func (j *journal) Do(c, action string) error { return j.note(action + " " + c) }
func (j *journal) Actions() []string         { return []string{"kill", "restart"} }

func (j *journal) all() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.done, ", ")
}

// running is a server on loopback with everything switched on.
type running struct {
	*Server
	journal  *journal
	topology atomic.Pointer[health.Topology]
	ready    atomic.Pointer[error]
	quits    atomic.Int64
	client   *http.Client
	stop     func() // ends Run and waits for it; harmless twice
}

func start(t *testing.T, adjust ...func(*Config)) *running {
	t.Helper()
	r := &running{journal: &journal{}, client: &http.Client{Transport: &http.Transport{}}}
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.topology.Store(world())
	registry := prometheus.NewRegistry()
	cfg := Config{
		Addr: "127.0.0.1:0", Topology: r.topology.Load, Counts: fixedCounts{}, Drainer: r.journal, Lab: r.journal,
		Quit: true, Pprof: true, OnQuit: func() { r.quits.Add(1) }, Registry: registry, Version: "v1.2.3",
		Ready: func() error {
			if err := r.ready.Load(); err != nil {
				return *err
			}
			return nil
		},
		Serving: func() Serving {
			return Serving{Reads: Target{Cluster: "eu-west", Reason: "it is near"}, Writes: Target{Cluster: "us-east", Reason: "it is the primary"}}
		},
		Requests: func() map[string]map[string]uint64 { return map[string]map[string]uint64{"us-east": {"primary": 4}} },
		Mounts: func() []Mount {
			return []Mount{{Path: "secret/", Type: "kv-v2", Reads: []string{"nearest"}, Writes: []string{"primary"}}}
		},
		Decisions: func(w io.Writer, n int) error { _, err := fmt.Fprintln(w, "decisions", n); return err },
		Explain: func(method, path, namespace string) (any, error) {
			if path == "bad" {
				return nil, errors.New("no such path")
			}
			return map[string]string{"class": "nearest", "reason": method + " " + path + " " + namespace}, nil
		},
	}
	registry.MustRegister(NewCollector(CollectorConfig{Topology: r.topology.Load, Counts: fixedCounts{}, Version: "v1", Commit: "c"}))
	for _, f := range adjust {
		f(&cfg)
	}
	var err error
	if r.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.run(t)
	return r
}

func (r *running) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		r.stop()
	})
}

func (r *running) url(path string) string { return "http://" + r.Addr().String() + path }

// do sends a request with headers given as name, value, name, value.
func (r *running) do(t *testing.T, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url(path), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

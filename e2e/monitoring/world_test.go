package monitoring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/internal/app"
	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// patience is for what has to happen some time.
const patience = 30 * time.Second

// world is a laboratory, a proxy before it, and a Prometheus that scrapes it once for
// each minute of its own time.
type world struct {
	t      *testing.T
	lab    *lab.Lab
	app    *app.App
	http   *http.Client
	token  string
	store  *teststorage.TestStorage
	engine *promql.Engine
	now    time.Time // of that Prometheus
	names  map[string]bool
}

func newWorld(t *testing.T, extra string) *world {
	t.Helper()
	w := &world{
		t: t, lab: labtest.Start(t, lab.Config{Region: "eu-west"}), http: &http.Client{Timeout: patience}, token: lab.RootToken,
		store: teststorage.New(t), now: time.Unix(1_700_000_000, 0), names: map[string]bool{},
		engine: promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: patience, LookbackDelta: 5 * time.Minute}),
	}
	t.Cleanup(func() { _ = w.engine.Close(); w.http.CloseIdleConnections() })
	var b strings.Builder
	fmt.Fprintf(&b, "region: eu-west\nlisteners: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\nhealth: {interval: 200ms, timeout: 200ms}\n%s\nclusters:\n", extra)
	for _, c := range lab.DefaultClusters() {
		fmt.Fprintf(&b, "  - {name: %s, region: %s, addresses: [%q]", c.Name, c.Region, w.lab.Cluster(c.Name).Address())
		if c.DROf != "" {
			fmt.Fprintf(&b, ", dr_of: %s", c.DROf)
		}
		b.WriteString("}\n")
	}
	cfg, err := configs.Parse("monitoring.yaml", []byte(b.String()), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if w.app, err = app.New(t.Context(), app.Options{Config: cfg}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.app.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := w.app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// send sends a request through the proxy and gives the status.
func (w *world) send(method, path, body string) int {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.app.Addresses()[0]+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", w.token)
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// lookUp asks the proxy's DNS server.
func (w *world) lookUp() {
	w.t.Helper()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, w.app.DNSAddress())
	}}
	if _, err := r.LookupHost(w.t.Context(), "vault.internal."); err != nil {
		w.t.Fatal(err)
	}
	_, _ = r.LookupHost(w.t.Context(), "elsewhere.example.") // nobody there to forward it to
}

// scrape takes in what the proxy shows, a minute after the last time.
func (w *world) scrape() {
	w.t.Helper()
	w.now = w.now.Add(time.Minute)
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.app.AdminAddress()+"/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.take(raw, resp.Header.Get("Content-Type"))
}

func (w *world) take(raw []byte, contentType string) {
	w.t.Helper()
	if !strings.HasPrefix(contentType, "application/openmetrics-text") || !bytes.HasSuffix(raw, []byte("# EOF\n")) {
		w.t.Fatalf("no OpenMetrics: %s", contentType)
	}
	p, err := textparse.New(raw, contentType, labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	out := w.store.Appender(w.t.Context())
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			w.t.Fatalf("Prometheus can't read it: %v", err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, value := p.Series()
		var series labels.Labels
		p.Labels(&series)
		w.names[series.Get(labels.MetricName)] = true
		series = labels.NewBuilder(series).Set("instance", "proxy-1").Set("job", "vrproxy").Labels()
		if _, err := out.Append(0, series, w.now.UnixMilli(), value); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := out.Commit(); err != nil {
		w.t.Fatal(err)
	}
}

// ask evaluates an expression now.
func (w *world) ask(expr string) promql.Vector {
	w.t.Helper()
	q, err := w.engine.NewInstantQuery(w.t.Context(), w.store, nil, expr, w.now)
	if err != nil {
		w.t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	v, err := q.Exec(w.t.Context()).Vector()
	if err != nil {
		w.t.Fatalf("%s: %v", expr, err)
	}
	return append(promql.Vector{}, v...)
}

func (w *world) do(cluster, action string) {
	w.t.Helper()
	if err := w.lab.Do(cluster, action); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s", patience, what)
		}
		<-tick.C
	}
}

func file(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

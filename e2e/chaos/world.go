// Package chaos runs vrproxy between simulated Vault clusters and clients, breaks
// clusters and lines by a seeded schedule, records what the clients saw, and checks
// it: no read failed, no write was lost or doubled, every refusal was honest.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/internal/app"
	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// world is the laboratory, a breakable line to each cluster, and the proxy behind
// these lines.
type world struct {
	lab   *lab.Lab
	lines map[string]*toxiproxy.Proxy // by cluster
	proxy *app.App
	url   string
}

// start makes a world that ends with the test. The proxy runs in this process.
func start(t *testing.T, seed uint64) *world {
	t.Helper()
	w := set(t, seed)
	w.run(t)
	return w
}

// set makes a world without a proxy.
func set(t *testing.T, seed uint64) *world {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's toxics have a logger of their own
	w := &world{lab: labtest.Start(t, lab.Config{Region: "eu-west", Seed: seed}), lines: make(map[string]*toxiproxy.Proxy)}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	for _, c := range w.lab.Clusters() {
		line := toxiproxy.NewProxy(server, c.Name(), "127.0.0.1:0", strings.TrimPrefix(c.Address(), "http://"))
		if err := line.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(line.Stop)
		w.lines[c.Name()] = line
	}
	return w
}

func (w *world) run(t *testing.T) {
	t.Helper()
	cfg, err := configs.Parse("chaos.yaml", []byte(w.configuration("127.0.0.1:0", "127.0.0.1:0")), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if w.proxy, err = app.New(t.Context(), app.Options{Config: cfg}); err != nil {
		t.Fatal(err)
	}
	if err := w.proxy.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + w.proxy.Addresses()[0]
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := w.proxy.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopping the proxy: %v", err)
		}
	})
}

// configuration makes reads of strong/ linearizable: they go to the primary itself.
func (w *world) configuration(listener, admin string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listeners: [{address: %q}]\nadmin: {address: %q}\n", listener, admin)
	b.WriteString(`region: eu-west
health: {interval: 200ms, timeout: 200ms}
shutdown: {drain_timeout: 2s}
sessions: {login_rate: 1000}
routing:
  primary_wait: 3s
  rules: [{path: "secret/data/strong/*", methods: [GET], to: primary}]
clusters:
`)
	for _, c := range lab.DefaultClusters() {
		fmt.Fprintf(&b, "  - {name: %s, region: %s, addresses: [\"http://%s\"]", c.Name, c.Region, w.lines[c.Name].Listen)
		if c.DROf != "" {
			fmt.Fprintf(&b, ", dr_of: %s", c.DROf)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

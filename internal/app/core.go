package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/consistency"
	"github.com/vrproxy/vrproxy/internal/mounts"
	"github.com/vrproxy/vrproxy/internal/upstream"
	"github.com/vrproxy/vrproxy/proxy"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// core is the part that a reload replaces: everything made from clusters, routing
// and health. Sessions, listeners and metrics outlive it.
type core struct {
	cfg     *configs.Config
	pool    *upstream.Pool
	checker *health.Checker
	planner *routing.Planner
	router  *routing.Router
	proxy   *proxy.Proxy
	watches []*fileWatch // of certificates
	runner  *runner
}

// shared is what outlives a reload.
type shared struct {
	logger  *zap.Logger
	metrics *proxy.Metrics
	tokens  *tokencache.Cache
	mounts  *mounts.Learner
	budget  *proxy.Budget
	memory  *consistency.Memories
	// failover is told when a request moved from one cluster to another.
	failover func(from, to, reason string)
	observer proxy.Observer
	logins   *prometheus.CounterVec
	numbers  *atomic.Uint64 // of requests
	// tell is told what became of changed files.
	tell func(key string, err error)
}

// prepare shows counters of the configured clusters before anything is counted.
func (s shared) prepare(cfg *configs.Config) {
	var names []string
	for _, c := range cfg.Clusters {
		names = append(names, c.Name)
		if c.DROf != "" {
			continue // its home is the other one
		}
		for _, outcome := range []string{"ok", "refused", "failed"} {
			s.logins.WithLabelValues(c.Name, outcome)
		}
	}
	s.metrics.Prepare(names)
}

// newCore builds a core; nothing of it runs or dials yet.
func newCore(cfg *configs.Config, s shared) (*core, error) {
	clusters, err := upstreamClusters(cfg)
	if err != nil {
		return nil, err
	}
	c := &core{
		cfg:     cfg,
		pool:    upstream.New(upstreamConfig(cfg, clusters)),
		planner: routing.NewPlanner(preferences(cfg)),
		router:  routing.New(rules(cfg)),
		runner:  newRunner(),
	}
	for i, cl := range cfg.Clusters {
		if len(clientFiles(cl.TLS)) > 0 {
			c.watches = append(c.watches, c.watch(i, cl, s.tell))
		}
	}
	c.checker = health.New(healthConfig(cfg, c.pool, s.logger))
	if s.metrics != nil {
		s.prepare(cfg)
	}
	showsCertificate := slices.ContainsFunc(cfg.Clusters, func(c configs.Cluster) bool { return c.TLS != nil && c.TLS.CertFile != "" })
	c.proxy = c.exchanges(s, showsCertificate)
	return c, nil
}

// watch reads the certificates of a cluster again when their files change.
func (c *core) watch(i int, cl configs.Cluster, tell func(string, error)) *fileWatch {
	apply := func() error {
		t, err := clientTLS(cl.TLS)
		if err == nil {
			c.pool.Use(cl.Name, t)
		}
		return err
	}
	return newFileWatch(fmt.Sprintf("clusters[%d].tls", i), func() []string { return clientFiles(cl.TLS) }, apply, tell)
}

// exchanges makes the room that serves the requests.
func (c *core) exchanges(s shared, showsCertificate bool) *proxy.Proxy {
	return proxy.New(proxy.Config{
		Health: c.checker, Mounts: s.mounts, Upstream: c.pool, Router: c.router, Planner: c.planner,
		Tokens: s.tokens, Metrics: s.metrics, Failover: s.failover, Observer: s.observer, Numbers: s.numbers, Logger: s.logger,
		ShowsCertificate: showsCertificate, NoReplay: c.cfg.Sessions.ReplayExcept,
		PrimaryWait: primaryWait(c.cfg), Budget: s.budget, Memories: memories(c.cfg, s.memory),
		Hedge: c.cfg.Routing.Hedge, MaxInFlight: c.cfg.Routing.MaxInFlight, KeepBody: c.cfg.Limits.RepeatBody,
		AttemptTimeout: 2 * c.cfg.Health.Timeout,
	})
}

// start begins probing and waits until every node was asked once, or as long as
// that may take.
func (c *core) start(ctx context.Context) {
	c.runner.run(c.checker.Run)
	c.runner.run(c.keepWarm)
	c.runner.run(c.pool.Run)
	for _, w := range c.watches {
		c.runner.run(w.Run)
	}
	timer := time.NewTimer(3*c.cfg.Health.Timeout + time.Second) // name, health, replication
	defer timer.Stop()
	select {
	case <-c.checker.FirstRound():
	case <-timer.C:
	case <-ctx.Done():
	}
}

// warmEvery is below the time after which idle connections are closed.
const warmEvery = time.Minute

// keepWarm holds connections open to where requests would go next: the primary and the
// two nearest clusters.
func (c *core) keepWarm(ctx context.Context) error {
	var last []string
	ticker := time.NewTicker(warmEvery)
	defer ticker.Stop()
	for {
		changed := c.checker.Changed()
		next := c.nextNodes()
		for name, address := range next {
			if !slices.Contains(last, address) {
				c.warm(ctx, name, address)
			}
		}
		last = slices.Collect(maps.Values(next))
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-ticker.C:
			last = nil
		}
	}
}

func (c *core) warm(ctx context.Context, name, address string) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Health.Timeout)
	defer cancel()
	_ = c.pool.Warm(ctx, name, address) // probes and requests tell what is wrong
}

// nextNodes gives the best node of each cluster to keep connections to.
func (c *core) nextNodes() map[string]string {
	t := c.checker.Topology()
	nodes := make(map[string]string)
	for _, cl := range c.ahead(t) {
		if cl.Usable() {
			nodes[cl.Name] = cl.Nodes[0].Address
		}
	}
	return nodes
}

// ahead lists the primary and the two nearest clusters.
func (c *core) ahead(t *health.Topology) []*health.Cluster {
	var out []*health.Cluster
	if p, ok := t.Cluster(t.Primary); ok && c.planner.Allowed(p) {
		out = append(out, p)
	}
	for i, near := range c.planner.Nearest(t) {
		if i == 2 {
			break
		}
		out = append(out, near.Cluster)
	}
	return out
}

func (c *core) stop(ctx context.Context) error {
	err := c.runner.stop(ctx)
	c.pool.Close()
	return err
}

// inherit takes over what an operator did to the clusters of the old core.
func (c *core) inherit(old *core) {
	for _, cl := range old.checker.Topology().Clusters {
		if cl.State == health.StateDrained {
			_ = c.checker.Drain(cl.Name) // gone from the new file: nothing to drain
		}
	}
}

// current is the core in use; a reload swaps it.
type current struct{ p atomic.Pointer[core] }

func (c *current) topology() *health.Topology { return c.p.Load().checker.Topology() }

func (c *current) stale() []string {
	now := c.p.Load()
	return now.planner.Stale(now.checker.Topology())
}

func (c *current) preference() health.Preference { return preference(c.p.Load().cfg) }

// order is the order in which plans of class nearest use the clusters.
func (c *current) order(t *health.Topology) []*health.Cluster {
	candidates := c.p.Load().planner.Nearest(t)
	out := make([]*health.Cluster, len(candidates))
	for i, near := range candidates {
		out[i] = near.Cluster
	}
	return out
}

// Client gives a control client for the cluster that serves a home now. It makes
// current a tokencache.Vault and a mounts.Vault.
func (c *current) Client(home string) (*api.Client, error) {
	now := c.p.Load()
	t := now.checker.Topology()
	for _, m := range t.Members(home) {
		if !now.planner.Allowed(m) {
			continue
		}
		if m.Keeps() || (m.Role != health.RoleDR && !anyUsable(t)) {
			return now.pool.Client(m.Name, m.Nodes[0].Address)
		}
	}
	return nil, fmt.Errorf("no cluster of %s is up", home)
}

func anyUsable(t *health.Topology) bool {
	for i := range t.Clusters {
		if t.Clusters[i].Usable() {
			return true
		}
	}
	return false
}

// prewarm names the homes where a new session gets a token ahead of need: the
// primary and the two nearest clusters, of which the session holds one already.
func (c *current) prewarm() []string {
	now := c.p.Load()
	var homes []string
	for _, cl := range now.ahead(now.checker.Topology()) {
		homes = append(homes, cl.Home())
	}
	return homes
}

// nearest names the home of the nearest cluster that serves; empty while none does.
func (c *current) nearest() string {
	now := c.p.Load()
	for _, near := range now.planner.Nearest(now.checker.Topology()) {
		if near.Usable() {
			return near.Home()
		}
	}
	return ""
}

// homes lists all homes that may be asked: those that serve first, nearest first.
func (c *current) homes() []string {
	now := c.p.Load()
	t := now.checker.Topology()
	var homes []string
	add := func(home string) {
		if !slices.Contains(homes, home) {
			homes = append(homes, home)
		}
	}
	for _, near := range now.planner.Nearest(t) {
		add(near.Home())
	}
	for i := range t.Clusters {
		if c := &t.Clusters[i]; c.Role != health.RoleDR && now.planner.Allowed(c) {
			add(c.Home()) // also one that is down: then a search is undecided
		}
	}
	return homes
}

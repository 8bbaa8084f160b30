package admin

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vrproxy/vrproxy/health"
)

// CollectorConfig says what NewCollector shows. Topology is required.
type CollectorConfig struct {
	Topology        func() *health.Topology // nil results are fine
	Counts          Counts                  // nil: all zero
	Version, Commit string
}

// collector reads the picture when it is scraped, so no number can be left behind
// when a cluster goes from the configuration. Its labels are the configured names.
type collector struct {
	cfg                                       CollectorConfig
	up, role, rtt, lag, tokens, leases, split *prometheus.Desc
	sessions, build                           *prometheus.Desc
}

// NewCollector makes the metrics that follow from the topology and the counts. The
// caller registers it.
func NewCollector(cfg CollectorConfig) prometheus.Collector {
	if cfg.Counts == nil {
		cfg.Counts = noCounts{}
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("vrproxy_"+name, help, labels, nil)
	}
	return &collector{
		cfg:      cfg,
		up:       desc("cluster_up", "1 while the cluster is healthy or degraded, 0 while it is down or drained.", "cluster"),
		role:     desc("cluster_role", "1 for the cluster's present role, 0 for the others.", "cluster", "role"),
		rtt:      desc("cluster_rtt_seconds", "Round trip to the cluster's best node; absent while unknown.", "cluster"),
		lag:      desc("cluster_lag_seconds", "How far the cluster lags behind the primary; absent while unknown.", "cluster"),
		tokens:   desc("tokens", "Tokens held on the cluster.", "cluster"),
		leases:   desc("leases", "Leases known on the cluster.", "cluster"),
		split:    desc("split_brain", "1 while several clusters of one set claim to be primary."),
		sessions: desc("sessions", "Sessions remembered."),
		build:    desc("build_info", "Always 1; the labels say what runs.", "version", "commit", "goversion"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.role, c.rtt, c.lag, c.tokens, c.leases, c.split, c.sessions, c.build} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.build, 1, c.cfg.Version, c.cfg.Commit, runtime.Version())
	gauge(c.sessions, float64(c.cfg.Counts.Sessions()))
	t := c.cfg.Topology()
	if t == nil {
		return
	}
	gauge(c.split, flag(t.SplitBrain))
	for i := range t.Clusters {
		c.cluster(gauge, &t.Clusters[i])
	}
}

func (c *collector) cluster(gauge func(*prometheus.Desc, float64, ...string), cl *health.Cluster) {
	gauge(c.up, flag(cl.State == health.StateHealthy || cl.State == health.StateDegraded), cl.Name)
	for _, role := range []health.Role{
		health.RoleUnknown, health.RolePrimary, health.RoleSecondary, health.RoleDR, health.RoleStandalone,
	} {
		gauge(c.role, flag(cl.Role == role), cl.Name, string(role))
	}
	if cl.RTT > 0 {
		gauge(c.rtt, cl.RTT.Seconds(), cl.Name)
	}
	if cl.Lag >= 0 {
		gauge(c.lag, cl.Lag.Seconds(), cl.Name)
	}
	gauge(c.tokens, float64(c.cfg.Counts.Tokens(cl.Name)), cl.Name)
	gauge(c.leases, float64(c.cfg.Counts.Leases(cl.Name)), cl.Name)
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

package admin

import (
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/replication"
)

// CollectorConfig says what NewCollector shows. Topology is required.
type CollectorConfig struct {
	Topology        func() *health.Topology // nil results are fine
	Counts          Counts                  // nil: all zero
	Stale           func() []string         // clusters that lag too far to be read from; nil: none
	Version, Commit string
}

// collector reads the picture when it is scraped, so no number can be left behind
// when a cluster goes from the configuration. Its labels are the configured names.
type collector struct {
	cfg                                              CollectorConfig
	up, role, rtt, lag, stale, tokens, leases, split *prometheus.Desc
	sessions, build                                  *prometheus.Desc
	mode, streaming, wal, secondaries                *prometheus.Desc
}

// NewCollector makes the metrics that follow from the topology and the counts. The
// caller registers it.
func NewCollector(cfg CollectorConfig) prometheus.Collector {
	if cfg.Counts == nil {
		cfg.Counts = noCounts{}
	}
	if cfg.Stale == nil {
		cfg.Stale = func() []string { return nil }
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("vrproxy_"+name, help, labels, nil)
	}
	return &collector{
		cfg:         cfg,
		up:          desc("cluster_up", "1 while the cluster is healthy or degraded, 0 while it is down or drained.", "cluster"),
		role:        desc("cluster_role", "1 for the cluster's present role, 0 for the others.", "cluster", "role"),
		rtt:         desc("cluster_rtt_seconds", "Round trip to the cluster's best node; absent while unknown.", "cluster"),
		lag:         desc("cluster_lag_seconds", "How far the cluster lags behind the primary; absent while unknown.", "cluster"),
		stale:       desc("cluster_stale", "1 while the cluster is not read from because it lags more than routing.max_staleness.", "cluster"),
		tokens:      desc("tokens", "Tokens held on the cluster.", "cluster"),
		leases:      desc("leases", "Leases known on the cluster.", "cluster"),
		split:       desc("split_brain", "1 while several clusters of one set claim to be primary."),
		mode:        desc("replication_mode", "1 for the mode the cluster reports of a kind of replication.", "cluster", "kind", "mode"),
		streaming:   desc("replication_streaming", "1 while a secondary streams over a working connection, 0 while it does not.", "cluster", "kind"),
		wal:         desc("replication_wal", "Last write-ahead log position: written by a primary, received by a secondary.", "cluster", "kind"),
		secondaries: desc("replication_secondaries", "Secondaries of a primary, by whether they are connected.", "cluster", "kind", "connected"),
		sessions:    desc("sessions", "Sessions remembered."),
		build:       desc("build_info", "Always 1; the labels say what runs.", "version", "commit", "goversion"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.role, c.rtt, c.lag, c.stale, c.tokens, c.leases, c.split, c.sessions, c.build, c.mode, c.streaming, c.wal, c.secondaries} {
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
	stale := c.cfg.Stale()
	for i := range t.Clusters {
		cl := &t.Clusters[i]
		c.cluster(gauge, cl)
		gauge(c.stale, flag(slices.Contains(stale, cl.Name)), cl.Name)
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
	if r := cl.Replication; r.Performance.Mode != "" {
		c.link(gauge, cl.Name, "performance", r.Performance, linkStatus(r.Performance, r.Performance.LastPerformanceWAL))
		c.link(gauge, cl.Name, "dr", r.DR, linkStatus(r.DR, r.DR.LastDRWAL))
	}
	gauge(c.tokens, float64(c.cfg.Counts.Tokens(cl.Name)), cl.Name)
	gauge(c.leases, float64(c.cfg.Counts.Leases(cl.Name)), cl.Name)
}

// link shows one kind of replication at one cluster.
func (c *collector) link(gauge func(*prometheus.Desc, float64, ...string), cluster, kind string, m replication.Mode, l LinkStatus) {
	gauge(c.mode, 1, cluster, kind, l.Mode)
	if l.LastWAL != nil {
		gauge(c.wal, float64(*l.LastWAL), cluster, kind)
	}
	switch l.Mode {
	case replication.ModeSecondary:
		gauge(c.streaming, flag(m.Linked() && m.State == replication.StateStreaming), cluster, kind)
	case replication.ModePrimary:
		gauge(c.secondaries, float64(l.Connected), cluster, kind, "true")
		gauge(c.secondaries, float64(max(0, len(l.Secondaries)-l.Connected)), cluster, kind, "false")
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

package proxy

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/vrproxy/vrproxy/routing"
)

// Metrics counts what the proxy does. Labels are class, cluster and code only: all
// bounded by the configuration.
type Metrics struct {
	requests    *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	attempts    *prometheus.CounterVec
	failovers   *prometheus.CounterVec
	lastResorts prometheus.Counter
	waiting     prometheus.Gauge
	exhausted   prometheus.Counter
	hedges      prometheus.Counter
	reads       *prometheus.CounterVec
}

// NewMetrics makes and registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vrproxy_requests_total", Help: "Client requests by class, answering cluster (empty for the proxy's own errors) and HTTP status.",
		}, []string{"class", "cluster", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vrproxy_request_duration_seconds", Help: "Duration of client requests, failover included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"class", "cluster"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vrproxy_upstream_attempts_total", Help: "Attempts at clusters by what their outcome meant.",
		}, []string{"cluster", "outcome"}),
		failovers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vrproxy_failovers_total", Help: "Requests that began at one cluster and were answered by another.",
		}, []string{"from", "to"}),
		lastResorts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vrproxy_last_resort_total", Help: "Requests for which no cluster looked usable and all were tried anyway.",
		}),
	}
	m.waiting = prometheus.NewGauge(prometheus.GaugeOpts{Name: "vrproxy_requests_waiting", Help: "Writes that wait for a primary, and reads that wait for a cluster."})
	m.exhausted = prometheus.NewCounter(prometheus.CounterOpts{Name: "vrproxy_retry_budget_exhausted_total", Help: "Repeats not made because there were too many."})
	m.hedges = prometheus.NewCounter(prometheus.CounterOpts{Name: "vrproxy_hedged_reads_total", Help: "Reads that a second cluster was asked for (routing.hedge)."})
	m.reads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vrproxy_consistency_waits_total", Help: "Reads of what the session wrote that the nearest cluster did not have yet: waited for there, served by another (the primary), or refused.",
	}, []string{"outcome"})
	for _, outcome := range []string{"waited", "primary", "refused"} {
		m.reads.WithLabelValues(outcome)
	}
	r.MustRegister(m.reads, m.hedges, m.requests, m.durations, m.attempts, m.failovers, m.lastResorts, m.waiting, m.exhausted)
	return m
}

// Prepare shows what has not happened yet between these clusters as 0: Prometheus takes
// no notice of a counter's first value.
func (m *Metrics) Prepare(clusters []string) {
	for _, cluster := range clusters {
		for v := done; v <= unknown; v++ {
			m.attempts.WithLabelValues(cluster, v.String())
		}
		for _, other := range clusters {
			if other != cluster {
				m.failovers.WithLabelValues(cluster, other)
			}
		}
	}
}

func (m *Metrics) request(class routing.Class, cluster string, status int, took time.Duration) {
	m.requests.WithLabelValues(string(class), cluster, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(string(class), cluster).Observe(took.Seconds())
}

// Served counts the requests so far by answering cluster and class.
func (m *Metrics) Served() map[string]map[string]uint64 {
	all := make(chan prometheus.Metric)
	go func() { m.requests.Collect(all); close(all) }()
	out := make(map[string]map[string]uint64)
	for one := range all {
		var d dto.Metric
		if one.Write(&d) != nil {
			continue // a counter can be written
		}
		labels := make(map[string]string, len(d.GetLabel()))
		for _, l := range d.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		cluster := labels["cluster"]
		if out[cluster] == nil {
			out[cluster] = make(map[string]uint64)
		}
		out[cluster][labels["class"]] += uint64(d.GetCounter().GetValue())
	}
	return out
}

func (m *Metrics) attempt(cluster string, v verdict) {
	m.attempts.WithLabelValues(cluster, v.String()).Inc()
}

func (m *Metrics) failover(from, to string) { m.failovers.WithLabelValues(from, to).Inc() }

func (m *Metrics) consistency(outcome string) { m.reads.WithLabelValues(outcome).Inc() }

func (m *Metrics) lastResort() { m.lastResorts.Inc() }

// String is the verdict's name in metrics.
func (v verdict) String() string {
	return [...]string{"done", "next", "relogin", "confirm", "lagging", "absent", "foreign", "moved", "unknown"}[v]
}

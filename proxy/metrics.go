package proxy

import (
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
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

	answered found[answered, counted]
	outcomes found[outcomeAt, prometheus.Counter]
}

// answered is what one kind of answer is counted by.
type answered struct {
	class   routing.Class
	cluster string
	status  int
}

// counted is where.
type counted struct {
	requests  prometheus.Counter
	durations prometheus.Observer
}

type outcomeAt struct {
	cluster string
	v       verdict
}

// found keeps what is found anew otherwise by each request. Looking at it takes no lock
// and allocates nothing. It never forgets: keys have to be bounded.
type found[K comparable, V any] struct {
	mu  sync.Mutex // of who adds
	all atomic.Pointer[map[K]V]
}

func (f *found[K, V]) get(k K, find func(K) V) V {
	if all := f.all.Load(); all != nil {
		if v, ok := (*all)[k]; ok {
			return v
		}
	}
	return f.add(k, find)
}

func (f *found[K, V]) add(k K, find func(K) V) V {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := make(map[K]V)
	if all := f.all.Load(); all != nil {
		if v, ok := (*all)[k]; ok {
			return v // another was faster
		}
		maps.Copy(next, *all)
	}
	v := find(k)
	next[k] = v
	f.all.Store(&next)
	return v
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
	c := m.answered.get(answered{class, cluster, status}, m.counterOf)
	c.requests.Inc()
	c.durations.Observe(took.Seconds())
}

func (m *Metrics) counterOf(a answered) counted {
	return counted{
		m.requests.WithLabelValues(string(a.class), a.cluster, strconv.Itoa(a.status)),
		m.durations.WithLabelValues(string(a.class), a.cluster),
	}
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
	m.outcomes.get(outcomeAt{cluster, v}, m.outcomeOf).Inc()
}

func (m *Metrics) outcomeOf(o outcomeAt) prometheus.Counter {
	return m.attempts.WithLabelValues(o.cluster, o.v.String())
}

func (m *Metrics) failover(from, to string) { m.failovers.WithLabelValues(from, to).Inc() }

func (m *Metrics) consistency(outcome string) { m.reads.WithLabelValues(outcome).Inc() }

func (m *Metrics) lastResort() { m.lastResorts.Inc() }

// String is the verdict's name in metrics.
func (v verdict) String() string {
	return [...]string{"done", "next", "relogin", "confirm", "lagging", "absent", "foreign", "moved", "unknown"}[v]
}

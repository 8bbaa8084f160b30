package dnsserver

import (
	"errors"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// other stands for every type and code without a label of its own: clients choose
// the numbers, so the labels have to be bounded here.
const other = "other"

// metrics count what the server does.
type metrics struct {
	queries   *prometheus.CounterVec
	limited   prometheus.Counter
	cache     *prometheus.CounterVec
	forwards  *prometheus.CounterVec
	forwarder *prometheus.GaugeVec
}

// newMetrics registers them. A server that takes the place of another one goes on
// counting where that stopped.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vrproxy_dns_queries_total", Help: "DNS questions by type and the code they were answered with.",
		}, []string{"type", "rcode"}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vrproxy_dns_rate_limited_total", Help: "DNS questions beyond dns.rate_limit of their source.",
		}),
		cache: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vrproxy_dns_cache_total", Help: "Questions outside the zone, by what the cache had: hit, miss, stale; and answers fetched ahead of need: prefetch.",
		}, []string{"outcome"}),
		forwards: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vrproxy_dns_forwards_total", Help: "Questions sent to a forwarder, by outcome: answered, failed.",
		}, []string{"forwarder", "outcome"}),
		forwarder: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vrproxy_dns_forwarder_up", Help: "1 while the forwarder answers; 0 while it does not, or leads back here.",
		}, []string{"forwarder"}),
	}
	if reg == nil {
		return m, nil
	}
	var err error
	m.queries, err = registered(reg, m.queries, err)
	m.limited, err = registered(reg, m.limited, err)
	m.cache, err = registered(reg, m.cache, err)
	m.forwards, err = registered(reg, m.forwards, err)
	m.forwarder, err = registered(reg, m.forwarder, err)
	return m, err
}

// registered gives the collector of that name that the registry has in the end.
func registered[C prometheus.Collector](reg prometheus.Registerer, c C, before error) (C, error) {
	if before != nil {
		return c, before
	}
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if same, ok := already.ExistingCollector.(C); ok {
			return same, nil
		}
	}
	return c, err
}

// query is the counter of one type and code.
func (m *metrics) query(qtype uint16, rcode int) prometheus.Counter {
	return m.queries.WithLabelValues(typeLabel(qtype), rcodeLabel(rcode))
}

func (m *metrics) count(req *dns.Msg, rcode int) {
	if len(req.Question) != 1 {
		m.odd(rcode)
		return
	}
	m.query(req.Question[0].Qtype, rcode).Inc()
}

// odd counts what has no type: no question, or one that could not be parsed.
func (m *metrics) odd(rcode int) { m.queries.WithLabelValues(other, rcodeLabel(rcode)).Inc() }

func typeLabel(qtype uint16) string {
	switch qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeANY,
		dns.TypePTR, dns.TypeCNAME, dns.TypeMX, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeCAA, dns.TypeDS, dns.TypeDNSKEY:
		return dns.TypeToString[qtype]
	}
	return other
}

func rcodeLabel(rcode int) string {
	switch rcode {
	case dns.RcodeBadVers:
		return "BADVERS" // the library's table calls it BADSIG, which has the same number
	case dns.RcodeSuccess, dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNameError,
		dns.RcodeNotImplemented, dns.RcodeRefused:
		return dns.RcodeToString[rcode]
	}
	return other
}

// complaints logs each kind of failure at most once a minute: one that lasts must
// not write a line per query.
type complaints struct {
	log   *zap.Logger
	kinds map[error]*rate.Sometimes
}

func newComplaints(log *zap.Logger) *complaints {
	c := &complaints{log: log, kinds: map[error]*rate.Sometimes{}}
	for _, kind := range kinds() {
		c.kinds[kind] = &rate.Sometimes{First: 1, Interval: time.Minute}
	}
	return c
}

// kinds are the failures, the more particular before the more general.
func kinds() []error {
	return []error{errResolve, errNotReady, errNoCluster, errNodeDown, errStale, errLoop, errForward}
}

func (c *complaints) about(err error, q dns.Question) {
	kind := kindOf(err)
	c.kinds[kind].Do(func() {
		c.log.Warn("dns: "+kind.Error(), zap.String("name", q.Name), zap.String("type", typeLabel(q.Qtype)), zap.Error(err))
	})
}

// kindOf finds which of the known failures an error is.
func kindOf(err error) error {
	for _, kind := range kinds() {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return errForward
}

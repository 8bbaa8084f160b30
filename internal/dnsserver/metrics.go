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

// queryCounter counts answers by type and code.
type queryCounter struct {
	total *prometheus.CounterVec
}

func newQueryCounter(reg prometheus.Registerer) (*queryCounter, error) {
	c := &queryCounter{total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vrproxy_dns_queries_total",
		Help: "DNS questions by type and the code they were answered with.",
	}, []string{"type", "rcode"})}
	if reg == nil {
		return c, nil
	}
	return c, reg.Register(c.total)
}

func (c *queryCounter) count(req *dns.Msg, rcode int) {
	qtype := other
	if len(req.Question) == 1 {
		qtype = typeLabel(req.Question[0].Qtype)
	}
	c.total.WithLabelValues(qtype, rcodeLabel(rcode)).Inc()
}

// invalid counts what could not be parsed.
func (c *queryCounter) invalid() {
	c.total.WithLabelValues(other, rcodeLabel(dns.RcodeFormatError)).Inc()
}

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
	for _, kind := range []error{errNotReady, errNoCluster, errNodeDown, errResolve, errForward} {
		c.kinds[kind] = &rate.Sometimes{First: 1, Interval: time.Minute}
	}
	return c
}

func (c *complaints) about(err error, q dns.Question) {
	kind := kindOf(err)
	c.kinds[kind].Do(func() {
		c.log.Warn("dns: "+kind.Error(), zap.String("name", q.Name), zap.String("type", typeLabel(q.Qtype)), zap.Error(err))
	})
}

// kindOf finds which of the known failures an error is.
func kindOf(err error) error {
	for _, kind := range []error{errResolve, errNotReady, errNoCluster, errNodeDown} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return errForward
}

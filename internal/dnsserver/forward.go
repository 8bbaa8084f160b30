package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

// forwardsAtOnce bounds the questions that wait for a forwarder; beyond it they
// fail at once instead of piling up.
const forwardsAtOnce = 512

// Answers that are fetched ahead of need: how many at once, and how many may wait.
const (
	refreshers   = 4
	refreshQueue = 64
)

var errBusy = errors.New("too many questions wait for the forwarders")

// forwarder asks other resolvers, keeps their answers for as long as these hold,
// and asks each question once however many clients wait for it.
type forwarder struct {
	upstreams atomic.Pointer[[]*upstream] // replaced when a resolv.conf changes
	read      func() ([]string, error)    // the addresses as they are now
	timeout   time.Duration
	cache     *cache
	flights   singleflight.Group
	slots     chan struct{}
	again     chan question // answers to be fetched ahead of need
	metrics   *metrics
	complain  *complaints
}

// question is all that makes two questions different to a forwarder.
type question struct {
	name       string // canonical
	qtype      uint16
	do, cd, rd bool
}

func (q question) String() string {
	return fmt.Sprintf("%s %d %t %t %t", q.name, q.qtype, q.do, q.cd, q.rd)
}

// message builds the question anew instead of passing the client's on: EDNS
// options such as cookies are between two neighbours only (RFC 6891, 6.2.1).
func (q question) message() *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.qtype)
	m.RecursionDesired = q.rd
	m.CheckingDisabled = q.cd
	m.AuthenticatedData = true // RFC 6840, 5.7: tell us whether it was validated
	m.SetEdns0(ednsSize, q.do)
	return m
}

// newForwarder is nil where nothing is to be forwarded.
func newForwarder(cfg Config, self netip.AddrPort, m *metrics, c *complaints) (*forwarder, error) {
	if len(cfg.Forward) == 0 {
		return nil, nil
	}
	f := &forwarder{
		read:    func() ([]string, error) { return readForward(cfg.Forward, self) },
		timeout: cfg.Timeout, cache: newCache(cfg.CacheSize, cfg.ServeStale),
		slots: make(chan struct{}, forwardsAtOnce), again: make(chan question, refreshQueue),
		metrics: m, complain: c,
	}
	addrs, err := f.read()
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		cfg.Logger.Warn("dns: the forwarders lead back to this server only; names outside the zone will fail")
	}
	f.use(addrs)
	return f, nil
}

// answer asks what req asks and makes the result an answer to it.
func (f *forwarder) answer(ctx context.Context, req *dns.Msg) (*dns.Msg, error) {
	opt := req.IsEdns0()
	do := opt != nil && opt.Do()
	asked := req.Question[0]
	if f.cameBack(dns.CanonicalName(asked.Name)) {
		return failure(req, dns.RcodeRefused), nil
	}
	resp, err := f.ask(ctx, question{
		name: dns.CanonicalName(asked.Name), qtype: asked.Qtype,
		do: do, cd: req.CheckingDisabled, rd: req.RecursionDesired,
	})
	if resp == nil {
		return nil, err
	}
	resp.MsgHdr = dns.MsgHdr{
		Id: req.Id, Response: true, Rcode: resp.Rcode, Truncated: resp.Truncated,
		RecursionDesired: req.RecursionDesired, RecursionAvailable: true,
		CheckingDisabled:  req.CheckingDisabled,
		AuthenticatedData: resp.AuthenticatedData && (do || req.AuthenticatedData),
	}
	resp.Question = req.Question
	spellAs(resp.Answer, asked.Name)
	return resp, err
}

// spellAs gives the records the upper and lower case of the question, which some
// clients check as a protection against forged answers.
func spellAs(rrs []dns.RR, name string) {
	for _, rr := range rrs {
		if h := rr.Header(); strings.EqualFold(h.Name, name) {
			h.Name = name
		}
	}
}

// ask gives a copy of the cached answer or of a new one. It has no OPT record. With
// errStale comes an answer that has expired.
func (f *forwarder) ask(ctx context.Context, q question) (*dns.Msg, error) {
	kept, state := f.cache.get(q)
	switch {
	case state == due:
		f.fetchLater(q)
		fallthrough
	case state == fresh:
		f.metrics.cache.WithLabelValues("hit").Inc()
		return kept, nil
	case state == expired && !f.anyUp():
		f.fetchLater(q) // nobody should wait for forwarders that are known to be gone
		f.metrics.cache.WithLabelValues("stale").Inc()
		return kept, errStale
	}
	m, err := f.fetch(ctx, q)
	if state == expired && (err != nil || unhelpful(m)) {
		f.metrics.cache.WithLabelValues("stale").Inc()
		return kept, errStale
	}
	f.metrics.cache.WithLabelValues("miss").Inc()
	return m, err
}

// unhelpful answers may be one resolver's own trouble.
func unhelpful(m *dns.Msg) bool {
	return m.Rcode == dns.RcodeServerFailure || m.Rcode == dns.RcodeRefused
}

// fetch asks the upstreams; who asks the same meanwhile gets the same answer.
func (f *forwarder) fetch(ctx context.Context, q question) (*dns.Msg, error) {
	v, err, _ := f.flights.Do(q.String(), func() (any, error) { return f.askUpstreams(ctx, q) })
	if err != nil {
		return nil, err
	}
	return v.(*dns.Msg).Copy(), nil
}

// fetchLater leaves a question to refresh; when that has too much to do the question is
// dropped, and the next who asks it waits for the answer.
func (f *forwarder) fetchLater(q question) {
	select {
	case f.again <- q:
	default:
	}
}

// refresh fetches answers ahead of need.
func (f *forwarder) refresh(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case q := <-f.again:
			bounded, cancel := context.WithTimeout(ctx, queryTimeout)
			if _, err := f.fetch(bounded, q); err == nil {
				f.metrics.cache.WithLabelValues("prefetch").Inc()
			}
			cancel()
		}
	}
}

// askUpstreams tries them in turn. An unhelpful answer counts only if nobody knows
// better.
func (f *forwarder) askUpstreams(ctx context.Context, q question) (*dns.Msg, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		return nil, fmt.Errorf("%w: %w", errForward, errBusy)
	}
	var doubtful *dns.Msg
	var errs []error
	for _, u := range inOrder(*f.upstreams.Load()) {
		m, err := f.try(ctx, u, q)
		f.note(ctx, u, err)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", u.addr, err))
		case unhelpful(m):
			doubtful = m
		default:
			f.cache.put(q, m)
			return m, nil
		}
	}
	switch {
	case doubtful != nil:
		return doubtful, nil
	case errs == nil:
		return nil, errLoop
	}
	return nil, fmt.Errorf("%w: %w", errForward, errors.Join(errs...))
}

// try asks one upstream by UDP, and by TCP if the answer did not fit. If that
// fails the cut answer is better than none: the client sees that it is cut.
func (f *forwarder) try(ctx context.Context, u *upstream, q question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	m, err := exchange(ctx, "udp", u.addr, q)
	if err != nil || !m.Truncated {
		return m, err
	}
	if whole, err := exchange(ctx, "tcp", u.addr, q); err == nil {
		return whole, nil
	}
	return m, nil
}

// exchange asks from a fresh socket, whose random port makes forging an answer
// harder. The end of ctx closes it.
func exchange(ctx context.Context, network, addr string, q question) (*dns.Msg, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	client := dns.Client{Net: network, Timeout: queryTimeout} // ctx ends earlier
	m, _, err := client.ExchangeWithConnContext(ctx, q.message(), &dns.Conn{Conn: conn})
	if err != nil {
		return nil, err
	}
	if !answers(m, q) {
		return nil, errors.New("the answer is to another question")
	}
	dropOPT(m)
	return m, nil
}

func answers(m *dns.Msg, q question) bool {
	return m.Response && len(m.Question) == 1 &&
		m.Question[0].Qtype == q.qtype && m.Question[0].Qclass == dns.ClassINET &&
		dns.CanonicalName(m.Question[0].Name) == q.name
}

func dropOPT(m *dns.Msg) {
	kept := m.Extra[:0]
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			kept = append(kept, rr)
		}
	}
	m.Extra = kept
}

// resolve is a ResolveFunc: the addresses in the answer, whatever chain of aliases
// leads to them, for as long as its shortest record holds.
func (f *forwarder) resolve(ctx context.Context, host string, qtype uint16) ([]netip.Addr, time.Duration, error) {
	m, err := f.ask(ctx, question{name: dns.CanonicalName(host), qtype: qtype, rd: true})
	if err != nil {
		return nil, 0, err
	}
	if m.Rcode != dns.RcodeSuccess {
		return nil, 0, fmt.Errorf("forwarder says %s", dns.RcodeToString[m.Rcode])
	}
	var ips []netip.Addr
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			ips = appendIP(ips, rr.A)
		case *dns.AAAA:
			ips = appendIP(ips, rr.AAAA)
		}
	}
	return ips, time.Duration(shortestTTL(m.Answer)) * time.Second, nil
}

func appendIP(ips []netip.Addr, ip net.IP) []netip.Addr {
	if a, ok := netip.AddrFromSlice(ip); ok {
		return append(ips, a.Unmap())
	}
	return ips
}

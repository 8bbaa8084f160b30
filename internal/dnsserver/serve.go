package dnsserver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const (
	// ednsSize is what we announce and the most we send over UDP: it passes every
	// network without fragments (DNS flag day 2020).
	ednsSize = 1232
	// queryTimeout bounds the whole work for one question; stub resolvers ask again
	// after five seconds.
	queryTimeout = 4500 * time.Millisecond
)

// Why a question is answered with SERVFAIL, or with what is stale. The texts go to the client as an
// extended error (RFC 8914), so they name nothing but the kind.
var (
	errNotReady  = errors.New("topology not known yet")
	errNoCluster = errors.New("no usable cluster")
	errNodeDown  = errors.New("node is down")
	errResolve   = errors.New("node addresses cannot be resolved")
	errForward   = errors.New("no forwarder answered")
	errStale     = errors.New("no forwarder answered, so answers that have expired are given")
	errLoop      = errors.New("questions that are forwarded come back to this server")
)

// serve answers one message and counts it.
func (r *responder) serve(ctx context.Context, w dns.ResponseWriter, req *dns.Msg) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	from, isTCP := sourceOf(w.RemoteAddr())
	var resp *dns.Msg
	if r.limits.allow(from) {
		resp = r.respond(ctx, from, req)
	} else {
		r.metrics.limited.Inc()
		resp = withEDNS(req, limited(req, isTCP), nil)
	}
	packet, rcode := pack(req, resp, isTCP)
	r.metrics.count(req, rcode)
	if packet != nil {
		_, _ = w.Write(packet) // a client that is gone is no failure of ours
	}
}

func sourceOf(a net.Addr) (from netip.Addr, isTCP bool) {
	switch a := a.(type) {
	case peer:
		return a.Addr(), false
	case *net.TCPAddr:
		return a.AddrPort().Addr(), true
	}
	return netip.Addr{}, false
}

// limited answers a source that asks too often. By UDP it is told to come again by
// TCP: who forged his address cannot, and the answer is no larger than the question.
func limited(req *dns.Msg, isTCP bool) *dns.Msg {
	resp := failure(req, dns.RcodeRefused)
	if !isTCP {
		resp.Rcode, resp.Truncated = dns.RcodeSuccess, true
	}
	return resp
}

// respond makes the whole answer except its fitting into a packet.
func (r *responder) respond(ctx context.Context, from netip.Addr, req *dns.Msg) *dns.Msg {
	if rcode := r.refusal(from, req); rcode != dns.RcodeSuccess {
		return withEDNS(req, failure(req, rcode), nil)
	}
	resp, err := r.answer(ctx, req)
	if err != nil {
		r.complain.about(err, req.Question[0])
	}
	if resp == nil {
		resp = failure(req, dns.RcodeServerFailure)
	}
	return withEDNS(req, resp, err)
}

// refusal is the code for messages that are not worth a look-up. acceptable has seen
// to the number of questions and the opcode before, but a message may hold fewer
// questions than it says.
func (r *responder) refusal(from netip.Addr, req *dns.Msg) int {
	switch {
	case !r.cfg.allowed(from):
		return dns.RcodeRefused
	case len(req.Question) != 1, countOPT(req) > 1:
		return dns.RcodeFormatError
	}
	if opt := req.IsEdns0(); opt != nil && opt.Version() != 0 {
		return dns.RcodeBadVers
	}
	q := req.Question[0]
	if q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		return dns.RcodeRefused
	}
	return dns.RcodeSuccess
}

func countOPT(m *dns.Msg) (n int) {
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			n++
		}
	}
	return n
}

// answer gives an answer, an error that stands for SERVFAIL, or with errStale both.
func (r *responder) answer(ctx context.Context, req *dns.Msg) (*dns.Msg, error) {
	if dns.IsSubDomain(r.cfg.Zone, dns.CanonicalName(req.Question[0].Name)) {
		z := r.view()
		resp, err := r.answerZone(ctx, z, req)
		if err == nil {
			r.prepare(ctx, z, req)
		}
		return resp, err
	}
	if r.forward == nil {
		return failure(req, dns.RcodeRefused), nil
	}
	return r.forward.answer(ctx, req)
}

// failure is an answer without records. Only the first question is repeated, so
// that the answer is never larger than the message.
func failure(req *dns.Msg, rcode int) *dns.Msg {
	resp := new(dns.Msg)
	resp.SetRcode(req, rcode)
	return resp
}

// withEDNS answers an OPT record with one of ours, and says why in it. Without
// one in the question there must be none in the answer (RFC 6891, 7).
func withEDNS(req, resp *dns.Msg, why error) *dns.Msg {
	asked := req.IsEdns0()
	if asked == nil {
		return resp
	}
	resp.SetEdns0(ednsSize, asked.Do())
	if why != nil {
		opt := resp.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: extendedCode(why), ExtraText: kindOf(why).Error()})
	}
	return resp
}

func extendedCode(why error) uint16 {
	switch kind := kindOf(why); {
	case errors.Is(kind, errStale):
		return dns.ExtendedErrorCodeStaleAnswer
	case errors.Is(kind, errNotReady):
		return dns.ExtendedErrorCodeNotReady
	case errors.Is(kind, errForward):
		return dns.ExtendedErrorCodeNoReachableAuthority
	}
	return dns.ExtendedErrorCodeOther
}

// pack fits the answer into what the client takes and returns the code it carries
// in the end. Nil only if not even a bare SERVFAIL can be encoded.
func pack(req, resp *dns.Msg, isTCP bool) ([]byte, int) {
	resp.Compress = true
	resp.Truncate(sizeLimit(req, isTCP))
	if resp.Rcode > 0xF && resp.IsEdns0() == nil {
		resp.Rcode = dns.RcodeServerFailure // an extended code needs an OPT record
	}
	if packet, err := resp.Pack(); err == nil {
		return packet, resp.Rcode
	}
	packet, err := failure(req, dns.RcodeServerFailure).Pack()
	if err != nil {
		return nil, dns.RcodeServerFailure
	}
	return packet, dns.RcodeServerFailure
}

func sizeLimit(req *dns.Msg, isTCP bool) int {
	if isTCP {
		return dns.MaxMsgSize
	}
	if opt := req.IsEdns0(); opt != nil {
		return min(max(int(opt.UDPSize()), dns.MinMsgSize), ednsSize)
	}
	return dns.MinMsgSize
}

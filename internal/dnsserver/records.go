package dnsserver

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// How long a secondary server would keep the zone, in seconds. Nobody transfers
// it; SOA wants the fields.
const (
	soaRefresh = 60
	soaRetry   = 30
	soaExpire  = 300
)

// Weights of SRV records within one priority.
const (
	weightHealthy  = 100
	weightDegraded = 10
)

// answerZone answers a question about a name of the zone.
func (r *responder) answerZone(ctx context.Context, z *zone, req *dns.Msg) (*dns.Msg, error) {
	q := req.Question[0]
	resp := new(dns.Msg)
	resp.SetReply(req)
	resp.Authoritative = true
	resp.RecursionAvailable = r.forward != nil

	o, ok := z.names[dns.CanonicalName(q.Name)]
	if !ok {
		if z.topology == nil {
			return nil, errNotReady // the name may well exist in a moment
		}
		resp.Rcode = dns.RcodeNameError
		resp.Ns = []dns.RR{r.negativeSOA(z)}
		return resp, nil
	}
	var err error
	if resp.Answer, resp.Extra, err = r.records(ctx, z, o, q); err != nil {
		return nil, err
	}
	if len(resp.Answer) == 0 {
		resp.Ns = []dns.RR{r.negativeSOA(z)}
	}
	return resp, nil
}

// records are the answer and the additional section for a name that exists; no
// answer and no error is NODATA.
func (r *responder) records(ctx context.Context, z *zone, o *owner, q dns.Question) (answer, extra []dns.RR, err error) {
	switch {
	case o.kind == kindEmpty:
	case q.Qtype == dns.TypeANY:
		answer = []dns.RR{r.hinfo(q.Name)}
	case q.Qtype == dns.TypeSOA && o.kind == kindApex:
		answer = []dns.RR{r.soa(z, q.Name)}
	case q.Qtype == dns.TypeNS && o.kind == kindApex:
		answer = []dns.RR{&dns.NS{Hdr: r.header(q.Name, dns.TypeNS), Ns: "ns." + z.origin}}
		extra = r.ownAddresses("ns." + z.origin)
	case q.Qtype == dns.TypeTXT && (o.kind == kindApex || o.kind == kindCluster):
		answer, err = r.text(o, q.Name)
	case q.Qtype == dns.TypeSRV && o.kind == kindService:
		answer, extra, err = r.services(ctx, o, q.Name)
	case q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA:
		answer, err = r.addresses(ctx, o, q)
	}
	return answer, extra, err
}

func (r *responder) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: r.ttl}
}

func (r *responder) soa(z *zone, name string) dns.RR {
	var serial uint32 = 1
	if z.topology != nil {
		serial = uint32(z.topology.Generation)
	}
	return &dns.SOA{
		Hdr: r.header(name, dns.TypeSOA), Ns: "ns." + z.origin, Mbox: "hostmaster." + z.origin,
		Serial: serial, Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: r.negative,
	}
}

// negativeSOA says for how long "no such name or type" holds (RFC 2308, 3).
func (r *responder) negativeSOA(z *zone) dns.RR {
	soa := r.soa(z, z.origin)
	soa.Header().Ttl = r.negative
	return soa
}

// hinfo is the small answer to ANY (RFC 8482): no use to whoever amplifies.
func (r *responder) hinfo(name string) dns.RR {
	return &dns.HINFO{Hdr: r.header(name, dns.TypeHINFO), Cpu: "RFC8482"}
}

// text describes the cluster that the name stands for, in one string that a
// person can read.
func (r *responder) text(o *owner, name string) ([]dns.RR, error) {
	c := o.about
	if c == nil {
		if len(o.places) == 0 {
			return nil, errNoCluster
		}
		c = o.places[0].cluster
	}
	line := fmt.Sprintf("cluster=%s region=%s role=%s state=%s", c.Name, c.Region, c.Role, c.State)
	return []dns.RR{&dns.TXT{Hdr: r.header(name, dns.TypeTXT), Txt: chunks(line)}}, nil
}

// chunks cuts a text into the character strings of a TXT record.
func chunks(text string) []string {
	const most = 255
	var out []string
	for len(text) > most {
		out, text = append(out, text[:most]), text[most:]
	}
	return append(out, text)
}

// addresses are the A or AAAA records of the one cluster or node that the name
// stands for at this moment.
func (r *responder) addresses(ctx context.Context, o *owner, q dns.Question) ([]dns.RR, error) {
	var nodes []endpoint
	switch {
	case o.kind == kindService:
		return nil, nil
	case o.kind == kindSelf:
		return ofType(r.ownAddresses(q.Name), q.Qtype), nil
	case o.kind == kindNode && !o.node.up:
		return nil, errNodeDown
	case o.kind == kindNode:
		nodes = []endpoint{o.node}
	case len(o.places) == 0:
		return nil, errNoCluster
	default:
		nodes = o.places[0].nodes
	}
	found, err := r.locate(ctx, nodes, q.Qtype)
	if err != nil {
		return nil, err
	}
	return r.addressRecords(q.Name, found), nil
}

// addressRecords leaves out addresses that occur twice, as nodes that differ in
// the port only do.
func (r *responder) addressRecords(name string, found []located) []dns.RR {
	var out []dns.RR
	seen := map[netip.Addr]bool{}
	for _, l := range found {
		for _, ip := range l.ips {
			if !seen[ip] {
				seen[ip] = true
				out = append(out, r.addressRecord(name, ip, min(l.ttl, r.ttl)))
			}
		}
	}
	return out
}

func (r *responder) addressRecord(name string, ip netip.Addr, ttl uint32) dns.RR {
	if ip.Is4() {
		h := r.header(name, dns.TypeA)
		h.Ttl = ttl
		return &dns.A{Hdr: h, A: ip.AsSlice()}
	}
	h := r.header(name, dns.TypeAAAA)
	h.Ttl = ttl
	return &dns.AAAA{Hdr: h, AAAA: ip.AsSlice()}
}

// ownAddresses are those of this server; none where it listens on all of them,
// because which one the client can reach is not known.
func (r *responder) ownAddresses(name string) []dns.RR {
	ip := r.addr.Addr().Unmap().WithZone("")
	if ip.IsUnspecified() {
		return nil
	}
	return []dns.RR{r.addressRecord(name, ip, r.ttl)}
}

func ofType(rrs []dns.RR, qtype uint16) []dns.RR {
	var out []dns.RR
	for _, rr := range rrs {
		if rr.Header().Rrtype == qtype {
			out = append(out, rr)
		}
	}
	return out
}

// services are the SRV records of all clusters behind the name. A cluster's
// priority is its place in the order of preference, so a client that fails over by
// SRV goes where the proxy would go.
func (r *responder) services(ctx context.Context, o *owner, name string) (answer, extra []dns.RR, err error) {
	if len(o.places) == 0 {
		return nil, nil, errNoCluster
	}
	var nodes []endpoint
	for priority, p := range o.places {
		for _, e := range p.nodes {
			answer = append(answer, r.service(name, uint16(priority), e))
		}
		nodes = append(nodes, p.nodes...)
	}
	return answer, r.additionals(ctx, nodes), nil
}

func (r *responder) service(name string, priority uint16, e endpoint) dns.RR {
	weight := uint16(weightHealthy)
	if e.degraded {
		weight = weightDegraded
	}
	return &dns.SRV{
		Hdr: r.header(name, dns.TypeSRV), Priority: priority, Weight: weight,
		Port: e.port, Target: e.target,
	}
}

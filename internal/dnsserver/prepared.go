package dnsserver

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// Offsets and bits of a message's header (RFC 1035, 4.1.1).
const (
	headerSize = 12
	bitRD      = 0x01 // of the third byte
	bitAD      = 0x20 // of the fourth
	bitCD      = 0x10
)

// prepared are answers of one zone in wire format, made when they are first asked
// for. They hold until the next topology, so they are few: only for names that exist
// and types that they may have.
type prepared struct {
	mu      sync.RWMutex
	answers map[string]*packed // by asked.key
}

// packed is an answer with id 0. It repeats the question at its beginning, and names
// in it that are the question's point there, so the client's spelling is kept.
type packed struct {
	packet  []byte
	counter prometheus.Counter
}

func (p *prepared) get(key []byte) *packed {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.answers[string(key)]
}

func (p *prepared) put(key []byte, a *packed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answers == nil {
		p.answers = make(map[string]*packed)
	}
	p.answers[string(key)] = a
}

// The forms of a question that have answers of their own.
const (
	formPlain byte = iota
	formEDNS
	formEDNSSec // with the DO bit
)

// asked is a question as it came, read without a copy.
type asked struct {
	name  []byte // wire format
	qtype uint16
	form  byte
	limit int // of the answer's size
}

// key is the question in lower case; buf is where it is made.
func (a asked) key(buf []byte) []byte {
	buf = append(buf[:0], a.form, byte(a.qtype>>8), byte(a.qtype))
	for _, b := range a.name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		buf = append(buf, b)
	}
	return buf
}

// maxKey is the longest key: the form, the type, a name.
const maxKey = 3 + 255

// quick answers a UDP packet with a prepared answer, written to out. Nil sends the
// packet the long way: whatever is unusual in the least goes there.
func (r *responder) quick(packet, out []byte, from netip.Addr) []byte {
	a, ok := readQuestion(packet)
	if !ok || !r.cfg.allowed(from) {
		return nil
	}
	var buf [maxKey]byte
	answer := r.view().prepared.get(a.key(buf[:]))
	if answer == nil || len(answer.packet) > min(a.limit, len(out)) || !r.limits.allow(from) {
		return nil
	}
	out = out[:copy(out, answer.packet)]
	copy(out, packet[:2])
	out[2] |= packet[2] & bitRD
	out[3] |= packet[3] & bitCD
	copy(out[headerSize:], a.name)
	answer.counter.Inc()
	return out
}

// readQuestion reads a packet that holds one plain question of class IN, and at most
// an OPT record beside it; false for all others.
func readQuestion(packet []byte) (a asked, ok bool) {
	if len(packet) < headerSize || packet[2]&^bitRD != 0 || packet[3]&^(bitAD|bitCD) != 0 {
		return a, false
	}
	counts := binary.BigEndian.Uint64(packet[4:headerSize])
	const oneQuestion, oneAdditional = 1 << 48, 1
	if counts != oneQuestion && counts != oneQuestion+oneAdditional {
		return a, false
	}
	rest := packet[headerSize:]
	size := nameSize(rest)
	if size == 0 || len(rest) < size+4 || binary.BigEndian.Uint16(rest[size+2:]) != dns.ClassINET {
		return a, false
	}
	a.name, a.qtype, a.limit = rest[:size], binary.BigEndian.Uint16(rest[size:]), dns.MinMsgSize
	rest = rest[size+4:]
	if counts == oneQuestion {
		return a, len(rest) == 0
	}
	return a, a.readOPT(rest)
}

// nameSize is the length of an uncompressed name in wire format; 0 if there is none.
func nameSize(b []byte) int {
	const longestLabel, longestName = 63, 255
	for i := 0; i < len(b) && i < longestName; i += int(b[i]) + 1 {
		switch {
		case b[i] == 0:
			return i + 1
		case b[i] > longestLabel:
			return 0
		}
	}
	return 0
}

// readOPT reads an OPT record of version 0 that ends the packet. Its options are of no
// matter to the zone's answers.
func (a *asked) readOPT(b []byte) bool {
	const fixed = 11 // the root's name, type, size, extended code, version, flags, length
	if len(b) < fixed || b[0] != 0 || binary.BigEndian.Uint16(b[1:]) != dns.TypeOPT || b[5] != 0 || b[6] != 0 {
		return false
	}
	a.form = formEDNS
	if b[7]&0x80 != 0 {
		a.form = formEDNSSec
	}
	a.limit = min(max(int(binary.BigEndian.Uint16(b[3:])), dns.MinMsgSize), ednsSize)
	return int(binary.BigEndian.Uint16(b[9:])) == len(b)-fixed
}

// prepare makes the answer to req for all who ask the same from now on, if it follows
// from the zone alone.
func (r *responder) prepare(ctx context.Context, z *zone, req *dns.Msg) {
	q := req.Question[0]
	name := dns.CanonicalName(q.Name)
	o, ok := z.names[name]
	if !ok || !o.fixed() || !preparable(q.Qtype) {
		return
	}
	plain := new(dns.Msg).SetQuestion(name, q.Qtype)
	plain.Id, plain.RecursionDesired = 0, false
	form := formPlain
	if opt := req.IsEdns0(); opt != nil {
		plain.SetEdns0(ednsSize, opt.Do())
		form = formEDNS
		if opt.Do() {
			form = formEDNSSec
		}
	}
	wire := make([]byte, maxKey)
	size, err := dns.PackDomainName(name, wire, 0, nil, false)
	key := asked{name: wire[:size], qtype: q.Qtype, form: form}.key(nil)
	if err != nil || z.prepared.get(key) != nil {
		return
	}
	resp, err := r.answerZone(ctx, z, plain)
	if err != nil {
		return
	}
	resp = withEDNS(plain, resp, nil)
	resp.Compress = true
	if packet, err := resp.Pack(); err == nil && len(packet) <= ednsSize {
		z.prepared.put(key, &packed{packet: packet, counter: r.metrics.query(q.Qtype, resp.Rcode)})
	}
}

// preparable are the types that are asked for often; there are so few that all forms
// of all of them fit.
func preparable(qtype uint16) bool {
	switch qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeHTTPS:
		return true
	}
	return false
}

// fixed reports whether all answers for the name follow from the zone: no node's
// address has to be looked up.
func (o *owner) fixed() bool {
	if o.kind == kindNode {
		return o.node.ip.IsValid()
	}
	for _, p := range o.places {
		for _, e := range p.nodes {
			if !e.ip.IsValid() {
				return false
			}
		}
	}
	return true
}

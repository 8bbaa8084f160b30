package dnsserver

import (
	"math"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/miekg/dns"
)

// The cache of forwarded answers takes at most cacheEntries × cacheEntrySize bytes
// of wire format.
const (
	cacheEntries   = 4096
	cacheEntrySize = 4096
	cacheLongest   = time.Hour
	cacheNegative  = 5 * time.Minute
)

// cache keeps forwarded answers for as long as they hold.
type cache struct {
	entries *lru.Cache[question, cached]
}

// cached is never changed after it is stored.
type cached struct {
	msg             *dns.Msg
	stored, expires time.Time
}

func newCache() *cache {
	entries, err := lru.New[question, cached](cacheEntries)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &cache{entries: entries}
}

// get gives a copy whose TTLs have shrunk by the age, or nil.
func (c *cache) get(q question) *dns.Msg {
	e, ok := c.entries.Get(q)
	if !ok {
		return nil
	}
	now := time.Now()
	if !now.Before(e.expires) {
		c.entries.Remove(q)
		return nil
	}
	m := e.msg.Copy()
	age := uint32(now.Sub(e.stored) / time.Second)
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			rr.Header().Ttl -= min(age, rr.Header().Ttl)
		}
	}
	return m
}

// put stores what may be stored; it does not keep m itself.
func (c *cache) put(q question, m *dns.Msg) {
	ttl := lifetime(m)
	if ttl <= 0 || m.Truncated || m.Len() > cacheEntrySize {
		return
	}
	now := time.Now()
	c.entries.Add(q, cached{msg: m.Copy(), stored: now, expires: now.Add(ttl)})
}

// lifetime is how long an answer holds: the shortest TTL, and for a negative one
// what its SOA says (RFC 2308). Without a SOA a negative answer is not kept.
func lifetime(m *dns.Msg) time.Duration {
	switch {
	case m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 && hasType(m.Answer, m.Question[0].Qtype):
		return min(seconds(shortestTTL(m.Answer)), cacheLongest)
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return 0
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			shortest := min(soa.Hdr.Ttl, soa.Minttl, shortestTTL(m.Answer))
			return min(seconds(shortest), cacheNegative)
		}
	}
	return 0
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

func hasType(rrs []dns.RR, qtype uint16) bool {
	return qtype == dns.TypeANY || len(ofType(rrs, qtype)) > 0
}

// shortestTTL is the largest number for no records at all.
func shortestTTL(rrs []dns.RR) uint32 {
	shortest := uint32(math.MaxUint32)
	for _, rr := range rrs {
		shortest = min(shortest, rr.Header().Ttl)
	}
	return shortest
}

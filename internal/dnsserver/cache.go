package dnsserver

import (
	"math"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/miekg/dns"
)

// The cache takes at most Config.CacheSize × cacheEntrySize bytes of wire format.
const (
	cacheEntrySize = 4096
	cacheLongest   = time.Hour
	cacheNegative  = 5 * time.Minute
	// staleTTL is that of answers that have expired (RFC 8767, 5).
	staleTTL = 30
	// An answer is fetched anew when it was asked for so often and the last tenth of
	// its life has begun.
	popularHits = 3
	lastPart    = 10
)

// cache keeps forwarded answers for as long as they hold, and those that have expired
// for as long as they may be of use.
type cache struct {
	entries *lru.Cache[question, *cached] // nil: nothing is kept
	stale   time.Duration
}

// cached is one answer; the message is never changed.
type cached struct {
	msg             *dns.Msg
	stored, expires time.Time
	hits            atomic.Int32
	due             atomic.Bool // somebody was told to fetch it anew
}

// freshness is what an answer from the cache is worth.
type freshness int

const (
	missing freshness = iota
	expired           // for the case that no new one can be had
	fresh
	due // fresh, and to be fetched anew; said once
)

func newCache(size int, stale time.Duration) *cache {
	if size == 0 {
		return &cache{}
	}
	entries, err := lru.New[question, *cached](size)
	if err != nil {
		panic(err) // the size is positive
	}
	return &cache{entries: entries, stale: stale}
}

// get gives a copy whose TTLs have shrunk by the age.
func (c *cache) get(q question) (*dns.Msg, freshness) {
	if c.entries == nil {
		return nil, missing
	}
	e, ok := c.entries.Get(q)
	if !ok {
		return nil, missing
	}
	now := time.Now()
	switch {
	case now.Before(e.expires):
		age := uint32(now.Sub(e.stored) / time.Second)
		return withTTLs(e.msg, func(ttl uint32) uint32 { return ttl - min(age, ttl) }), e.hit(now)
	case now.Before(e.expires.Add(c.stale)):
		return withTTLs(e.msg, func(uint32) uint32 { return staleTTL }), expired
	}
	c.entries.Remove(q)
	return nil, missing
}

// hit tells the first who asks for a popular answer near its end.
func (e *cached) hit(now time.Time) freshness {
	popular := e.hits.Add(1) >= popularHits
	if popular && e.expires.Sub(now) <= e.expires.Sub(e.stored)/lastPart && e.due.CompareAndSwap(false, true) {
		return due
	}
	return fresh
}

func withTTLs(m *dns.Msg, change func(uint32) uint32) *dns.Msg {
	m = m.Copy()
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			rr.Header().Ttl = change(rr.Header().Ttl)
		}
	}
	return m
}

// put stores what may be stored; it does not keep m itself.
func (c *cache) put(q question, m *dns.Msg) {
	ttl := lifetime(m)
	if c.entries == nil || ttl <= 0 || m.Truncated || m.Len() > cacheEntrySize {
		return
	}
	now := time.Now()
	c.entries.Add(q, &cached{msg: m.Copy(), stored: now, expires: now.Add(ttl)})
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

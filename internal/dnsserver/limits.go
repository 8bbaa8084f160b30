package dnsserver

import (
	"net/netip"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// limitedSources is how many sources are told apart; who has not asked for longest is
// forgotten first.
const limitedSources = 8192

// limits bounds how often one source may ask, so that a forged one is not flooded
// and a broken one does not take all. Who asks from this machine is not limited:
// nobody can forge that from outside, and one local resolver asks for many.
type limits struct {
	perSecond int
	sources   *lru.Cache[netip.Addr, *rate.Limiter]
}

// newLimits is nil where nothing is limited.
func newLimits(perSecond int) *limits {
	if perSecond <= 0 {
		return nil
	}
	sources, err := lru.New[netip.Addr, *rate.Limiter](limitedSources)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &limits{perSecond: perSecond, sources: sources}
}

// allow takes one question of a source into account. An IPv6 source is its /64: one
// host has as many addresses of that as it likes.
func (l *limits) allow(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	if l == nil || from.IsLoopback() {
		return true
	}
	if from.Is6() {
		from = netip.PrefixFrom(from, 64).Masked().Addr()
	}
	each, ok := l.sources.Get(from)
	if !ok {
		each = rate.NewLimiter(rate.Limit(l.perSecond), l.perSecond)
		if other, found, _ := l.sources.PeekOrAdd(from, each); found {
			each = other
		}
	}
	return each.Allow()
}

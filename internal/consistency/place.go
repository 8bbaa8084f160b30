package consistency

import (
	"slices"
	"time"
)

// Place is a cluster that may be asked.
type Place struct {
	Home      string
	ClusterID string        // Vault's own; empty while unknown
	Primary   bool          // it takes the writes: nothing is newer
	Lag       time.Duration // behind the primary; negative while unknown
}

// Standing is what can be said of a place before it is asked.
type Standing uint8

// The standings, the best first.
const (
	Has   Standing = iota // what is needed is there
	Asks                  // Vault will tell by the index, and is likely to say yes
	Tells                 // the answer will tell by its version
	Later                 // it is likely not to be there: Vault will tell by the index, or it is no harm
	Lacks                 // it is likely not to be there, and nobody will tell
)

// At tells how a place stands. compares says whether clusters compare each other's
// indexes; margin is how old a measured lag may be.
func (n Need) At(p Place, compares Compares, margin time.Duration, now time.Time) Standing {
	standing := Has
	for _, w := range n.writes {
		if !w.visible(p, margin, now) {
			standing = max(standing, n.unsure(w, p, compares, now))
		}
	}
	return standing
}

// visible reports whether a write can be read at a place for certain, as far as the
// clocks and the measured lag can tell.
func (w write) visible(p Place, margin time.Duration, now time.Time) bool {
	age := now.Sub(w.at)
	switch {
	case p.Primary, p.Home == w.home:
		return true
	case p.Lag < 0:
		return false
	}
	return age > min(p.Lag+margin, holdMax)
}

func (n Need) unsure(w write, p Place, compares Compares, now time.Time) Standing {
	own := n.covered(w, p.ClusterID)
	switch {
	case w.indexed && (own || compares == Yes):
		if p.Lag >= 0 && now.Sub(w.at) < p.Lag-shortWait {
			return Later
		}
		return Asks
	case w.indexed && n.versions && compares == Unknown:
		return Tells
	}
	if !w.must {
		return Later
	}
	return Lacks
}

// Must reports whether old is worse than nothing.
func (n Need) Must() bool { return n.must }

// Verifiable reports whether the answer tells by a version if it is fresh enough.
func (n Need) Verifiable() bool { return n.versions }

// Knows reports whether there is a state that the cluster of this id gave itself.
func (n Need) Knows(clusterID string) bool {
	return slices.ContainsFunc(n.states, func(s state) bool { return s.cluster == clusterID })
}

// covered reports whether a cluster itself gave a state that holds the write: with the
// write's answer, or later, because what it knows of the primary only grows.
func (n Need) covered(w write, clusterID string) bool {
	return slices.ContainsFunc(n.states, func(s state) bool { return s.cluster == clusterID && !s.at.Before(w.at) })
}

// Indexes are the values of X-Vault-Index to send to a place: its own states, and those
// of others if it may compare them; never merged.
func (n Need) Indexes(p Place, compares Compares) []string {
	var out []string
	for _, s := range n.states {
		if s.cluster == p.ClusterID || compares != No && !p.Primary {
			out = append(out, s.index)
		}
	}
	return out
}

// Wait is how long it is worth to ask a place again that said it lacks the state.
func (n Need) Wait(p Place, now time.Time) time.Duration {
	var newest time.Time
	for _, w := range n.writes {
		if w.at.After(newest) {
			newest = w.at
		}
	}
	left := shortWait
	if p.Lag >= 0 {
		left = p.Lag - now.Sub(newest)
	}
	return min(max(left, shortWait/4), shortWait)
}

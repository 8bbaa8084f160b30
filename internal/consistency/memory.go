// Package consistency remembers what a session wrote and read, and decides which
// clusters have it: so that a client reads its own writes everywhere, and does not go
// back in time.
//
// It only remembers and decides; requests are the proxy's matter. Two things can tell
// that a cluster has what is needed: Vault itself, asked with X-Vault-Index (Enterprise),
// or the time since the write beside the measured lag. The version of a kv secret, where
// an answer tells it, proves the answer.
package consistency

import (
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/vrproxy/vrproxy/routing"
)

// The bounds of what is remembered.
const (
	maxWrites   = 64               // of one session; of more, the older half is one: anything
	maxVersions = 50_000           // of secrets that all sessions read or wrote
	forget      = 10 * time.Minute // what is older is taken for replicated
	roughly     = 10 * time.Second // how exact the order of last use is
	// holdMax bounds how long a write is waited for at a secondary whose lag is known: one
	// that lost its primary lags more and more, and what it has not got may be lost.
	holdMax = time.Minute
	// shortWait is how far behind a cluster may be for it to be asked with an index: Vault
	// will say no, and it is asked again.
	shortWait = 200 * time.Millisecond
)

// Memory is what is remembered for one session. It is safe for concurrent use.
type Memory struct {
	lenient  bool // of all sessions
	mu       sync.Mutex
	used     time.Time
	stirred  time.Time // when it was last made the most recently used
	writes   []write
	states   []state
	versions *lru.Cache[seen, version] // of all sessions
	last     struct {                  // what was seen last, which is mostly seen again
		scope routing.Scope
		version
	}
}

// seen is a secret in the eyes of one session.
type seen struct {
	by    *Memory
	scope routing.Scope
}

// write is one change, and where it surely can be read.
type write struct {
	scope   routing.Scope
	home    string
	at      time.Time
	indexed bool // its answer carried an index
	version bool // its answer told the version that it made, which Saw was told
	// must is true for what a read may not be without. A policy, a mount, what another
	// session wrote: without these an answer may be a refusal, but it is no old secret, so
	// when nobody has them, anybody is asked.
	must bool
}

type version struct {
	number uint64
	home   string
	at     time.Time
}

// Wrote notes a write, which the cluster of a home has; index is the X-Vault-Index of its
// answer, empty without one or without an answer, and number the version that it made of a
// secret, 0 if it tells none.
func (m *Memory) Wrote(s routing.Scope, home, index string, number uint64, now time.Time) {
	if s.Mount == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = now
	if number > 0 {
		m.sawLocked(s, number, home, now)
	}
	if index != "" {
		m.states = merge(m.states, index, now)
	}
	w := write{scope: s, home: home, at: now, indexed: index != "", version: number > 0, must: !s.Everything && !m.lenient}
	for i := range m.writes {
		if m.writes[i].scope == s {
			m.writes[i] = w
			return
		}
	}
	m.pruneLocked(now)
	if len(m.writes) >= maxWrites {
		m.summariseLocked()
	}
	m.writes = append(m.writes, w)
}

func (m *Memory) pruneLocked(now time.Time) {
	kept := m.writes[:0]
	for _, w := range m.writes {
		if now.Sub(w.at) < forget {
			kept = append(kept, w)
		}
	}
	m.writes = kept
}

// summariseLocked makes one of the older half: that anything may have been written. It is
// no reason to refuse what was not.
func (m *Memory) summariseLocked() {
	slices.SortStableFunc(m.writes, func(a, b write) int { return a.at.Compare(b.at) })
	half := len(m.writes) / 2
	all := m.writes[half-1]
	all.scope, all.must, all.version = routing.Scope{Mount: all.scope.Mount, Everything: true}, false, false
	for _, w := range m.writes[:half] {
		all.indexed = all.indexed && w.indexed
	}
	m.writes = append([]write{all}, m.writes[half:]...)
}

// Inherit takes over what another session wrote: a token that it made depends on it.
func (m *Memory) Inherit(from *Memory, now time.Time) {
	from.mu.Lock()
	from.pruneLocked(now)
	writes, states := append([]write(nil), from.writes...), append([]state(nil), from.states...)
	from.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range writes {
		w.must = false
		m.writes = append(m.writes, w)
	}
	if len(m.writes) > maxWrites {
		m.summariseLocked()
	}
	for _, s := range states {
		m.states = merge(m.states, s.index, s.at)
	}
}

// over reports whether nothing of it matters any more.
func (m *Memory) over(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Sub(m.used) > forget
}

// Empty reports whether nothing written is remembered.
func (m *Memory) Empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.writes) == 0
}

// stirs reports whether a use has to be noted in the order of last use.
func (m *Memory) stirs(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.stirred) < roughly {
		return false
	}
	m.stirred = now
	return true
}

// Saw notes the version of a secret in an answer of a home. What is more is not lower:
// the secret was made anew.
func (m *Memory) Saw(s routing.Scope, number uint64, home string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sawLocked(s, number, home, now)
}

func (m *Memory) sawLocked(s routing.Scope, number uint64, home string, now time.Time) {
	if l := &m.last; l.number == number && l.home == home && now.Sub(l.at) < roughly && l.scope == s {
		return
	}
	m.last.scope, m.last.version = s, version{number, home, now}
	m.versions.Add(seen{m, s}, m.last.version)
}

// Gone forgets the version of a secret that is not there any more.
func (m *Memory) Gone(s routing.Scope) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.scope == s {
		m.last.version = version{}
	}
	m.versions.Remove(seen{m, s})
}

// Older reports whether an answer of a home with this version of a secret is older than
// what the session had before; 0 is an answer without the secret.
func (m *Memory) Older(s routing.Scope, number uint64, home string, now time.Time) bool {
	v, ok := m.had(s)
	return ok && now.Sub(v.at) < forget && v.number > number && v.home != home
}

func (m *Memory) had(s routing.Scope) (version, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.scope == s && m.last.number > 0 {
		return m.last.version, true
	}
	return m.versions.Peek(seen{m, s}) // Saw notes the use
}

// Need is what a read has to find: the writes that it may show.
type Need struct {
	writes   []write
	states   []state
	must     bool // old is worse than nothing
	versions bool // each made a version of what is read, so that of the answer tells
}

// Need tells what a read needs; ok is false when nothing the session wrote matters to it.
func (m *Memory) Need(read routing.Scope, now time.Time) (n Need, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = now
	n.versions = true
	for _, w := range m.writes {
		if now.Sub(w.at) < forget && w.scope.Meets(read) {
			n.writes, n.must = append(n.writes, w), n.must || w.must
			n.versions = n.versions && w.version && w.scope == read
		}
	}
	if len(n.writes) == 0 {
		return Need{}, false
	}
	n.states = append(n.states, m.states...)
	n.versions = n.versions && m.versions.Contains(seen{m, read}) // not pushed out
	return n, true
}

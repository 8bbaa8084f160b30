package consistency

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/vrproxy/vrproxy/routing"
)

// Compares says whether a cluster compares an index that another cluster of its set gave.
type Compares int32

// What is known of it.
const (
	Unknown Compares = iota
	Yes
	No
)

func (c Compares) String() string { return [...]string{"unknown", "yes", "no"}[c] }

// Mechanism is how it is made sure that a cluster has what a session wrote.
type Mechanism string

// The mechanisms.
const (
	Auto  Mechanism = "auto"  // Index once Vault has shown that it works between clusters, Keys until then
	Index Mechanism = "index" // Vault is asked, with X-Vault-Index
	Keys  Mechanism = "keys"  // what was written is read where it was written, until it must be everywhere
)

// sweepEvery is how often what is over is forgotten.
const sweepEvery = time.Minute

// Config is what Memories need.
type Config struct {
	Max       int           // sessions that something is remembered for; default 10000
	Mechanism Mechanism     // default Auto
	Margin    time.Duration // how old a measured lag may be; default 3.2s
}

// Memories holds the memory of each session. It is safe for concurrent use.
type Memories struct {
	cfg      Config
	of       *lru.Cache[key, *Memory]
	versions *lru.Cache[seen, version]
	shared   *Memory // writes that logins depend on, of all sessions
	compares atomic.Int32
}

type key struct {
	session uint64
	name    string
}

// New makes empty memories.
func New(cfg Config) (*Memories, error) {
	if cfg.Max <= 0 {
		cfg.Max = 10000
	}
	if cfg.Mechanism == "" {
		cfg.Mechanism = Auto
	}
	if cfg.Margin <= 0 {
		cfg.Margin = 3200 * time.Millisecond
	}
	of, err := lru.New[key, *Memory](cfg.Max)
	if err != nil {
		return nil, fmt.Errorf("making the memory of sessions: %w", err)
	}
	versions, err := lru.New[seen, version](maxVersions)
	if err != nil {
		return nil, fmt.Errorf("making the memory of secrets: %w", err)
	}
	m := &Memories{cfg: cfg, of: of, versions: versions, shared: &Memory{lenient: true, versions: versions}}
	switch cfg.Mechanism {
	case Index:
		m.compares.Store(int32(Yes))
	case Keys:
		m.compares.Store(int32(No))
	}
	return m, nil
}

// Of gives what is remembered for a session, and for an application by its name if it
// shares the session with others; nil when that is nothing. now counts as its use.
func (m *Memories) Of(session uint64, name string, now time.Time) *Memory {
	found, _ := m.find(key{session, name}, now)
	return found
}

// find notes a use in the order of last use, which is exact to roughly: noting takes a lock
// that all requests share, and memory that nobody else looks at.
func (m *Memories) find(k key, now time.Time) (*Memory, bool) {
	found, ok := m.of.Peek(k)
	if ok && found.stirs(now) {
		m.of.Get(k)
	}
	return found, ok
}

// For is Of, and begins to remember.
func (m *Memories) For(session uint64, name string, now time.Time) *Memory {
	k := key{session, name}
	if found, ok := m.find(k, now); ok {
		return found
	}
	k = key{session, strings.Clone(name)} // else the request that it came with would be kept
	fresh := &Memory{versions: m.versions, used: now, stirred: now}
	if first, ok, _ := m.of.PeekOrAdd(k, fresh); ok {
		return first
	}
	return fresh
}

// Run forgets what is over, until ctx ends.
func (m *Memories) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			m.sweep(now)
		}
	}
}

func (m *Memories) sweep(now time.Time) {
	for _, k := range m.of.Keys() {
		if one, ok := m.of.Peek(k); ok && one.over(now) {
			m.of.Remove(k)
		}
	}
	for {
		_, v, ok := m.versions.GetOldest()
		if !ok || now.Sub(v.at) <= forget {
			return
		}
		m.versions.RemoveOldest()
	}
}

// Shared is what logins depend on, whoever wrote it: they have no session yet.
func (m *Memories) Shared() *Memory { return m.shared }

// ForLogins reports whether logins may depend on a write.
func ForLogins(s routing.Scope) bool { return s.Everything || strings.HasPrefix(s.Mount, "auth/") }

// Compares is what is known of the clusters.
func (m *Memories) Compares() Compares { return Compares(m.compares.Load()) }

// Learn notes that a cluster was seen to compare the index of another, or not to. It has
// no effect where the mechanism is fixed.
func (m *Memories) Learn(compares bool) {
	if m.cfg.Mechanism != Auto {
		return
	}
	found := No
	if compares {
		found = Yes
	}
	m.compares.Store(int32(found))
}

// Mechanism is the one in use now.
func (m *Memories) Mechanism() Mechanism {
	if m.Compares() == Yes {
		return Index
	}
	return Keys
}

// Margin is how old a measured lag may be.
func (m *Memories) Margin() time.Duration { return m.cfg.Margin }

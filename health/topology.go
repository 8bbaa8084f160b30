// Package health knows how the Vault clusters are. It probes every node,
// listens to what real requests report, and publishes one immutable Topology
// that all other rooms read.
//
// Probing ([Checker]) and judging (the pure functions in judge.go) are apart:
// the judgement can be tested without a socket or a clock.
package health

import (
	"slices"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// Role is what a cluster is in its replication set.
type Role string

// The roles of a cluster. They are discovered from sys/health and
// sys/replication/status unless the configuration pins them.
const (
	RoleUnknown    Role = "unknown"
	RolePrimary    Role = "primary"    // owns all replicated writes
	RoleSecondary  Role = "secondary"  // performance secondary
	RoleDR         Role = "dr"         // disaster-recovery secondary: serves nothing until promoted
	RoleStandalone Role = "standalone" // replicates with nobody
)

// State says whether a cluster or node may be used.
type State string

// The states of clusters and nodes.
const (
	StateHealthy  State = "healthy"
	StateDegraded State = "degraded" // usable, but a failure was just seen or no node is ideal
	StateDown     State = "down"
	StateDrained  State = "drained" // taken out by an operator
)

// Node is one Vault server of a cluster, as last seen.
type Node struct {
	Address string // base URL as configured, e.g. https://10.1.0.4:8200
	State   State
	Reason  string        // why State is not healthy; empty otherwise
	Active  bool          // the node leads its cluster
	Standby bool          // it said that it does not, when it was last heard of
	Led     bool          // it has led since the proxy started
	Serves  bool          // the node answers client requests itself or forwards them inside its cluster
	RTT     time.Duration // decaying average; 0 while unknown
	Struck  bool          // requests failed there and none was served since: tell Succeeded
	Share   float64       // part of the requests it should get, up to 1: less while it comes back
}

// Cluster is one Vault cluster, as last seen.
type Cluster struct {
	Name   string
	Region string
	DROf   string // name of the cluster whose DR copy this is; empty otherwise
	Order  int    // position in the configuration, from 0
	Role   Role
	Pinned bool // Role comes from the configuration
	State  State
	Reason string        // why State is not healthy; empty otherwise
	RTT    time.Duration // of the best node; 0 while unknown
	Share  float64       // part of the requests it should get, up to 1: less while it comes back
	Lag    time.Duration // replication lag behind the primary; negative while unknown
	// ClusterID is Vault's own id of the cluster; empty while unknown.
	ClusterID string
	// SetID names the replication set the cluster belongs to (performance.cluster_id
	// of sys/replication/status); empty while unknown.
	SetID string
	// Disbelieved is true for a cluster that was lost as primary, and says that it is one
	// now that the set follows another.
	Disbelieved bool
	// Linked is true while a secondary reports a working connection to its primary.
	Linked bool
	// Replication is what the cluster said of its replication when it was last heard of.
	Replication replication.Status
	Nodes       []Node // best first

	followed  bool // a primary that sees a secondary connected to it
	streaming bool // a secondary that is not syncing anew
	wal       replication.Number
	caughtUp  time.Time // when a secondary last had all that its primary had, where only that tells its lag
}

// Usable reports whether the cluster may be sent client requests.
func (c *Cluster) Usable() bool {
	return (c.State == StateHealthy || c.State == StateDegraded) && c.Role != RoleDR
}

// Keeps reports whether what lives on the cluster alone (leases, tokens, wrapping
// tokens) can be reached there: a drained cluster takes nothing new and keeps
// serving what it holds.
func (c *Cluster) Keeps() bool {
	return c.Usable() || (c.State == StateDrained && c.answers() && c.Role != RoleDR)
}

// Home is the name under which the cluster's tokens and leases are kept: a DR
// copy holds the same ones as the cluster it copies, so the pair is one home.
func (c *Cluster) Home() string {
	if c.DROf != "" {
		return c.DROf
	}
	return c.Name
}

// Topology is one immutable picture of all clusters. Whoever holds one may read
// it without a lock and must not change it.
type Topology struct {
	Generation uint64 // grows with every published picture
	Region     string // where this proxy runs
	Clusters   []Cluster
	// Primary is the name of the one cluster that takes replicated writes; empty
	// while there is none or, with SplitBrain, more than one.
	Primary string
	// SplitBrain is true while several clusters of one set claim to be primary.
	SplitBrain bool
	// Claimants are the clusters that claim to be primary during a split brain.
	Claimants []string
}

// Cluster finds a cluster by its name.
func (t *Topology) Cluster(name string) (*Cluster, bool) {
	for i := range t.Clusters {
		if t.Clusters[i].Name == name {
			return &t.Clusters[i], true
		}
	}
	return nil, false
}

// HomeOf gives the home of a cluster by name, and the name itself where the
// cluster is not known.
func (t *Topology) HomeOf(name string) string {
	if c, ok := t.Cluster(name); ok {
		return c.Home()
	}
	return name
}

// Members lists the clusters that share a home: one cluster, or a DR pair.
func (t *Topology) Members(home string) []*Cluster {
	var members []*Cluster
	for i := range t.Clusters {
		if t.Clusters[i].Home() == home {
			members = append(members, &t.Clusters[i])
		}
	}
	return members
}

// Preference describes how clusters that could all serve a request are ordered.
type Preference struct {
	// Window is how much slower than the best a cluster may be and still count as
	// equally near.
	Window time.Duration
	// Failover is an explicit order of regions after the own one; may be empty.
	Failover []string
	// Never are regions that must not be used.
	Never []string
}

// Nearest orders all clusters that are not in a forbidden region and not a DR
// copy, most preferred first: own region, explicit failover order, round trip in
// windows of equals, position in the configuration. It looks at place only, not at
// State: leaving out what is down is the caller's decision, because when
// everything looks down the judgement itself may be what is broken.
func (t *Topology) Nearest(p Preference) []*Cluster {
	var out []*Cluster
	for i := range t.Clusters {
		c := &t.Clusters[i]
		if c.Role != RoleDR && !slices.Contains(p.Never, c.Region) {
			out = append(out, c)
		}
	}
	rank := func(c *Cluster) int {
		if c.Region == t.Region {
			return -1
		}
		if i := slices.Index(p.Failover, c.Region); i >= 0 {
			return i
		}
		return len(p.Failover)
	}
	slices.SortStableFunc(out, func(a, b *Cluster) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return compareRTT(a.RTT, b.RTT)
	})
	for start := 0; start < len(out); {
		end := start + 1
		for end < len(out) && rank(out[end]) == rank(out[start]) && equallyNear(out[start].RTT, out[end].RTT, p.Window) {
			end++
		}
		slices.SortStableFunc(out[start:end], func(a, b *Cluster) int { return a.Order - b.Order })
		start = end
	}
	return out
}

// compareRTT puts unknown round trips (0) last.
func compareRTT(a, b time.Duration) int {
	switch {
	case a == b:
		return 0
	case a == 0:
		return 1
	case b == 0 || a < b:
		return -1
	}
	return 1
}

func equallyNear(best, rtt, window time.Duration) bool {
	if best == 0 || rtt == 0 {
		return best == rtt
	}
	return rtt-best <= window
}

// Names joins the names of clusters for messages.
func Names(clusters []*Cluster) string {
	names := make([]string, len(clusters))
	for i, c := range clusters {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

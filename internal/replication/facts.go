package replication

import (
	"slices"
	"strings"
)

// Kind is one of the two kinds of replication.
type Kind string

// The kinds of replication.
const (
	Performance Kind = "performance"
	DR          Kind = "dr"
)

// String is the kind as a word in a sentence. In paths and flags it is the bare value.
func (k Kind) String() string {
	if k == DR {
		return "DR"
	}
	return string(k)
}

// Flag is the flag of the commands that means this kind.
func (k Kind) Flag() string { return "--mode " + string(k) }

// Facts are what one configured cluster says of itself. Everything that is decided here
// is decided from a list of them.
type Facts struct {
	Name      string
	Region    string
	DROf      string   // as configured
	Addresses []string // as configured

	Unreachable string // why nobody answers; empty when somebody does
	Active      string // address of the node to give orders to
	Health      Health
	Status      Status
	StatusKnown bool // false where the endpoint is switched off, and while sealed
	// ClusterAddress is where other clusters find it (sys/leader); may be empty.
	ClusterAddress string
	// Strangers are addresses of this cluster at which another cluster answers.
	Strangers []string
}

// Health is what sys/health says, as far as replication goes.
type Health struct {
	Initialized     bool   `json:"initialized"`
	Sealed          bool   `json:"sealed"`
	Standby         bool   `json:"standby"`
	PerformanceMode string `json:"replication_performance_mode"`
	DRMode          string `json:"replication_dr_mode"`
	Version         string `json:"version"`
	Enterprise      *bool  `json:"enterprise"`
	ClusterID       string `json:"cluster_id"`
	ClockSkewMS     Number `json:"clock_skew_ms"`
	CanaryAgeMS     Number `json:"replication_primary_canary_age_ms"`
}

// Community reports whether this is surely not Vault Enterprise.
func (h Health) Community() bool {
	if h.Enterprise != nil {
		return !*h.Enterprise
	}
	return h.Version != "" && !slices.ContainsFunc([]string{"+ent", "+prem", "+pro"}, func(s string) bool { return strings.Contains(h.Version, s) })
}

// Mode is what the cluster says of one kind. Where it does not show its status,
// sys/health tells the mode alone; ModeUnknown when nobody tells.
func (f Facts) Mode(k Kind) Mode {
	if f.StatusKnown {
		if k == DR {
			return f.Status.DR
		}
		return f.Status.Performance
	}
	mode := f.Health.PerformanceMode
	switch {
	case k == DR:
		mode = f.Health.DRMode
	case f.Health.DRMode == ModeSecondary: // it shows what its primary is
		mode = ModeDisabled
	}
	if f.Unreachable != "" || mode == "" {
		mode = ModeUnknown
	}
	return Mode{Mode: mode}
}

// Replicates reports whether the cluster says that it takes part in a kind.
func (f Facts) Replicates(k Kind) bool {
	mode := f.Mode(k).Mode
	return mode == ModePrimary || mode == ModeSecondary || mode == ModeBootstrapping
}

// Serving reports whether the cluster has an active node that takes orders.
func (f Facts) Serving() bool {
	return f.Unreachable == "" && f.Health.Initialized && !f.Health.Sealed && !f.Health.Standby
}

// streams reports whether a secondary keeps up with its primary.
func (m Mode) streams() bool { return m.Linked() && m.State == StateStreaming }

// Find returns the facts of a configured cluster.
func Find(all []Facts, name string) (Facts, bool) {
	i := slices.IndexFunc(all, func(f Facts) bool { return f.Name == name })
	if i < 0 {
		return Facts{}, false
	}
	return all[i], true
}

// relation is what can be said of whom a secondary follows.
type relation int

const (
	nobody relation = iota // it follows no primary
	member                 // a configured one
	stranger
	undecided // perhaps one that does not answer
)

// primaryOf tells whom a secondary follows, by name.
func primaryOf(k Kind, s Facts, all []Facts) (string, relation) {
	m, silent := s.Mode(k), false
	var sameSet string
	for _, p := range all {
		if p.Name == s.Name {
			continue
		}
		pm := p.Mode(k)
		silent = silent || pm.Mode == ModeUnknown || pm.Mode == ModePrimary && !p.StatusKnown
		if pm.Mode != ModePrimary {
			continue
		}
		if follows(m, p, pm) {
			return p.Name, member
		}
		if m.ClusterID != "" && m.ClusterID == pm.ClusterID {
			sameSet = p.Name
		}
	}
	switch {
	case !s.StatusKnown:
		return "", undecided
	case len(m.KnownPrimaryAddrs) == 0 && len(m.Primaries) == 0:
		return "", nobody
	case sameSet != "":
		return sameSet, member
	case silent:
		return "", undecided
	default:
		return "", stranger
	}
}

// follows looks for evidence that m is a secondary of p: the cluster address that it
// replicates from, or the API address of the node at the other end. Those of p may be
// behind a load balancer, so that none is no proof of the contrary.
func follows(m Mode, p Facts, pm Mode) bool {
	for _, a := range m.KnownPrimaryAddrs {
		if a != "" && (a == p.ClusterAddress || a == pm.PrimaryClusterAddr) {
			return true
		}
	}
	for _, peer := range m.Primaries {
		if slices.Contains(p.Addresses, strings.TrimSuffix(peer.APIAddress, "/")) {
			return true
		}
	}
	sameSet := m.ClusterID == "" || pm.ClusterID == "" || m.ClusterID == pm.ClusterID
	return sameSet && m.SecondaryID != "" && len(m.KnownPrimaryAddrs)+len(m.Primaries) > 0 && slices.Contains(pm.KnownSecondaries, m.SecondaryID)
}

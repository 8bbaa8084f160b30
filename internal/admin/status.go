package admin

import (
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/replication"
)

// Status is the answer of /status, which others may rely on: fields are added, not
// changed.
type Status struct {
	Region     string          `json:"region"`
	Version    string          `json:"version"`
	Generation uint64          `json:"generation"`
	Primary    string          `json:"primary"` // empty while there is none
	SplitBrain bool            `json:"split_brain"`
	Claimants  []string        `json:"claimants,omitempty"` // during a split brain
	Clusters   []ClusterStatus `json:"clusters"`            // in the order of the configuration
	Sessions   int             `json:"sessions"`
	// Consistency is how clients come to read their own writes.
	Consistency ConsistencyStatus `json:"consistency"`
	// Reads and Writes say which cluster is asked first now, why, and since when.
	Reads  Target `json:"reads"`
	Writes Target `json:"writes"`
	// LastFailover is the last event of that kind; left out while there was none.
	LastFailover *Event `json:"last_failover,omitempty"`
}

// ConsistencyStatus is the guarantee that is given, and by what.
type ConsistencyStatus struct {
	Level     string `json:"level"`     // session or none, as configured
	Mechanism string `json:"mechanism"` // index, keys or none: what is in use now
	// Compares says whether clusters were seen to compare each other's X-Vault-Index: yes,
	// no or unknown.
	Compares string `json:"compares"`
}

// ClusterStatus is one cluster in Status. Times are in milliseconds, null while
// unknown.
type ClusterStatus struct {
	Name      string       `json:"name"`
	Region    string       `json:"region"`
	DROf      string       `json:"dr_of,omitempty"`
	Role      health.Role  `json:"role"`
	State     health.State `json:"state"`
	Reason    string       `json:"reason"`
	RTTms     *float64     `json:"rtt_ms"`
	LagMs     *float64     `json:"lag_ms"`
	ClusterID string       `json:"cluster_id"`
	Nodes     []NodeStatus `json:"nodes"`
	// Order is the place in the order of preference for reads, from 1, whatever the
	// state; 0 for a cluster that is not read from: a DR copy or a forbidden region.
	Order  int `json:"order"`
	Tokens int `json:"tokens"`
	Leases int `json:"leases"`
	// Replication is what the cluster says of each kind; absent where it says nothing.
	Replication *ReplicationStatus `json:"replication,omitempty"`
	// Since is when State began, or when the proxy began to look.
	Since time.Time `json:"since,omitzero"`
	// Requests counts those that the cluster has answered, by class.
	Requests map[string]uint64 `json:"requests,omitempty"`
}

// ReplicationStatus is the replication of one cluster; `vrproxy replication status` tells
// what is wrong with it.
type ReplicationStatus struct {
	Performance LinkStatus `json:"performance"`
	DR          LinkStatus `json:"dr"`
}

// LinkStatus is one kind of replication at one cluster.
type LinkStatus struct {
	Mode        string   `json:"mode"`
	State       string   `json:"state"`
	Connection  string   `json:"connection"`
	LastWAL     *int64   `json:"last_wal"`    // written by a primary, received by a secondary
	Secondaries []string `json:"secondaries"` // known to a primary
	Connected   int      `json:"connected"`   // of these
}

// NodeStatus is one node in ClusterStatus.
type NodeStatus struct {
	Address string       `json:"address"`
	State   health.State `json:"state"`
	Reason  string       `json:"reason"`
	Active  bool         `json:"active"`
	RTTms   *float64     `json:"rtt_ms"`
}

func (s *Server) serveStatus(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, s.status())
}

// status is the picture of this moment; without a topology one with no clusters.
func (s *Server) status() Status {
	t := s.cfg.Topology()
	if t == nil {
		t = &health.Topology{}
	}
	st := Status{
		Region: t.Region, Version: s.cfg.Version, Generation: t.Generation,
		Primary: t.Primary, SplitBrain: t.SplitBrain, Claimants: t.Claimants,
		Clusters: make([]ClusterStatus, len(t.Clusters)), Sessions: s.cfg.Counts.Sessions(),
	}
	if s.cfg.Consistency != nil {
		st.Consistency = s.cfg.Consistency()
	}
	nearest, requests := t.Nearest(s.cfg.Preference()), s.cfg.Requests()
	past, states, failover := s.cfg.Events.since()
	for i := range t.Clusters {
		c := &t.Clusters[i]
		st.Clusters[i] = clusterStatus(c, 1+slices.Index(nearest, c), s.cfg.Counts)
		st.Clusters[i].Since, st.Clusters[i].Requests = states[c.Name], requests[c.Name]
	}
	now := s.cfg.Serving()
	st.Reads, st.Writes, st.LastFailover = sinceWhen(now.Reads, past.Reads), sinceWhen(now.Writes, past.Writes), failover
	return st
}

// sinceWhen adds the time, where the history has got as far as the present.
func sinceWhen(now, past Target) Target {
	if now.Cluster == past.Cluster {
		now.Since = past.Since
	}
	return now
}

func clusterStatus(c *health.Cluster, order int, counts Counts) ClusterStatus {
	cs := ClusterStatus{
		Name: c.Name, Region: c.Region, DROf: c.DROf, Role: c.Role, State: c.State, Reason: c.Reason,
		RTTms: rttMs(c.RTT), LagMs: lagMs(c.Lag), ClusterID: c.ClusterID,
		Nodes: make([]NodeStatus, len(c.Nodes)), Order: order,
		Tokens: counts.Tokens(c.Name), Leases: counts.Leases(c.Name),
	}
	if r := c.Replication; r.Performance.Mode != "" {
		cs.Replication = &ReplicationStatus{
			Performance: linkStatus(r.Performance, r.Performance.LastPerformanceWAL),
			DR:          linkStatus(r.DR, r.DR.LastDRWAL),
		}
	}
	for i, n := range c.Nodes {
		cs.Nodes[i] = NodeStatus{Address: n.Address, State: n.State, Reason: n.Reason, Active: n.Active, RTTms: rttMs(n.RTT)}
	}
	return cs
}

func linkStatus(m replication.Mode, written replication.Number) LinkStatus {
	out := LinkStatus{Mode: m.Mode, State: m.State, Connection: m.ConnectionState, Secondaries: m.KnownSecondaries, Connected: connected(m)}
	if m.Mode == replication.ModeSecondary {
		written = m.LastRemoteWAL
	}
	if written.Known {
		out.LastWAL = &written.Value
	}
	return out
}

// connected counts the secondaries that a primary is connected to.
func connected(m replication.Mode) int {
	n := 0
	for _, p := range m.Secondaries {
		if p.ConnectionStatus == "connected" {
			n++
		}
	}
	return n
}

func rttMs(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	return milliseconds(d)
}

func lagMs(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	return milliseconds(d)
}

// milliseconds are rounded to microseconds: more digits are noise.
func milliseconds(d time.Duration) *float64 {
	ms := math.Round(float64(d)/float64(time.Microsecond)) / 1000
	return &ms
}

package health

import (
	"slices"
	"time"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// rttWeight is the weight of a new sample in the decaying average of round trips
// (MongoDB's drivers use the same).
const rttWeight = 0.2

// nodeState is all that is remembered of one node. It is a value: folding a new
// observation in gives the next one.
type nodeState struct {
	address string
	origin  string        // the configured address that it stands behind
	kick    chan struct{} // wakes its probe loop
	probed  bool
	up      bool
	suspect bool // a request failed since the last good probe
	fails   int  // failures in a row
	oks     int  // good probes in a row
	reason  string
	rtt     time.Duration
	report  Report
	status  replication.Status

	led      bool      // it was the active node once
	falls    int       // how often it went down lately
	lastFall time.Time // when it last did
	strikes  int       // failed requests since one was served
	held     time.Time // until when it is used after all others
	rose     time.Time // when it came back; zero: it was never down
}

func newNode(address, origin string) nodeState {
	return nodeState{address: address, origin: origin, kick: make(chan struct{}, 1)}
}

// thresholds are how many observations in a row change a node's state.
type thresholds struct{ fall, rise int }

// good folds in a probe that the node answered.
func (n nodeState) good(r Report, s *replication.Status, th thresholds, now time.Time) nodeState {
	first := !n.probed
	n.probed, n.report, n.rtt = true, r, blend(n.rtt, r.Took)
	if s != nil {
		n.status = *s
	}
	if why := r.refusal(); why != "" { // its own word needs no repetition
		if n.up {
			n = n.fell(now)
		}
		n.up, n.suspect, n.oks, n.fails, n.reason = false, false, 0, th.fall, why
		return n
	}
	n.oks, n.fails, n.suspect = n.oks+1, 0, false
	n.led = n.led || !r.Standby
	if n.up || first || n.oks >= th.rise {
		if !n.up && !first {
			n.rose = now
		}
		n.up, n.reason = true, ""
	}
	return n
}

// bad folds in a probe that failed.
func (n nodeState) bad(why string, th thresholds, now time.Time) nodeState {
	n.fails, n.oks, n.reason = n.fails+1, 0, why
	n.suspect = n.up
	if n.fails >= th.fall || !n.probed {
		if n.up {
			n = n.fell(now)
		}
		n.up, n.suspect = false, false
	}
	n.probed = true
	return n
}

// doubted folds in a failed request. Many requests fail at the same moment, so
// only the first since the last probe counts.
func (n nodeState) doubted(why string, th thresholds, now time.Time) nodeState {
	if !n.up || n.suspect || now.Before(n.held) {
		return n
	}
	return n.struck(now).bad(why, th, now)
}

// served folds in that a request was served.
func (n nodeState) served() nodeState {
	n.strikes = 0
	return n
}

func blend(old, sample time.Duration) time.Duration {
	if old == 0 {
		return sample
	}
	return old + time.Duration(rttWeight*float64(sample-old))
}

func (n nodeState) node(now time.Time) Node {
	out := Node{Address: n.address, Reason: n.reason, RTT: n.rtt, State: StateDown, Struck: n.strikes > 0, Share: n.share(now)}
	out.Active, out.Standby, out.Led = n.up && !n.report.Standby, n.report.Standby, n.led
	out.Serves = n.up
	switch {
	case n.up && n.suspect:
		out.State = StateDegraded
	case n.up && now.Before(n.held):
		out.State, out.Reason = StateDegraded, "held back for a while: it failed lately"
	case n.up:
		out.State = StateHealthy
	case !n.probed:
		out.Reason = "not probed yet"
	}
	return out
}

// better orders nodes of a cluster: healthy before degraded before down, then the
// active node, then performance standbys, then the shorter round trip.
func better(a, b nodeState, now time.Time) int {
	rank := func(n nodeState) int {
		switch {
		case !n.up:
			return 4
		case n.suspect || now.Before(n.held):
			return 3
		case !n.report.Standby:
			return 0
		case n.report.PerformanceStandby:
			return 1
		}
		return 2
	}
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	return compareRTT(a.rtt, b.rtt)
}

// authority is the node whose word about the whole cluster counts: nodes are
// given best first, a node that is up before one that is not.
func authority(nodes []nodeState) (nodeState, bool) {
	for _, n := range nodes {
		if n.up {
			return n, true
		}
	}
	return nodeState{}, false
}

// judgeCluster makes the picture of one cluster from its nodes, best first. prev
// is the last picture: a role once known is kept while nobody tells otherwise.
func judgeCluster(c ClusterConfig, order int, nodes []nodeState, drained bool, prev Cluster, now time.Time) Cluster {
	out := Cluster{
		Name: c.Name, Region: c.Region, DROf: c.DROf, Order: order,
		Role: prev.Role, SetID: prev.SetID, ClusterID: prev.ClusterID, Lag: -1, State: StateDown,
	}
	if out.Role == "" {
		out.Role = RoleUnknown
	}
	for _, n := range nodes {
		out.Nodes = append(out.Nodes, n.node(now))
	}
	out.Reason = out.Nodes[0].Reason
	if n, ok := authority(nodes); ok {
		out.State, out.Reason = out.Nodes[0].State, out.Nodes[0].Reason
		out.RTT, out.Share = n.rtt, out.Nodes[0].Share
		out.describe(n)
	}
	if c.Role != "" {
		out.Role, out.Pinned = c.Role, true
	}
	if drained {
		out.State, out.Reason = StateDrained, "drained by an operator"
	}
	return out
}

// describe takes over what the cluster's best node says about all of it.
func (c *Cluster) describe(n nodeState) {
	if role := n.report.role(); role != RoleUnknown {
		c.Role = role
	}
	if n.report.ClusterID != "" {
		c.ClusterID = n.report.ClusterID
	}
	c.Replication = n.status
	if id := n.status.Performance.ClusterID; id != "" {
		c.SetID = id
	}
	switch c.Role {
	case RolePrimary:
		c.Lag, c.followed, c.wal = 0, n.status.Performance.Followed(), n.status.Performance.LastPerformanceWAL
	case RoleSecondary:
		c.streaming, c.wal = n.status.Performance.State == replication.StateStreaming || n.status.Performance.State == "", n.status.Performance.LastRemoteWAL
		c.Linked = n.status.Performance.Linked()
		c.Lag = lag(n)
	}
}

func lag(n nodeState) time.Duration {
	if n.report.CanaryAgeMS != nil {
		return time.Duration(*n.report.CanaryAgeMS) * time.Millisecond
	}
	return n.status.Performance.CanaryAge()
}

// measureLags tells the lag of secondaries without a canary (Vault before 1.17): it is
// the time since they had all that the primary had written, by their write-ahead logs.
// One that syncs anew has no log to compare, so it lags from then on.
func measureLags(prev, next *Topology, now time.Time) {
	primary, ok := next.Cluster(next.Primary)
	for i := range next.Clusters {
		was, is := &prev.Clusters[i], &next.Clusters[i]
		if is.Role != RoleSecondary || is.Lag >= 0 {
			continue
		}
		is.caughtUp = was.caughtUp
		level := ok && is.streaming && primary.wal.Known && is.wal.Known && is.wal.Value >= primary.wal.Value
		if level || is.caughtUp.IsZero() {
			is.caughtUp = now
		}
		if !is.streaming || ok && primary.wal.Known && is.wal.Known {
			is.Lag = now.Sub(is.caughtUp)
		}
	}
}

// disbelieve marks the clusters that come back from being lost and still say that they
// are primary, while the set has followed another: what they hold is old, and what they
// are told would be lost. It ends when they say otherwise, or when their secondaries are
// theirs again and not the other's.
func disbelieve(prev, next *Topology) {
	for i := range next.Clusters {
		was, is := &prev.Clusters[i], &next.Clusters[i]
		if is.Role != RolePrimary || is.Pinned || !is.answers() {
			continue
		}
		other, ok := next.Cluster(prev.Primary)
		returns := !was.answers() && was.Role == RolePrimary && ok && other.Name != is.Name && other.answers() && other.Role == RolePrimary
		if (returns || was.Disbelieved) && (!is.followed || ok && other.followed) {
			is.Disbelieved, is.State = true, StateDown
			is.Reason = "it says that it is primary, but the set follows " + prev.Primary
		}
	}
}

// electPrimary finds the one cluster that takes writes. A pinned role wins over
// claims. A primary that does not answer keeps its name as long as no other claims
// it. Where all clusters are one home (one cluster, or a DR pair that does not
// replicate otherwise), the standalone one is its own primary.
func electPrimary(t *Topology) {
	var claims, pinned, lost []string
	alone := oneHome(t)
	for i := range t.Clusters {
		c := &t.Clusters[i]
		if c.Role != RolePrimary && (!alone || c.Role != RoleStandalone) {
			continue
		}
		switch {
		case c.Disbelieved:
		case c.Pinned && c.Role == RolePrimary:
			pinned = append(pinned, c.Name)
		case !c.answers():
			lost = append(lost, c.Name)
		default:
			claims = append(claims, c.Name)
		}
	}
	switch {
	case len(pinned) == 1:
		t.Primary = pinned[0]
	case len(claims) == 1:
		t.Primary = claims[0]
	case len(claims) > 1:
		t.SplitBrain, t.Claimants = true, claims
	case len(lost) == 1:
		t.Primary = lost[0]
	}
}

func oneHome(t *Topology) bool {
	return !slices.ContainsFunc(t.Clusters, func(c Cluster) bool { return c.Home() != t.Clusters[0].Home() })
}

// answers tells a cluster whose nodes are up from one that is down, also while it
// is drained.
func (c *Cluster) answers() bool {
	return slices.ContainsFunc(c.Nodes, func(n Node) bool { return n.Serves })
}

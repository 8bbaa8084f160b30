package health

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// serving is the report of an active node without replication.
func serving(change ...func(*Report)) Report {
	r := Report{Initialized: true, PerformanceMode: replication.ModeDisabled, DRMode: replication.ModeDisabled}
	for _, c := range change {
		c(&r)
	}
	return r
}

func TestNodeJudgement(t *testing.T) {
	t.Parallel()
	th := thresholds{fall: 3, rise: 2}
	var now time.Time
	good := func(n nodeState) nodeState { return n.good(serving(), nil, th, now) }
	bad := func(n nodeState) nodeState { return n.bad("timeout", th, now) }
	doubt := func(n nodeState) nodeState { return n.doubted("request failed", th, now) }
	says := func(change func(*Report)) func(nodeState) nodeState {
		return func(n nodeState) nodeState { return n.good(serving(change), nil, th, now) }
	}
	sealed := says(func(r *Report) { r.Sealed = true })
	no := false
	for _, c := range []struct {
		name   string
		events []func(nodeState) nodeState
		want   State
		reason string
	}{
		{"not asked yet", nil, StateDown, "not probed yet"},
		{"the first good probe is enough", []func(nodeState) nodeState{good}, StateHealthy, ""},
		{"the first bad probe is enough", []func(nodeState) nodeState{bad}, StateDown, "timeout"},
		{"one bad probe makes doubt", []func(nodeState) nodeState{good, bad}, StateDegraded, "timeout"},
		{"two are not enough", []func(nodeState) nodeState{good, bad, bad}, StateDegraded, "timeout"},
		{"fall in a row are", []func(nodeState) nodeState{good, bad, bad, bad}, StateDown, "timeout"},
		{"a good one in between starts over", []func(nodeState) nodeState{good, bad, bad, good, bad, bad}, StateDegraded, "timeout"},
		{"one good probe ends the doubt", []func(nodeState) nodeState{good, bad, good}, StateHealthy, ""},
		{"one good probe does not bring it back", []func(nodeState) nodeState{good, bad, bad, bad, good}, StateDown, "timeout"},
		{"rise in a row do", []func(nodeState) nodeState{good, bad, bad, bad, good, good}, StateHealthy, ""},
		{"flapping does not", []func(nodeState) nodeState{good, bad, bad, bad, good, bad, good}, StateDown, "timeout"},
		{"a failed request makes doubt", []func(nodeState) nodeState{good, doubt}, StateDegraded, "request failed"},
		{"many requests that fail at once count once", []func(nodeState) nodeState{good, doubt, doubt, doubt, doubt}, StateDegraded, "request failed"},
		{"probes confirm what requests saw", []func(nodeState) nodeState{good, doubt, bad, bad}, StateDown, "timeout"},
		{"a failed request says nothing new of a node that is down", []func(nodeState) nodeState{bad, doubt}, StateDown, "timeout"},
		{"a node's own word needs no repetition", []func(nodeState) nodeState{good, sealed}, StateDown, "sealed"},
		{"unsealed has to rise", []func(nodeState) nodeState{good, sealed, good}, StateDown, "sealed"},
		{"unsealed and risen", []func(nodeState) nodeState{good, sealed, good, good}, StateHealthy, ""},
		{"not initialised", []func(nodeState) nodeState{says(func(r *Report) { r.Initialized = false })}, StateDown, "not initialized"},
		{"removed", []func(nodeState) nodeState{says(func(r *Report) { r.Removed = true })}, StateDown, "removed from its cluster"},
		{"licence gone", []func(nodeState) nodeState{says(func(r *Report) { r.License.Terminated = true })}, StateDown, "license terminated"},
		{"a standby that lost its leader", []func(nodeState) nodeState{says(func(r *Report) { r.Standby, r.HAConnection = true, &no })}, StateDown, "standby without a connection to its active node"},
		{"a standby serves", []func(nodeState) nodeState{says(func(r *Report) { r.Standby = true })}, StateHealthy, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var n nodeState
			for _, e := range c.events {
				n = e(n)
			}
			if got := n.node(now.Add(holdMax)); got.State != c.want || got.Reason != c.reason {
				t.Errorf("%s (%s), want %s (%s)", got.State, got.Reason, c.want, c.reason)
			}
		})
	}
}

func TestRoundTripsAreBlended(t *testing.T) {
	t.Parallel()
	var n nodeState
	for _, took := range []time.Duration{100, 100, 200, 0} {
		n = n.good(serving(func(r *Report) { r.Took = took * time.Millisecond }), nil, thresholds{1, 1}, time.Time{})
	}
	if n.rtt != 96*time.Millisecond { // 100, 100, 120, 96
		t.Errorf("round trip %v, want 96ms", n.rtt)
	}
}

func TestBetterNodesComeFirst(t *testing.T) {
	t.Parallel()
	node := func(name string, up, suspect, standby, performance bool, rtt time.Duration) nodeState {
		return nodeState{address: name, up: up, suspect: suspect, rtt: rtt, report: Report{Standby: standby, PerformanceStandby: performance}}
	}
	nodes := []nodeState{
		node("down", false, false, false, false, 1),
		node("doubted", true, true, false, false, 1),
		node("standby", true, false, true, false, 1),
		node("far performance standby", true, false, true, true, 9),
		node("performance standby of unknown distance", true, false, true, true, 0),
		node("near performance standby", true, false, true, true, 3),
		node("active", true, false, false, false, 99),
	}
	slices.SortStableFunc(nodes, func(a, b nodeState) int { return better(a, b, time.Now()) })
	var got []string
	for _, n := range nodes {
		got = append(got, n.address)
	}
	want := "active, near performance standby, far performance standby, performance standby of unknown distance, standby, doubted, down"
	if strings.Join(got, ", ") != want {
		t.Errorf("order %s", strings.Join(got, ", "))
	}
}

func TestElectPrimary(t *testing.T) {
	t.Parallel()
	cluster := func(name string, role Role, up bool, change ...func(*Cluster)) Cluster {
		c := Cluster{Name: name, Role: role, State: StateDown, Nodes: []Node{{Serves: up}}}
		if up {
			c.State = StateHealthy
		}
		for _, f := range change {
			f(&c)
		}
		return c
	}
	pinned := func(c *Cluster) { c.Pinned = true }
	drained := func(c *Cluster) { c.State = StateDrained }
	drOf := func(name string) func(*Cluster) { return func(c *Cluster) { c.DROf = name } }
	for _, c := range []struct {
		name     string
		clusters []Cluster
		want     string
		split    string // claimants
	}{
		{"one claims", []Cluster{cluster("a", RolePrimary, true), cluster("b", RoleSecondary, true)}, "a", ""},
		{"nobody claims", []Cluster{cluster("a", RoleSecondary, true), cluster("b", RoleUnknown, true)}, "", ""},
		{"two claim", []Cluster{cluster("a", RolePrimary, true), cluster("b", RolePrimary, true)}, "", "a b"},
		{"a pinned one wins over claims", []Cluster{cluster("a", RolePrimary, true), cluster("b", RolePrimary, true, pinned)}, "b", ""},
		{"a pinned one that is down is still the one", []Cluster{cluster("a", RolePrimary, true), cluster("b", RolePrimary, false, pinned)}, "b", ""},
		{"a lost primary keeps its name", []Cluster{cluster("a", RolePrimary, false), cluster("b", RoleSecondary, true)}, "a", ""},
		{"the DR copy was promoted while the old primary is down", []Cluster{cluster("a", RolePrimary, false), cluster("a-dr", RolePrimary, true, drOf("a"))}, "a-dr", ""},
		{"the old primary comes back as primary", []Cluster{cluster("a", RolePrimary, true), cluster("a-dr", RolePrimary, true, drOf("a"))}, "", "a a-dr"},
		{"both lost: no guess", []Cluster{cluster("a", RolePrimary, false), cluster("b", RolePrimary, false)}, "", ""},
		{"a drained primary still claims", []Cluster{cluster("a", RolePrimary, true, drained), cluster("b", RolePrimary, true)}, "", "a b"},
		{"a drained primary that was switched off does not", []Cluster{cluster("a", RolePrimary, false, drained), cluster("b", RolePrimary, true)}, "b", ""},
		{"one cluster alone is its own primary", []Cluster{cluster("a", RoleStandalone, true)}, "a", ""},
		{"also while it is down", []Cluster{cluster("a", RoleStandalone, false)}, "a", ""},
		{"two that do not replicate: none", []Cluster{cluster("a", RoleStandalone, true), cluster("b", RoleStandalone, true)}, "", ""},
		{"two that do not replicate, one pinned", []Cluster{cluster("a", RoleStandalone, true), cluster("b", RolePrimary, true, pinned)}, "b", ""},
		{"a cluster and its DR copy, no other replication", []Cluster{cluster("a", RoleStandalone, true), cluster("a-dr", RoleDR, true, drOf("a"))}, "a", ""},
		{"the same after the promotion", []Cluster{cluster("a", RoleStandalone, false), cluster("a-dr", RoleStandalone, true, drOf("a"))}, "a-dr", ""},
		{"the same when the old one comes back", []Cluster{cluster("a", RoleStandalone, true), cluster("a-dr", RoleStandalone, true, drOf("a"))}, "", "a a-dr"},
		{"no clusters", nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			top := &Topology{Clusters: c.clusters}
			electPrimary(top)
			if top.Primary != c.want || top.SplitBrain != (c.split != "") || strings.Join(top.Claimants, " ") != c.split {
				t.Errorf("primary %q, split brain %v of %v; want %q, %q", top.Primary, top.SplitBrain, top.Claimants, c.want, c.split)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	top := &Topology{Region: "eu", Clusters: []Cluster{
		{Name: "us-b", Region: "us", RTT: 85 * ms, Order: 0},
		{Name: "us-a", Region: "us", RTT: 80 * ms, Order: 1},
		{Name: "ap", Region: "ap", RTT: 90 * ms, Order: 2},
		{Name: "eu", Region: "eu", RTT: 300 * ms, Order: 3},
		{Name: "us-dr", Region: "us", Role: RoleDR, DROf: "us-a", RTT: ms, Order: 4},
		{Name: "new", Region: "sa", Order: 5},
	}}
	for _, c := range []struct {
		name string
		p    Preference
		want string
	}{
		{"own region even when it is slow, unknown last, no DR copies", Preference{}, "eu, us-a, us-b, ap, new"},
		{"a window of equals", Preference{Window: 5 * ms}, "eu, us-b, us-a, ap, new"},
		{"the window begins at the best", Preference{Window: 6 * ms}, "eu, us-b, us-a, ap, new"},
		{"a wide window", Preference{Window: 10 * ms}, "eu, us-b, us-a, ap, new"},
		{"failover order", Preference{Failover: []string{"sa", "ap"}}, "eu, new, ap, us-a, us-b"},
		{"never", Preference{Never: []string{"us", "eu"}}, "ap, new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := Names(top.Nearest(c.p)); got != c.want {
				t.Errorf("order %s, want %s", got, c.want)
			}
		})
	}
}

func TestADRPairIsOneHome(t *testing.T) {
	t.Parallel()
	top := &Topology{Clusters: []Cluster{{Name: "us"}, {Name: "us-dr", DROf: "us"}, {Name: "eu"}}}
	if got := Names(top.Members("us")); got != "us, us-dr" {
		t.Errorf("members %s", got)
	}
	for name, home := range map[string]string{"us": "us", "us-dr": "us", "eu": "eu", "elsewhere": "elsewhere"} {
		if got := top.HomeOf(name); got != home {
			t.Errorf("home of %s is %s, want %s", name, got, home)
		}
	}
}

// The old primary comes back after its DR copy was promoted: it is not believed, and
// nothing stops, until the graph says so.
func TestTheOldPrimaryIsNotBelieved(t *testing.T) {
	t.Parallel()
	type side struct {
		role     Role
		up       bool
		followed bool
	}
	step := func(prev *Topology, old, promoted side) *Topology {
		next := &Topology{}
		for i, s := range []side{old, promoted} {
			c := Cluster{Name: []string{"old", "new"}[i], Role: s.role, State: StateDown, Nodes: []Node{{Serves: s.up}}, followed: s.followed}
			if s.up {
				c.State = StateHealthy
			}
			next.Clusters = append(next.Clusters, c)
		}
		disbelieve(prev, next)
		electPrimary(next)
		return next
	}
	primary := func(up, followed bool) side { return side{RolePrimary, up, followed} }
	lost := step(&Topology{Primary: "old", Clusters: make([]Cluster, 2)}, primary(false, false), side{RoleDR, true, false})
	promoted := step(lost, primary(false, false), primary(true, true))
	if promoted.Primary != "new" {
		t.Fatalf("primary is %q", promoted.Primary)
	}
	back := step(promoted, primary(true, false), primary(true, true))
	if back.Primary != "new" || back.SplitBrain || !back.Clusters[0].Disbelieved || back.Clusters[0].Usable() {
		t.Errorf("%+v", back)
	}
	if still := step(back, primary(true, false), primary(true, true)); still.Primary != "new" || !still.Clusters[0].Disbelieved {
		t.Errorf("believed after a while: %+v", still)
	}
	if alone := step(back, primary(true, false), primary(false, false)); alone.Primary == "old" {
		t.Error("the new one is lost, and the old one is believed without anybody who follows it")
	}
	if agreed := step(back, primary(true, true), side{RoleDR, true, false}); agreed.Primary != "old" || agreed.Clusters[0].Disbelieved {
		t.Errorf("the set follows it again: %+v", agreed)
	}
	if demoted := step(back, side{RoleSecondary, true, false}, primary(true, true)); demoted.Primary != "new" || demoted.Clusters[0].Disbelieved || !demoted.Clusters[0].Usable() {
		t.Errorf("as a secondary it serves: %+v", demoted)
	}
	// One that was there all the time and is promoted makes a split brain.
	there := step(promoted, side{RoleSecondary, true, false}, primary(true, true))
	if split := step(there, primary(true, false), primary(true, true)); !split.SplitBrain {
		t.Errorf("two claim it: %+v", split)
	}
}

// Without a canary, lag is the time since a secondary had all that the primary had.
func TestLagByWriteAheadLogs(t *testing.T) {
	t.Parallel()
	wal := func(n int64) replication.Number { return replication.Number{Value: n, Known: true} }
	at := time.Now()
	picture := func(primary, secondary replication.Number, streaming bool) *Topology {
		return &Topology{Primary: "p", Clusters: []Cluster{
			{Name: "p", Role: RolePrimary, wal: primary},
			{Name: "s", Role: RoleSecondary, Lag: -1, wal: secondary, streaming: streaming},
		}}
	}
	prev := picture(wal(1), wal(1), true)
	for i, c := range []struct {
		after     time.Duration
		p, s      replication.Number
		streaming bool
		want      time.Duration
	}{
		{0, wal(10), wal(10), true, 0},
		{time.Second, wal(11), wal(10), true, time.Second},
		{2 * time.Second, wal(15), wal(11), true, 3 * time.Second},
		{time.Second, wal(15), wal(15), true, 0},
		{time.Second, wal(16), replication.Number{}, false, time.Second}, // syncing anew
		{time.Second, wal(16), replication.Number{}, true, -1},           // not told
	} {
		at = at.Add(c.after)
		next := picture(c.p, c.s, c.streaming)
		measureLags(prev, next, at)
		if got := next.Clusters[1].Lag; got != c.want {
			t.Errorf("step %d: lag %v, want %v", i, got, c.want)
		}
		prev = next
	}
}

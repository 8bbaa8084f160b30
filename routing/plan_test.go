package routing

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/health"
)

// world is a replication set seen from eu: a near secondary, a second one in the
// region, the primary across the ocean with its DR copy, and a far secondary.
func world(change ...func(*health.Topology)) *health.Topology {
	ms := time.Millisecond
	t := &health.Topology{Region: "eu", Primary: "us", Clusters: []health.Cluster{
		{Name: "us", Region: "us", Role: health.RolePrimary, RTT: 80 * ms},
		{Name: "us-dr", Region: "us", Role: health.RoleDR, DROf: "us", RTT: 70 * ms},
		{Name: "ap", Region: "ap", Role: health.RoleSecondary, Linked: true, RTT: 200 * ms},
		{Name: "eu-1", Region: "eu", Role: health.RoleSecondary, Linked: true, RTT: 3 * ms},
		{Name: "eu-2", Region: "eu", Role: health.RoleSecondary, Linked: true, RTT: 2 * ms},
	}}
	for i := range t.Clusters {
		t.Clusters[i].State, t.Clusters[i].Order = health.StateHealthy, i
	}
	for _, c := range change {
		c(t)
	}
	return t
}

func state(name string, s health.State) func(*health.Topology) {
	return with(name, func(c *health.Cluster) { c.State = s })
}

func with(name string, change func(*health.Cluster)) func(*health.Topology) {
	return func(t *health.Topology) {
		c, _ := t.Cluster(name)
		change(c)
	}
}

func everywhere(s health.State) func(*health.Topology) {
	return func(t *health.Topology) {
		for i := range t.Clusters {
			t.Clusters[i].State = s
		}
	}
}

// order writes a plan's candidates down; a star marks a way round.
func order(p Plan) string {
	var out []string
	for _, c := range p.Candidates {
		name := c.Name
		if c.WayRound {
			name += "*"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func TestPlan(t *testing.T) {
	t.Parallel()
	read, write := Decision{Class: Nearest}, Decision{Class: Primary}
	owner, operator := Decision{Class: Owner}, Decision{Class: Operator}
	split := func(t *health.Topology) { t.Primary, t.SplitBrain, t.Claimants = "", true, []string{"us", "us-dr"} }
	promoted := func(t *health.Topology) {
		state("us", health.StateDown)(t)
		with("us-dr", func(c *health.Cluster) { c.Role = health.RolePrimary })(t)
		t.Primary = "us-dr"
	}
	unlinked := func(names ...string) func(*health.Topology) {
		return func(t *health.Topology) {
			for _, n := range names {
				with(n, func(c *health.Cluster) { c.Linked = false })(t)
			}
		}
	}
	never := Preferences{Preference: health.Preference{Never: []string{"us"}}}
	for _, c := range []struct {
		name     string
		prefs    Preferences
		topology *health.Topology
		decision Decision
		limits   Constraint
		want     string
		last     bool
		unasked  bool
		refused  Code
		text     string // part of the refusal
	}{
		{name: "own region first, then by round trip", topology: world(), decision: read, want: "eu-2 eu-1 us ap"},
		{name: "within the window the configuration decides", prefs: Preferences{Preference: health.Preference{Window: 5 * time.Millisecond}}, topology: world(), decision: read, want: "eu-1 eu-2 us ap"},
		{name: "explicit failover order", prefs: Preferences{Preference: health.Preference{Failover: []string{"ap"}}}, topology: world(), decision: read, want: "eu-2 eu-1 ap us"},
		{name: "a forbidden region serves no reads", prefs: never, topology: world(), decision: read, want: "eu-2 eu-1 ap"},
		{name: "a forbidden region serves no writes, the way round does", prefs: never, topology: world(), decision: write, want: "eu-2* eu-1* ap*"},
		{name: "a forbidden region is no owner", prefs: never, topology: world(), decision: owner, limits: Constraint{Home: "us"}, refused: OwnerUnavailable, text: "us"},
		{name: "a forbidden region cannot be pinned", prefs: never, topology: world(), decision: operator, limits: Constraint{Pin: "us"}, refused: NoHealthyCluster, text: "routing.never"},
		{name: "down and drained are left out", topology: world(state("eu-2", health.StateDown), state("us", health.StateDrained)), decision: read, want: "eu-1 ap"},
		{name: "degraded after healthy", topology: world(state("eu-2", health.StateDegraded)), decision: read, want: "eu-1 us ap eu-2"},
		{name: "what has come back gets a few", topology: world(with("eu-2", func(c *health.Cluster) { c.Share = 0.3 })), decision: read, limits: Constraint{Lot: 0.2}, want: "eu-2 eu-1 us ap"},
		{name: "and the others go on to the next", topology: world(with("eu-2", func(c *health.Cluster) { c.Share = 0.3 })), decision: read, limits: Constraint{Lot: 0.3}, want: "eu-1 eu-2 us ap"},
		{name: "unless that is not well", topology: world(with("eu-2", func(c *health.Cluster) { c.Share = 0.3 }), state("eu-1", health.StateDown), state("us", health.StateDegraded), state("ap", health.StateDegraded)), decision: read, limits: Constraint{Lot: 0.9}, want: "eu-2 us ap"},
		{name: "too stale is left out", prefs: Preferences{MaxStaleness: time.Second}, topology: world(with("eu-2", func(c *health.Cluster) { c.Lag = 2 * time.Second })), decision: read, want: "eu-1 us ap"},
		{name: "unknown lag is not stale", prefs: Preferences{MaxStaleness: time.Second}, topology: world(with("eu-2", func(c *health.Cluster) { c.Lag = -1 })), decision: read, want: "eu-2 eu-1 us ap"},
		{name: "when all look down all are tried", topology: world(everywhere(health.StateDown)), decision: read, want: "eu-2 eu-1 us ap", last: true},
		{name: "the last resort is not one that an operator took out", topology: world(everywhere(health.StateDown), state("eu-2", health.StateDrained)), decision: read, want: "eu-1 us ap", last: true},
		{name: "all taken out", topology: world(everywhere(health.StateDrained)), decision: read, refused: NoHealthyCluster},

		{name: "the primary itself, then the way round", topology: world(), decision: write, want: "us eu-2* eu-1* ap*"},
		{name: "writes nearest: forwarded, then the primary itself", prefs: Preferences{WritesNearest: true}, topology: world(), decision: write, want: "eu-2* eu-1* ap* us"},
		{name: "a degraded primary is still the primary", topology: world(state("us", health.StateDegraded)), decision: write, want: "us eu-2* eu-1* ap*"},
		{name: "primary not reachable from here", topology: world(state("us", health.StateDown)), decision: write, want: "eu-2* eu-1* ap*"},
		{name: "no way round without a link", topology: world(state("us", health.StateDown), unlinked("eu-1", "ap")), decision: write, want: "eu-2*"},
		{name: "primary lost", topology: world(state("us", health.StateDown), unlinked("eu-1", "eu-2", "ap")), decision: write, refused: NoPrimary, text: "the primary cluster us cannot be reached"},
		{name: "primary not known", topology: world(func(t *health.Topology) { t.Primary = "" }, unlinked("eu-1", "eu-2", "ap")), decision: write, refused: NoPrimary, text: "no primary cluster is known"},
		{name: "clusters that do not replicate", topology: world(func(t *health.Topology) {
			t.Primary = ""
			for i := range t.Clusters {
				t.Clusters[i].Role, t.Clusters[i].Linked = health.RoleStandalone, false
			}
		}), decision: write, refused: NoPrimary, text: "role: primary"},
		{name: "split brain refuses writes", topology: world(split), decision: write, refused: SplitBrain, text: "us and us-dr"},
		{name: "split brain serves reads", topology: world(split), decision: read, want: "eu-2 eu-1 us ap"},

		{name: "some writes never go round", topology: world(), decision: Decision{Class: Primary, Direct: true}, want: "us"},
		{name: "nor with writes nearest", prefs: Preferences{WritesNearest: true}, topology: world(), decision: Decision{Class: Primary, Direct: true}, want: "us"},
		{name: "and wait for the primary instead", topology: world(state("us", health.StateDown)), decision: Decision{Class: Primary, Direct: true, Reason: "it would act twice"}, refused: NoPrimary, text: "it would act twice"},

		{name: "only the owner", topology: world(), decision: owner, limits: Constraint{Home: "ap"}, want: "ap"},
		{name: "the DR copy is no owner before its promotion", topology: world(state("us", health.StateDown)), decision: owner, limits: Constraint{Home: "us"}, refused: OwnerUnavailable, text: "only cluster us"},
		{name: "the promoted DR copy is", topology: world(promoted), decision: owner, limits: Constraint{Home: "us"}, want: "us-dr"},
		{name: "the promoted DR copy takes writes", topology: world(promoted), decision: write, want: "us-dr eu-2* eu-1* ap*"},
		{name: "a bound token's writes go home too", topology: world(), decision: write, limits: Constraint{Home: "ap"}, want: "ap"},
		{name: "a token that may be valid anywhere", topology: world(), decision: write, limits: Constraint{Homes: []string{"ap", "eu-2", "us"}}, want: "ap eu-2 us"},
		{name: "a home that can't be asked", topology: world(state("ap", health.StateDown)), decision: read, limits: Constraint{Homes: []string{"ap", "us"}}, want: "us", unasked: true},
		{name: "no home that can be asked", topology: world(everywhere(health.StateDrained), state("ap", health.StateDown)), decision: read, limits: Constraint{Homes: []string{"ap"}}, refused: OwnerUnavailable},
		{name: "an owner nobody knows: the nearest", topology: world(), decision: owner, want: "eu-2 eu-1 us ap"},
		{name: "home first", topology: world(), decision: owner, limits: Constraint{Home: "ap", HomeFirst: true}, want: "ap eu-2 eu-1 us"},
		{name: "home first, when the home is down", topology: world(state("ap", health.StateDown)), decision: owner, limits: Constraint{Home: "ap", HomeFirst: true}, want: "eu-2 eu-1 us"},

		{name: "an operator request has to name its cluster", topology: world(), decision: operator, refused: OperatorRequest, text: "us, us-dr, ap, eu-1, eu-2"},
		{name: "an operator request goes where it is sent, whatever the state", topology: world(state("us-dr", health.StateDown)), decision: operator, limits: Constraint{Pin: "us-dr"}, want: "us-dr"},
		{name: "a status read needs no cluster named", topology: world(), decision: Decision{Class: Operator, StatusRead: true}, want: "eu-2 eu-1 us ap"},
		{name: "a status read needs no token either", topology: world(state("ap", health.StateDown)), decision: Decision{Class: Operator, StatusRead: true}, limits: Constraint{Home: "ap"}, want: "eu-2 eu-1 us"},
		{name: "a pin to nobody", topology: world(), decision: read, limits: Constraint{Pin: "eu"}, refused: BadRequest, text: `no cluster is called "eu"`},
		{name: "a pin wins over the class", topology: world(), decision: write, limits: Constraint{Pin: "eu-1"}, want: "eu-1"},
		{name: "a rule's cluster", topology: world(), decision: Decision{Class: Operator, Cluster: "ap"}, want: "ap"},
		{name: "a rule's cluster that is gone", topology: world(), decision: Decision{Class: Nearest, Cluster: "xx"}, refused: NoHealthyCluster, text: "xx"},
		{name: "a pin wins over a rule's cluster", topology: world(), decision: Decision{Class: Nearest, Cluster: "ap"}, limits: Constraint{Pin: "us"}, want: "us"},
		{name: "refused by a rule, pinned or not", topology: world(), decision: Decision{Class: Nearest, Refused: true, Rule: "sys/raw/*"}, limits: Constraint{Pin: "us"}, refused: RefusedByRule, text: "sys/raw/*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plan, err := NewPlanner(c.prefs).Plan(c.topology, c.decision, c.limits)
			var refusal *Refusal
			if errors.As(err, &refusal); c.refused != "" || err != nil {
				if refusal == nil || refusal.Code != c.refused || !strings.Contains(refusal.Error(), c.text) {
					t.Fatalf("refused with %v, want %q with %q", err, c.refused, c.text)
				}
				return
			}
			if got := order(plan); got != c.want || plan.LastResort != c.last {
				t.Errorf("plan %q (last resort %v), want %q (%v)", got, plan.LastResort, c.want, c.last)
			}
			if plan.Unasked != c.unasked {
				t.Errorf("unasked %v", plan.Unasked)
			}
			if plan.Decision != c.decision {
				t.Errorf("the plan forgot the decision: %+v", plan.Decision)
			}
		})
	}
}

func TestWhatMayComeBackIsWorthWaitingFor(t *testing.T) {
	t.Parallel()
	gone := world(everywhere(health.StateDrained), func(t *health.Topology) { t.Primary = "" })
	for _, c := range []struct {
		name     string
		topology *health.Topology
		decision Decision
		limits   Constraint
		wait     bool
	}{
		{"no primary", gone, Decision{Class: Primary}, Constraint{}, true},
		{"nothing to read from", gone, Decision{Class: Nearest}, Constraint{}, true},
		{"the owner is away", gone, Decision{Class: Owner}, Constraint{Home: "us"}, true},
		{"a cluster that does not exist", gone, Decision{Class: Nearest}, Constraint{Pin: "mars"}, false},
		{"an operator request", gone, Decision{Class: Operator}, Constraint{}, false},
		{"split brain, until somebody acts", world(func(t *health.Topology) { t.SplitBrain = true }), Decision{Class: Primary}, Constraint{}, false},
	} {
		_, err := NewPlanner(Preferences{}).Plan(c.topology, c.decision, c.limits)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Wait != c.wait {
			t.Errorf("%s: %+v, want wait %v", c.name, refusal, c.wait)
		}
	}
}

// A secondary that lags too far is left out until it lags half as far; and never all of
// them for nothing: the primary has no lag.
func TestStalenessHasHysteresis(t *testing.T) {
	t.Parallel()
	p := NewPlanner(Preferences{MaxStaleness: 10 * time.Second})
	for i, c := range []struct {
		lag  time.Duration
		want string
	}{{9 * time.Second, "eu-2"}, {11 * time.Second, "us"}, {9 * time.Second, "us"}, {6 * time.Second, "us"}, {5 * time.Second, "eu-2"}, {9 * time.Second, "eu-2"}} {
		lags := func(cl *health.Cluster) { cl.Lag = c.lag }
		near := p.Nearest(world(with("eu-1", lags), with("eu-2", lags), with("ap", lags)))
		if near[0].Name != c.want {
			t.Errorf("step %d: with a lag of %v reads go to %s, want %s", i, c.lag, near[0].Name, c.want)
		}
	}
	only := &health.Topology{Region: "eu", Clusters: []health.Cluster{{Name: "eu", Region: "eu", Role: health.RoleSecondary, State: health.StateHealthy, Lag: time.Hour}}}
	if near := p.Nearest(only); len(near) != 1 {
		t.Error("reads go nowhere")
	}
}

// What does not look usable is kept for the case that nothing else is.
func TestTheRestIsTriedLast(t *testing.T) {
	t.Parallel()
	topology := world(state("eu-2", health.StateDown), state("us", health.StateDrained), with("eu-1", func(c *health.Cluster) { c.Lag = time.Hour }))
	plan, err := NewPlanner(Preferences{MaxStaleness: time.Second}).Plan(topology, Decision{Class: Nearest}, Constraint{})
	if got := order(Plan{Candidates: plan.Rest}); err != nil || order(plan) != "ap" || got != "eu-2 eu-1" {
		t.Errorf("%q, then %q, %v", order(plan), got, err)
	}
	plan, _ = NewPlanner(Preferences{}).Plan(topology, Decision{Class: Primary}, Constraint{})
	if len(plan.Rest) != 0 {
		t.Error("writes go by what is known")
	}
}

func TestPlannerFollowsTheTopology(t *testing.T) {
	t.Parallel()
	p := NewPlanner(Preferences{})
	before, after := world(), world(state("eu-2", health.StateDown))
	for i, c := range []struct {
		topology *health.Topology
		want     string
	}{{before, "eu-2"}, {before, "eu-2"}, {after, "eu-1"}, {before, "eu-2"}} {
		if near := p.Nearest(c.topology); near[0].Name != c.want {
			t.Errorf("call %d: nearest is %s, want %s", i, near[0].Name, c.want)
		}
	}
	plan, _ := p.Plan(before, Decision{Class: Nearest}, Constraint{Home: "ap", HomeFirst: true})
	if again := p.Nearest(before); !slices.EqualFunc(again, plan.Candidates, func(a, b Candidate) bool { return a.Name == b.Name }) && again[0].Name != "eu-2" {
		t.Error("one request's home changed the order for all")
	}
}

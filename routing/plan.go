package routing

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vrproxy/vrproxy/health"
)

// Code names a refusal, in the contract's words (header X-Vrproxy-Error).
type Code string

// The refusals that routing itself can come to.
const (
	NoHealthyCluster Code = "no-healthy-cluster"
	NoPrimary        Code = "no-primary"
	SplitBrain       Code = "split-brain"
	OwnerUnavailable Code = "owner-unavailable"
	OperatorRequest  Code = "operator-request"
	BadRequest       Code = "bad-request"
	RefusedByRule    Code = "refused-by-rule"
)

// Refusal is why no plan can be made. Wait says that a later topology may well
// allow one (a primary may appear).
type Refusal struct {
	Code Code
	Text string // for the client; names no secret
	Wait bool
}

func (r *Refusal) Error() string { return r.Text }

// Preferences are the routing keys of the configuration.
type Preferences struct {
	health.Preference
	// WritesNearest sends writes to the nearest secondary, which forwards them.
	WritesNearest bool
	// MaxStaleness leaves out secondaries that lag further; 0 is no limit.
	MaxStaleness time.Duration
}

// Candidate is one cluster that may serve a request.
type Candidate struct {
	*health.Cluster
	// WayRound marks a secondary that is asked to forward a write because the
	// primary itself cannot be reached from here.
	WayRound bool
}

// Plan is made once per request and never changed.
type Plan struct {
	Decision
	Candidates []Candidate // in order of preference; shared, must not be modified
	// Rest are the clusters that do not look usable, for the case that no candidate
	// turns out to be: the picture may be older than the truth.
	Rest []Candidate
	// LastResort is true when no cluster looked usable and all are tried anyway:
	// the checks may be what is broken.
	LastResort bool
	// Unasked is true when one of Constraint.Homes has no cluster that can be asked.
	Unasked bool
}

// Constraint is what the exchange knows beyond the request: where its token or
// its subject lives, and what the client asked for.
type Constraint struct {
	Pin  string // X-Vrproxy-Cluster; empty: none
	Home string // the home that the token or subject is bound to; empty: none
	// HomeFirst makes Home the first choice instead of the only one.
	HomeFirst bool
	// Lot, from 0 to below 1, decides whether this request is one of the few that a
	// cluster gets that has just come back.
	Lot float64
	// Homes are all homes on which the token may be valid, the likeliest first; empty:
	// that is known, or does not matter.
	Homes []string
}

// Planner makes plans. What depends on the topology alone is worked out once per
// topology and shared by all requests.
type Planner struct {
	prefs Preferences
	cache atomic.Pointer[orders]
}

// NewPlanner makes a planner with the given preferences.
func NewPlanner(p Preferences) *Planner { return &Planner{prefs: p} }

// orders is what one topology means for each class.
type orders struct {
	topology   *health.Topology
	stale      []string // secondaries that lag too far
	nearest    []Candidate
	rest       []Candidate
	lastResort bool
	primary    []Candidate
	direct     []Candidate            // the primary without any way round
	refusal    *Refusal               // for primary
	kept       map[string][]Candidate // by home: who has what is kept there
	homes      []string               // all that may be asked, nearest first
	searches   map[string]search      // by the home that they begin with
}

// search is a way through all homes.
type search struct {
	homes      []string
	candidates []Candidate
	unasked    bool // a home has no cluster that can be asked
}

// Plan orders the clusters for a decision. The error is a *Refusal.
func (p *Planner) Plan(t *health.Topology, d Decision, c Constraint) (Plan, error) {
	plan := Plan{Decision: d}
	switch {
	case d.Refused:
		return plan, &Refusal{Code: RefusedByRule, Text: "a rule of the proxy's configuration refuses this request: " + d.Rule}
	case c.Pin != "":
		return p.pinned(t, plan, c.Pin, BadRequest)
	case d.Cluster != "":
		return p.pinned(t, plan, d.Cluster, NoHealthyCluster)
	case d.Class == Operator && !d.StatusRead:
		return plan, &Refusal{Code: OperatorRequest, Text: "this request acts on one cluster or node; name it with the header X-Vrproxy-Cluster (one of: " + strings.Join(names(t), ", ") + ")"}
	case c.Home != "" && !c.HomeFirst && !d.StatusRead: // a status read needs no token
		return p.orders(t).home(plan, c.Home)
	case len(c.Homes) > 0 && !d.StatusRead:
		return p.orders(t).through(plan, c.Homes)
	}
	o := p.orders(t)
	if d.Class == Primary {
		return o.write(t, plan)
	}
	plan.Candidates, plan.Rest, plan.LastResort = eased(o.nearest, c.Lot), o.rest, o.lastResort
	if c.Home != "" {
		plan.Candidates = homeFirst(t, o.nearest, c.Home)
	}
	if len(plan.Candidates) == 0 {
		return plan, &Refusal{Code: NoHealthyCluster, Text: "no configured cluster may serve this request", Wait: true}
	}
	return plan, nil
}

// eased gives the cluster that has just come back its share of the requests, and the
// others to the next that is as well.
func eased(nearest []Candidate, lot float64) []Candidate {
	if len(nearest) < 2 || lot < share(nearest[0]) || nearest[1].State != health.StateHealthy {
		return nearest
	}
	out := slices.Clone(nearest)
	out[0], out[1] = out[1], out[0]
	return out
}

// share of a cluster that nobody told of is all.
func share(c Candidate) float64 {
	if c.Share == 0 {
		return 1
	}
	return c.Share
}

// write plans for the primary.
func (o *orders) write(t *health.Topology, plan Plan) (Plan, error) {
	plan.Candidates = o.primary
	if plan.Direct {
		plan.Candidates = o.direct
	}
	switch {
	case o.refusal != nil:
		return plan, o.refusal
	case len(plan.Candidates) == 0:
		return plan, &Refusal{Code: NoPrimary, Text: "the primary cluster " + t.Primary + " cannot be reached, and this request may not go through a secondary: " + plan.Reason, Wait: true}
	}
	return plan, nil
}

func names(t *health.Topology) []string {
	out := make([]string, len(t.Clusters))
	for i := range t.Clusters {
		out[i] = t.Clusters[i].Name
	}
	return out
}

// Allowed reports whether a cluster may be used at all: its region is not one of
// routing.never.
func (p *Planner) Allowed(c *health.Cluster) bool {
	return !slices.Contains(p.prefs.Never, c.Region)
}

func (p *Planner) pinned(t *health.Topology, plan Plan, name string, unknown Code) (Plan, error) {
	c, ok := t.Cluster(name)
	if !ok {
		return plan, &Refusal{Code: unknown, Text: fmt.Sprintf("no cluster is called %q; configured are: %s", name, strings.Join(names(t), ", "))}
	}
	if !p.Allowed(c) {
		return plan, &Refusal{Code: NoHealthyCluster, Text: fmt.Sprintf("cluster %s is in region %s, which routing.never forbids", c.Name, c.Region)}
	}
	plan.Candidates = []Candidate{{Cluster: c}}
	return plan, nil
}

// home allows only the clusters that hold what the request names.
func (o *orders) home(plan Plan, home string) (Plan, error) {
	plan.Candidates = o.kept[home]
	if len(plan.Candidates) == 0 {
		return plan, &Refusal{Code: OwnerUnavailable, Text: fmt.Sprintf("only cluster %s holds the token, lease or flow that this request needs, and it cannot be reached", home), Wait: true}
	}
	return plan, nil
}

// through goes through all homes on which a token may be valid. What the request does is
// of no matter: the home forwards what it can't do itself.
func (o *orders) through(plan Plan, homes []string) (Plan, error) {
	s, ok := o.searches[homes[0]]
	if !ok || !slices.Equal(s.homes, homes) { // it began with another topology
		s = o.search(homes)
	}
	plan.Candidates, plan.Unasked = s.candidates, s.unasked
	if len(plan.Candidates) == 0 {
		return plan, &Refusal{Code: OwnerUnavailable, Text: "no cluster on which this token may be valid can be reached", Wait: true}
	}
	return plan, nil
}

func homeFirst(t *health.Topology, nearest []Candidate, home string) []Candidate {
	out := make([]Candidate, 0, len(nearest))
	for _, c := range nearest {
		if t.HomeOf(c.Name) == home {
			out = append(out, c)
		}
	}
	for _, c := range nearest {
		if t.HomeOf(c.Name) != home {
			out = append(out, c)
		}
	}
	return out
}

// Stale names the secondaries that are not read from because they lag too far.
func (p *Planner) Stale(t *health.Topology) []string { return p.orders(t).stale }

// Nearest returns the clusters that serve, most preferred first, as plans of class
// nearest use them. The slice is shared and must not be modified.
func (p *Planner) Nearest(t *health.Topology) []Candidate { return p.orders(t).nearest }

// Homes are all homes that may be asked: first, unless it is empty, then nearest first.
// Those that are down are among them: what nobody else knows is undecided then. The slice
// is shared and must not be modified.
func (p *Planner) Homes(t *health.Topology, first string) []string {
	o := p.orders(t)
	if first == "" {
		return o.homes
	}
	if s, ok := o.searches[first]; ok {
		return s.homes
	}
	return o.homesFrom(first) // of a cluster that is not configured any more
}

func (p *Planner) orders(t *health.Topology) *orders {
	if o := p.cache.Load(); o != nil && o.topology == t {
		return o
	}
	o := &orders{topology: t, stale: p.tooStale(t)}
	p.orderNearest(o)
	p.orderPrimary(o)
	p.orderHomes(o)
	p.cache.Store(o)
	return o
}

func (p *Planner) orderNearest(o *orders) {
	all := o.topology.Nearest(p.prefs.Preference)
	for _, state := range []health.State{health.StateHealthy, health.StateDegraded} {
		for _, c := range all {
			if c.State == state && !slices.Contains(o.stale, c.Name) {
				o.nearest = append(o.nearest, Candidate{Cluster: c})
			}
		}
	}
	for _, c := range all {
		if c.State != health.StateDrained && !contains(o.nearest, c) {
			o.rest = append(o.rest, Candidate{Cluster: c})
		}
	}
	if len(o.nearest) == 0 {
		o.nearest, o.rest, o.lastResort = o.rest, nil, true
	}
}

// orderHomes works out who is asked for what lives on one home alone.
func (p *Planner) orderHomes(o *orders) {
	o.kept, o.searches = make(map[string][]Candidate), make(map[string]search)
	for _, c := range o.nearest {
		o.addHome(c.Cluster)
	}
	for i := range o.topology.Clusters {
		c := &o.topology.Clusters[i]
		if !p.Allowed(c) {
			continue
		}
		if c.Keeps() {
			o.kept[c.Home()] = append(o.kept[c.Home()], Candidate{Cluster: c})
		}
		if c.Role != health.RoleDR {
			o.addHome(c)
		}
	}
	for _, first := range o.homes {
		o.searches[first] = o.search(o.homesFrom(first))
	}
}

func (o *orders) addHome(c *health.Cluster) {
	if home := c.Home(); !slices.Contains(o.homes, home) {
		o.homes = append(o.homes, home)
	}
}

func (o *orders) homesFrom(first string) []string {
	out := append(make([]string, 0, len(o.homes)+1), first)
	for _, home := range o.homes {
		if home != first {
			out = append(out, home)
		}
	}
	return out
}

func (o *orders) search(homes []string) search {
	s := search{homes: homes}
	for _, home := range homes {
		s.candidates = append(s.candidates, o.kept[home]...)
		s.unasked = s.unasked || len(o.kept[home]) == 0
	}
	return s
}

func contains(cs []Candidate, cluster *health.Cluster) bool {
	return slices.ContainsFunc(cs, func(c Candidate) bool { return c.Cluster == cluster })
}

// tooStale names the secondaries that lag too far to be read from. One that is left out
// comes back when it lags half as far, so that it does not go to and fro.
func (p *Planner) tooStale(t *health.Topology) []string {
	if p.prefs.MaxStaleness <= 0 {
		return nil
	}
	var before, now []string
	if o := p.cache.Load(); o != nil {
		before = o.stale
	}
	for i := range t.Clusters {
		c, limit := &t.Clusters[i], p.prefs.MaxStaleness
		if slices.Contains(before, c.Name) {
			limit /= 2
		}
		if c.Role == health.RoleSecondary && c.Lag > limit {
			now = append(now, c.Name)
		}
	}
	return now
}

// orderPrimary puts the primary first, or last with writes: nearest, and linked
// secondaries as the way round: they forward writes themselves.
func (p *Planner) orderPrimary(o *orders) {
	t := o.topology
	if t.SplitBrain {
		o.refusal = &Refusal{
			Code: SplitBrain, Wait: doubtful(t),
			Text: "writes are refused: " + strings.Join(t.Claimants, " and ") + " both claim to be primary; demote one of them",
		}
		return
	}
	var direct, round []Candidate
	for _, c := range o.nearest {
		switch {
		case c.Name == t.Primary && c.Usable():
			direct = append(direct, c)
		case c.Role == health.RoleSecondary && c.Linked && c.Usable():
			round = append(round, Candidate{Cluster: c.Cluster, WayRound: true})
		}
	}
	o.direct = slices.Clip(direct)
	o.primary = append(o.direct, round...)
	if p.prefs.WritesNearest {
		o.primary = append(round, direct...)
	}
	if len(o.primary) == 0 {
		o.refusal = noPrimary(t)
	}
}

// doubtful reports whether one of the claimants may be on its way out, as when a DR
// copy was promoted a moment before the old primary is found to be down.
func doubtful(t *health.Topology) bool {
	return slices.ContainsFunc(t.Claimants, func(name string) bool {
		c, ok := t.Cluster(name)
		return ok && c.State != health.StateHealthy
	})
}

func noPrimary(t *health.Topology) *Refusal {
	text := "no primary cluster is known"
	if t.Primary != "" {
		text = "the primary cluster " + t.Primary + " cannot be reached, and no secondary has a working connection to it"
	} else if standalone(t) {
		text += ": these clusters do not replicate; pin one of them with role: primary"
	}
	return &Refusal{Code: NoPrimary, Text: text, Wait: true}
}

func standalone(t *health.Topology) bool {
	return slices.ContainsFunc(t.Clusters, func(c health.Cluster) bool { return c.Role == health.RoleStandalone })
}

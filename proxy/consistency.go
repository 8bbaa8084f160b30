package proxy

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/consistency"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

const (
	headerIndex = "X-Vault-Index"
	boundWait   = readWait - 500*time.Millisecond
	longestName = 256 // of X-Vrproxy-Session; what begins the same shares a guarantee
)

// reading is what an exchange knows of the guarantee that a client reads its own writes.
type reading struct {
	memories *consistency.Memories // nil: there is no guarantee to give
	memory   *consistency.Memory   // of the session; nil: nothing is remembered
	scope    routing.Scope
	need     consistency.Need
	needs    bool // something the session wrote matters to the answer

	behind      bool // a cluster answered, and had not got it
	lagged      int  // repeats at clusters that were behind
	sidestepped bool // another cluster than the nearest was taken
}

// recall finds what the session wrote that the answer may show. A client that asks for
// consistency by Vault's own headers is left alone.
func (x *exchange) recall() {
	h := x.r.Header
	if x.p.cfg.Memories == nil || h[headerIndex] != nil || h["X-Vault-Forward"] != nil || h["X-Vault-Inconsistent"] != nil {
		return
	}
	x.reading.memories, x.reading.scope = x.p.cfg.Memories, x.decision.Scope()
	switch {
	case x.decision.Special == routing.Login:
		x.reading.memory = x.reading.memories.Shared()
	case x.session != nil:
		x.reading.memory = x.reading.memories.Of(x.session.ID(), x.application(), x.began)
	}
	if x.reading.memory != nil && x.decision.Class == routing.Nearest {
		x.reading.need, x.reading.needs = x.reading.memory.Need(x.reading.scope, x.began)
	}
}

// application names who asks, if it says so, among those that share a session.
func (x *exchange) application() string {
	name := first(x.r.Header, HeaderSession)
	return name[:min(len(name), longestName)]
}

// chooses reports whether the exchange may take another cluster than the plan's first.
func (x *exchange) chooses() bool {
	return len(x.limits.Homes) == 0 && (x.limits.Home == "" || x.limits.HomeFirst)
}

// freshest leaves the candidates that have what the session needs to see, or can tell.
func (x *exchange) freshest(plan routing.Plan) (routing.Plan, *failure) {
	switch {
	case !x.reading.needs, x.limits.Pin != "", x.decision.Cluster != "":
		return plan, nil
	case !x.chooses():
		return x.boundTo(plan)
	}
	before := plan.Candidates
	plan.Candidates, plan.Rest = x.fresh(plan.Candidates), x.fresh(plan.Rest)
	if len(plan.Candidates) == 0 {
		plan.Candidates, plan.Rest = plan.Rest, nil
	}
	if len(plan.Candidates) == 0 {
		return plan, x.stale()
	}
	x.reading.sidestepped = plan.Candidates[0].Cluster != before[0].Cluster
	return plan, nil
}

// boundTo is for a token that is good nowhere else: there is nothing but to wait a while
// until what it wrote must be there, unless the answer tells.
func (x *exchange) boundTo(plan routing.Plan) (routing.Plan, *failure) {
	likeliest := plan.Candidates[0].Cluster // there is one, or there were no plan
	standing := x.standing(likeliest)
	waited := time.Since(x.began) > boundWait
	if standing < consistency.Later || x.reading.need.Verifiable() || waited && standing != consistency.Lacks {
		return plan, nil
	}
	return plan, x.stale()
}

func (x *exchange) fresh(candidates []routing.Candidate) []routing.Candidate {
	var now, later []routing.Candidate
	for _, c := range candidates {
		switch x.standing(c.Cluster) {
		case consistency.Lacks:
		case consistency.Later:
			later = append(later, c)
		default:
			now = append(now, c)
		}
	}
	return append(now, later...)
}

func (x *exchange) standing(c *health.Cluster) consistency.Standing {
	m := x.reading.memories
	return x.reading.need.At(x.place(c), m.Compares(), m.Margin(), time.Now())
}

func (x *exchange) place(c *health.Cluster) consistency.Place {
	return consistency.Place{
		Home: c.Home(), ClusterID: c.ClusterID, Lag: c.Lag,
		Primary: c.Name == x.p.cfg.Health.Topology().Primary,
	}
}

// leaves reports whether an answer of a cluster that is behind is not for the client.
// Vault's own refusal is, at the end, if the session can't be answered without what it
// needs.
func (x *exchange) leaves(a *answer, last bool) bool {
	return a.old || a.demands && (!last || !x.reading.need.Must())
}

// leaveBehind goes on from a cluster that had not got what the session needs. That is no
// failover.
func (x *exchange) leaveBehind(a *answer, address string, last bool) (moveOn bool, f *failure) {
	if last && a.old {
		a.close()
		return false, x.stale()
	}
	x.passedOver(a, address)
	x.from, x.reading.behind = "", true
	return true, nil
}

// relents reports whether a request goes out once more, to anybody: nobody has what it
// needs, and no answer without that is worse than none.
func (x *exchange) relents() bool {
	if !x.reading.behind || !x.reading.needs || x.reading.need.Must() {
		return false
	}
	x.reading.needs = false
	return true
}

func (x *exchange) stale() *failure {
	return &failure{
		code: staleRead, wait: true,
		text: "this session wrote what it reads, and no cluster that can be reached has it yet",
	}
}

// demand asks a cluster for the state that the session needs, if it is not known to be
// there.
func (x *exchange) demand(h http.Header, a *answer) {
	if !x.reading.needs || x.standing(a.cluster) == consistency.Has && !standby(a.cluster, a.address) {
		return
	}
	indexes := x.reading.need.Indexes(x.place(a.cluster), x.reading.memories.Compares())
	if len(indexes) > 0 {
		h[headerIndex], a.demands = indexes, true
	}
}

// standby reports whether a node is one, which may lag behind its own cluster.
func standby(c *health.Cluster, address string) bool {
	return slices.ContainsFunc(c.Nodes, func(n health.Node) bool { return n.Standby && n.Address == address })
}

// lags judges an answer by the guarantee: Vault's word that it has not got the state, or
// an older version of a secret than the session had before.
func (x *exchange) lags(v verdict, a *answer) bool {
	switch {
	case x.reading.memories == nil:
		return false
	case v == lagging && a.demands:
		x.foreignIndex(a, true)
		return true
	case v == done && a.demands && a.out.status == http.StatusBadRequest && strings.Contains(a.out.text, "index state"):
		x.foreignIndex(a, false)
		return true
	case v == done && x.older(a):
		if a.demands {
			x.foreignIndex(a, false)
		}
		a.old = true
		return true
	}
	return false
}

// foreignIndex notes whether clusters compare each other's indexes, if that was tried.
func (x *exchange) foreignIndex(a *answer, compares bool) {
	if !x.reading.need.Knows(a.cluster.ClusterID) {
		x.reading.memories.Learn(compares)
	}
}

func (x *exchange) older(a *answer) bool {
	if x.reading.memory == nil || !x.versioned() || x.place(a.cluster).Primary {
		return false
	}
	number, ok := versionIn(a.raw)
	if !ok && a.out.status != http.StatusNotFound {
		return false // wrapped, or too large to be looked into
	}
	return x.reading.memory.Older(x.reading.scope, number, a.cluster.Home(), time.Now())
}

// versioned reports whether the answer tells the newest version of one secret.
func (x *exchange) versioned() bool {
	return x.decision.Verb == routing.Read && x.decision.Versioned() && !strings.Contains(x.target.query, "version")
}

// versionIn finds the version of a kv secret in an answer, where it is the last member of
// the metadata, after all that users can write.
func versionIn(raw []byte) (uint64, bool) {
	const name = `"version":`
	i := bytes.LastIndex(raw, []byte(name))
	if i < 0 {
		return 0, false
	}
	digits := raw[i+len(name):]
	n := 0
	for n < len(digits) && '0' <= digits[n] && digits[n] <= '9' {
		n++
	}
	number, err := strconv.ParseUint(string(digits[:n]), 10, 64)
	return number, err == nil
}

// lagLimit is how often a cluster that is behind is asked again.
func (x *exchange) lagLimit(a *answer) int {
	if !a.demands && !a.old {
		return lagRepeats // the client's own demand
	}
	return int(x.reading.need.Wait(x.place(a.cluster), time.Now()) / lagPause)
}

// remember notes what an answer says: what was written and where it is, and the versions
// of secrets.
func (x *exchange) remember(a *answer) {
	if x.reading.memories == nil {
		return
	}
	x.countReading(a)
	status := a.resp.StatusCode
	switch {
	case x.changes() && (status < 300 || status >= 500): // an error may have come after the effect
		number := uint64(0)
		if x.decision.Versioned() {
			number, _ = versionIn(a.raw)
		}
		x.wrote(a.cluster, first(a.resp.Header, headerIndex), number)
	case x.versioned() && (status == http.StatusOK || status == http.StatusNotFound):
		x.sawVersion(a)
	}
}

func (x *exchange) countReading(a *answer) {
	switch {
	case a.demands && a.resp.StatusCode == http.StatusPreconditionFailed:
		x.p.cfg.Metrics.consistency("refused")
	case x.reading.sidestepped:
		x.p.cfg.Metrics.consistency("primary")
	case x.reading.lagged > 0:
		x.p.cfg.Metrics.consistency("waited")
	}
}

func (x *exchange) sawVersion(a *answer) {
	number, ok := versionIn(a.raw)
	switch m := x.reading.memory; {
	case ok:
		if m = x.remembered(); m != nil {
			m.Saw(x.reading.scope, number, a.cluster.Home(), x.answered)
		}
	case m != nil && a.resp.StatusCode == http.StatusNotFound:
		m.Gone(x.reading.scope)
	}
}

// changes reports whether the request writes replicated storage.
func (x *exchange) changes() bool {
	d := x.decision
	byRule := d.Rule != "" && strings.HasPrefix(d.Engine, "kv-") // through a secondary
	return d.Writes() && (d.Class == routing.Primary || byRule)
}

// wrote notes a write, also one of which nobody knows whether it was done.
func (x *exchange) wrote(c *health.Cluster, index string, number uint64) {
	if x.reading.memories == nil || !x.changes() {
		return
	}
	home, now := x.writtenAt(c), time.Now()
	if m := x.remembered(); m != nil {
		m.Wrote(x.reading.scope, home, index, number, now)
	}
	if consistency.ForLogins(x.reading.scope) {
		x.reading.memories.Shared().Wrote(x.reading.scope, home, index, 0, now)
	}
}

// writtenAt is the home where a write surely can be read: a secondary has only passed it
// on.
func (x *exchange) writtenAt(c *health.Cluster) string {
	t := x.p.cfg.Health.Topology()
	if c.Role == health.RoleSecondary && t.Primary != "" {
		return t.HomeOf(t.Primary)
	}
	return c.Home()
}

// remembered is the session's memory, made if need be; nil for a request of nobody.
func (x *exchange) remembered() *consistency.Memory {
	if x.reading.memory != nil {
		return x.reading.memory
	}
	s := x.session
	if s == nil && x.token.value != "" {
		s, _ = x.p.cfg.Tokens.Known(x.token.value) // settled by this answer
	}
	if s == nil {
		return nil
	}
	x.reading.memory = x.reading.memories.For(s.ID(), x.application(), x.began)
	return x.reading.memory
}

// bequeath lets a new session see what its maker wrote, or what its login depended on.
func (x *exchange) bequeath(s *tokencache.Session) {
	from := x.reading.memory
	if s == nil || from == nil || from.Empty() {
		return
	}
	now := time.Now()
	x.reading.memories.For(s.ID(), "", now).Inherit(from, now)
}

package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// stop is one node on the way through a plan.
type stop struct {
	cluster *health.Cluster
	address string
}

// stops flattens a plan: its clusters in order and, in each, the best node and
// whatever other nodes serve.
func stops(candidates []routing.Candidate) []stop {
	out := make([]stop, 0, len(candidates))
	for _, c := range candidates {
		for j, n := range c.Nodes {
			if j == 0 || n.Serves {
				out = append(out, stop{c.Cluster, n.Address})
			}
		}
	}
	return out
}

func (s stop) set() bool { return s.cluster != nil }

// nextCluster is the first stop at another cluster than that of the first of these.
func nextCluster(all []stop) stop {
	for _, s := range all {
		if s.cluster != all[0].cluster {
			return s
		}
	}
	return stop{}
}

// errBudget ends a plan because too much is repeated already.
var errBudget = errors.New("the budget of repeats is used up")

// errBusy marks candidates passed over because they have enough to do.
var errBusy = errors.New("it has as many requests in flight as it may")

// errNoToken marks candidates passed over because the session has no token there.
var errNoToken = errors.New("no token for this cluster")

// try goes through the plan until one stop settles the request; at the end through what
// did not look usable.
func (x *exchange) try(plan routing.Plan) *failure {
	defer x.letGo()
	settled, f := x.visit(stops(plan.Candidates), len(plan.Rest) == 0)
	if !settled && x.held == nil && x.denied == nil && len(plan.Rest) > 0 {
		x.p.cfg.Metrics.lastResort()
		settled, f = x.visit(stops(plan.Rest), true)
	}
	switch {
	case settled:
		return f
	case x.relents():
		return x.once()
	}
	return x.fruitless(plan)
}

// visit tries one stop after another; settled means that the client has its answer, or
// the failure is final. final says that nothing comes after them.
func (x *exchange) visit(all []stop, final bool) (settled bool, f *failure) {
	var without *health.Cluster // the session has no token there: its other nodes have none either
	for i, s := range all {
		if s.cluster == without || x.held != nil && s.cluster.Role != health.RolePrimary {
			continue
		}
		if !x.mayRepeat() {
			break
		}
		x.next = nextCluster(all[i:])
		moveOn, f := x.at(s.cluster, s.address, final && i == len(all)-1)
		if !moveOn {
			return true, f
		}
		if x.r.Context().Err() != nil {
			return true, &failure{code: clientGone, text: "the client went away"}
		}
		if errors.Is(x.lastErr, errNoToken) {
			without = s.cluster
		}
	}
	return false, nil
}

// fruitless ends a plan that no stop settled.
func (x *exchange) fruitless(plan routing.Plan) *failure {
	switch {
	case x.held != nil && x.lastErr == nil:
		x.answer(x.held)
		return nil
	case x.denied != nil:
		return x.nobodys(plan)
	}
	return x.exhausted(plan)
}

// mayRepeat pays for an attempt that repeats another. Some time it has to end, too.
func (x *exchange) mayRepeat() bool {
	if !x.owes {
		return true
	}
	x.owes = false
	if time.Since(x.began) > x.p.cfg.AnswerTimeout+x.p.cfg.PrimaryWait {
		x.lastErr = errAnswerTimeout
		return false
	}
	if x.p.budget.spend() {
		return true
	}
	x.p.cfg.Metrics.exhausted.Inc()
	x.lastErr = errors.Join(errBudget, x.lastErr)
	return false
}

// hold keeps the answer of a cluster where nothing is mounted at the path, for the
// case that the primary can't be asked either: a paths filter leaves mounts out of a
// secondary, and a local mount is on one cluster.
// Going on is no failover.
func (x *exchange) hold(a *answer) { x.held, x.lastErr, x.from = a, nil, "" }

// mayHold: only a secondary lacks mounts that the primary has, and who names a cluster
// wants its word.
func (x *exchange) mayHold(c *health.Cluster) bool {
	return x.held == nil && c.Role == health.RoleSecondary && x.limits.Pin == ""
}

// letGo closes the answers that were kept. Closing twice is fine.
func (x *exchange) letGo() {
	for _, kept := range []*answer{x.held, x.denied} {
		if kept != nil {
			kept.close()
		}
	}
	x.held, x.denied, x.strange, x.reading.behind = nil, nil, nil, false
}

// passedOver notes why a candidate was left, and tells health about nodes that
// could not be talked to.
func (x *exchange) passedOver(a *answer, address string) {
	x.lastErr = a.err
	if a.resp != nil {
		x.lastErr = fmt.Errorf("%s answered %d", a.cluster.Name, a.out.status)
	}
	x.owes = a.out.sent || a.resp != nil // what never left costs nobody anything
	a.close()
	if x.r.Context().Err() != nil {
		return // the client's going away is not the node's fault
	}
	if a.out.failed || a.out.status == http.StatusServiceUnavailable {
		x.p.cfg.Health.Failed(a.cluster.Name, address, x.lastErr)
	}
	x.p.cfg.Logger.Debug("passed over", zap.String("cluster", a.cluster.Name), zap.Error(x.lastErr))
}

// lost is the end of a request that was sent and never answered.
func (x *exchange) lost(a *answer) *failure {
	if x.r.Context().Err() != nil {
		return &failure{code: clientGone, text: "the client went away"}
	}
	x.wrote(a.cluster, "", 0) // it may have been
	return &failure{code: outcomeUnknown, text: fmt.Sprintf("the request was sent to cluster %s and its answer was lost; it may or may not have taken effect, and was not repeated", a.cluster.Name)}
}

// exhausted is the end of a plan in which no candidate could be used.
func (x *exchange) exhausted(plan routing.Plan) *failure {
	switch {
	case x.reading.behind:
		return x.stale()
	case errors.Is(x.lastErr, tokencache.ErrSessionLost):
		return &failure{code: sessionLost, text: tokencache.ErrSessionLost.Error()}
	case x.limits.Pin != "" || plan.Cluster != "":
		return &failure{code: routing.NoHealthyCluster, text: "the cluster asked for could not be reached: " + clusterNames(plan.Candidates)}
	case errors.Is(x.lastErr, errBudget) && plan.Class == routing.Primary:
		return &failure{code: routing.NoPrimary, text: "the primary cluster did not serve it, and too many requests are repeated already", wait: true}
	case errors.Is(x.lastErr, errBudget):
		return &failure{code: routing.NoHealthyCluster, text: "it failed, and too many requests are repeated already; try again in a moment", wait: true}
	case errors.Is(x.lastErr, errBusy):
		return &failure{code: routing.NoHealthyCluster, text: "every cluster that may serve this request has as many in flight as it may; try again in a moment"}
	case x.wanders:
		return tokenUnknown()
	case plan.Class == routing.Primary:
		return &failure{code: routing.NoPrimary, text: "the primary cluster could not be reached, nor a secondary that forwards to it", wait: true}
	case x.limits.Home != "" && !x.limits.HomeFirst:
		return &failure{code: routing.OwnerUnavailable, text: fmt.Sprintf("only cluster %s holds the token, lease or flow that this request needs, and it cannot be reached", x.limits.Home)}
	case errors.Is(x.lastErr, errAnswerTimeout):
		return &failure{code: deadline, text: "no cluster answered in time", wait: true}
	}
	return &failure{code: routing.NoHealthyCluster, text: "no cluster could be reached; tried: " + clusterNames(plan.Candidates), wait: true}
}

func clusterNames(cs []routing.Candidate) string {
	names := make([]string, len(cs))
	for i, c := range cs {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

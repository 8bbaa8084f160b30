package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/routing"
)

// allClusters in X-Vrproxy-Cluster means every cluster.
const allClusters = "*"

// bindAll is for the operator requests that make sense on every cluster.
func (x *exchange) bindAll() *failure {
	if x.decision.Special != routing.RevokePrefix {
		return &failure{code: routing.BadRequest, text: HeaderCluster + ": * is for sys/leases/revoke-prefix and revoke-force only; name one cluster"}
	}
	x.all = true
	return x.findSession()
}

// said is what became of a request at one home.
type said struct {
	cluster string
	a       *answer // nil: it could not be asked
	err     error
}

func (s said) ok() bool { return s.a != nil && s.a.out.status < http.StatusMultipleChoices }

// everywhere sends a request to every home, one after another: a revocation of what no
// cluster knows, to which each says yes, or what a person wants on all clusters.
func (x *exchange) everywhere() *failure {
	if !x.body.whole {
		return &failure{code: routing.BadRequest, text: "the request body is too large to be sent to every cluster"}
	}
	var all []said
	for _, home := range x.homes() {
		all = append(all, x.askHome(home))
	}
	defer func() {
		for _, s := range all {
			if s.a != nil {
				s.a.close()
			}
		}
	}()
	if x.limits.Pin == allClusters {
		return x.report(all)
	}
	return x.agreed(all)
}

// askHome sends the request to the cluster that serves a home.
func (x *exchange) askHome(home string) said {
	t := x.p.cfg.Health.Topology()
	for _, c := range t.Members(home) {
		if !c.Keeps() || !x.p.cfg.Planner.Allowed(c) {
			continue
		}
		a, err := x.ask(c)
		return said{c.Name, a, err}
	}
	return said{home, nil, fmt.Errorf("cluster %s cannot be reached", home)}
}

func (x *exchange) ask(c *health.Cluster) (*answer, error) {
	var t tries
	for {
		token, err := x.tokenFor(c, false)
		if err != nil {
			return nil, err
		}
		a := x.send(c, c.Nodes[0].Address, token, false)
		v := x.verdict(a)
		x.p.cfg.Metrics.attempt(c.Name, v)
		x.tried(a, v)
		if a.out.failed {
			x.passedOver(a, c.Nodes[0].Address)
			return nil, fmt.Errorf("cluster %s did not answer", c.Name)
		}
		if !x.again(v, a, &t) {
			return a, nil
		}
		a.close()
	}
}

// agreed answers with the nearest cluster's yes, if all said yes. A cluster that could
// not be asked may be the one that mattered.
func (x *exchange) agreed(all []said) *failure {
	for _, s := range all {
		if s.a == nil {
			return &failure{code: routing.OwnerUnavailable, text: "no cluster that answers knows what is to be revoked, and " + s.err.Error()}
		}
	}
	for _, s := range all {
		if !s.ok() {
			x.answer(s.a)
			return nil
		}
	}
	x.answer(all[0].a)
	return nil
}

// report tells what each cluster said.
func (x *exchange) report(all []said) *failure {
	type result struct {
		Status int    `json:"status"` // 0: it could not be asked
		Error  string `json:"error,omitempty"`
	}
	results, failed := make(map[string]result), []string{}
	for _, s := range all {
		r := result{}
		switch {
		case s.a == nil:
			r.Error = s.err.Error()
		case !s.ok():
			r.Status, r.Error = s.a.out.status, strings.Join(errorsOf(s.a.out.text), "; ")
		default:
			r.Status = s.a.out.status
		}
		results[s.cluster] = r
		if r.Error != "" || !s.ok() {
			failed = append(failed, s.cluster)
		}
	}
	body := map[string]any{"data": map[string]any{"clusters": results}}
	status := http.StatusOK
	if len(failed) > 0 {
		status = statusOf(partlyDone)
		body["errors"] = []string{"vrproxy: not done on " + strings.Join(failed, ", ") + "; send it again, or to each of these by name"}
	}
	x.reply(status, body)
	return nil
}

// errorsOf are the texts of an error answer of Vault.
func errorsOf(text string) []string {
	var said struct {
		Errors []string `json:"errors"`
	}
	_ = json.Unmarshal([]byte(text), &said) // somebody else's answer has no errors in it
	if len(said.Errors) == 0 {
		return []string{"no reason given"}
	}
	return said.Errors
}

// reply is an answer of the proxy's own that is no failure as a whole.
func (x *exchange) reply(status int, body any) {
	x.interim.end()
	x.head("")
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if status != http.StatusOK {
		h.Set(HeaderError, string(partlyDone))
	}
	x.observe("", status)
	x.w.WriteHeader(status)
	_ = json.NewEncoder(x.w).Encode(body) // a client that is gone needs no answer
}

package app

import (
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// counts shows the token cache by cluster; a DR pair shares its numbers, which
// stand with the cluster that serves.
type counts struct {
	tokens *tokencache.Cache
	cores  *current
}

func (c counts) Sessions() int { return c.tokens.Sessions() }

func (c counts) Tokens(cluster string) int { return c.of(cluster, c.tokens.Tokens) }

func (c counts) Leases(cluster string) int { return c.of(cluster, c.tokens.Leases) }

func (c counts) of(cluster string, count func(home string) int) int {
	t := c.cores.topology()
	home := t.HomeOf(cluster)
	for _, m := range t.Members(home) {
		if m.Usable() || m.Name == home {
			if m.Name == cluster {
				return count(home)
			}
			if m.Usable() {
				return 0
			}
		}
	}
	return 0
}

// drainer drains clusters of the core that is current.
type drainer struct{ cores *current }

func (d drainer) Drain(cluster string) error   { return d.cores.p.Load().checker.Drain(cluster) }
func (d drainer) Undrain(cluster string) error { return d.cores.p.Load().checker.Undrain(cluster) }

// explanation is the contract's JSON of /explain.
type explanation struct {
	Class      string      `json:"class"`
	Reason     string      `json:"reason"`
	Rule       string      `json:"rule"`
	Namespace  string      `json:"namespace"`
	Mount      string      `json:"mount"`
	Engine     string      `json:"engine"`
	Candidates []candidate `json:"candidates"`
	Refusal    string      `json:"refusal,omitempty"`
}

type candidate struct {
	Cluster string  `json:"cluster"`
	Region  string  `json:"region"`
	State   string  `json:"state"`
	RTT     float64 `json:"rtt_ms"`
	Token   string  `json:"token"`
}

// explain says where a request would go now. It knows no client, so it speaks of
// the kind of token only.
func (a *App) explain(method, path, namespace string) (any, error) {
	now := a.cores.p.Load()
	d, err := now.router.Classify(a.shared.mounts.Table(), routing.Request{Method: method, Path: path, Namespace: namespace})
	if err != nil {
		return nil, err
	}
	out := explanation{
		Class: string(d.Class), Reason: d.Reason, Rule: d.Rule, Namespace: d.Namespace, Mount: d.Mount, Engine: d.Engine,
		Candidates: []candidate{},
	}
	plan, err := now.planner.Plan(now.checker.Topology(), d, routing.Constraint{})
	if err != nil {
		out.Refusal = err.Error()
	}
	for _, c := range plan.Candidates {
		out.Candidates = append(out.Candidates, candidate{
			Cluster: c.Name, Region: c.Region, State: string(c.State), RTT: float64(c.RTT.Microseconds()) / 1000, Token: tokenKind(d),
		})
	}
	return out, nil
}

func tokenKind(d routing.Decision) string {
	if d.Special == routing.Login {
		return "none: a login"
	}
	return "the client's session token on this cluster"
}

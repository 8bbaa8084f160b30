// Package explain says where a request would go, and why, without sending anything:
// for one request with a topology at hand, for a list of requests, and for the
// requests of a Vault audit log.
package explain

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/routing"
)

// Answer is the explanation of one request; its JSON is what /explain and
// `vrproxy explain -o json` give. Others rely on it: fields are added, not changed.
type Answer struct {
	Class      string      `json:"class"`
	Reason     string      `json:"reason"`
	Rule       string      `json:"rule"` // of the configuration; empty: the built-in tables decided
	Namespace  string      `json:"namespace"`
	Mount      string      `json:"mount"`
	Engine     string      `json:"engine"`
	Guess      bool        `json:"guess"` // the mount or the path is not known; the careful choice was made
	Candidates []Candidate `json:"candidates"`
	Refusal    string      `json:"refusal,omitempty"` // why there are no candidates
	Offline    bool        `json:"offline,omitempty"` // no running proxy was asked: states and round trips are not known
}

// Candidate is one cluster that would be tried, in order.
type Candidate struct {
	Cluster  string   `json:"cluster"`
	Region   string   `json:"region"`
	State    string   `json:"state"`
	RTT      *float64 `json:"rtt_ms"` // null while unknown
	Token    string   `json:"token"`  // kind, and the first characters of an accessor; never a value
	WayRound bool     `json:"way_round,omitempty"`
}

// Explainer knows what the decisions depend on. Router and Table are required; it
// holds nothing that has to be closed.
type Explainer struct {
	Router *routing.Router
	Table  *routing.Table
	// Planner and Topology order the clusters; both nil: only the class is told.
	Planner  *routing.Planner
	Topology *health.Topology
	// Token says which token would be used at a home; nil: the client's.
	Token func(home string, d routing.Decision) string
	// Offline marks answers that no running proxy was asked for.
	Offline bool
}

// Request makes a request of a method and a path with /v1/ that may have a query.
func Request(method, target string) routing.Request {
	path, query, _ := strings.Cut(target, "?")
	return routing.Request{Method: method, Path: path, RawQuery: query}
}

// Explain decides one request. The error says that it is no request of Vault's API.
func (e Explainer) Explain(req routing.Request, pin string) (Answer, error) {
	d, err := e.Router.Classify(e.Table, req)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{
		Class: string(d.Class), Reason: d.Reason, Rule: d.Rule, Namespace: d.Namespace, Mount: d.Mount, Engine: d.Engine,
		Guess: d.Guess, Candidates: []Candidate{}, Offline: e.Offline,
	}
	if e.Planner == nil || e.Topology == nil {
		return out, nil
	}
	plan, err := e.Planner.Plan(e.Topology, d, routing.Constraint{Pin: pin})
	if err != nil {
		out.Refusal = err.Error()
		if e.Offline && d.Class == routing.Primary && e.Topology.Primary == "" {
			out.Refusal = "a running proxy finds out which cluster is primary; the file pins none (role: primary)"
		}
		return out, nil //nolint:nilerr // that there is no candidate is part of the answer
	}
	for _, c := range plan.Candidates {
		out.Candidates = append(out.Candidates, e.candidate(c, d))
	}
	return out, nil
}

func (e Explainer) candidate(c routing.Candidate, d routing.Decision) Candidate {
	out := Candidate{Cluster: c.Name, Region: c.Region, State: string(c.State), WayRound: c.WayRound, Token: "the client's token for this cluster"}
	if e.Offline {
		out.State = "unknown"
	}
	if c.RTT > 0 {
		ms := float64(c.RTT.Microseconds()) / 1000
		out.RTT = &ms
	}
	switch {
	case d.Special == routing.Login:
		out.Token = "none: a login"
	case e.Token != nil:
		out.Token = e.Token(c.Home(), d)
	}
	return out
}

// Text writes an answer for people, for a terminal of 80 columns.
func (a Answer) Text(w io.Writer, method, path string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n\n", method, path)
	line := func(name, value string) {
		if value != "" {
			b.WriteString(Wrapped(fmt.Sprintf("  %-10s ", name), value, Columns))
		}
	}
	line("class", a.Class)
	line("because", a.Reason)
	line("rule", a.Rule)
	line("namespace", a.Namespace)
	line("mount", a.mount())
	line("refused", a.Refusal)
	a.tokens(line)
	if len(a.Candidates) > 0 {
		b.WriteString("\n")
		a.table(&b)
	}
	if a.Offline {
		b.WriteString("\n  Offline: no running proxy was asked, so roles, states and round trips\n  are those of the file, and mounts those that were given.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a Answer) mount() string {
	switch {
	case a.Mount == "":
		return "not known yet"
	case a.Engine == "":
		return a.Mount
	}
	return a.Mount + " (" + a.Engine + ")"
}

// tokens writes one line where all candidates use the same kind of token.
func (a Answer) tokens(line func(name, value string)) {
	name, last := "token", ""
	for _, c := range a.Candidates {
		if c.Token != last {
			line(name, c.Token)
			name, last = "", c.Token
		}
	}
}

// table is cut to what a terminal has room for.
func (a Answer) table(b *strings.Builder) {
	var out strings.Builder
	for most := Columns; most > 2; most-- {
		out.Reset()
		if a.rows(&out, most); Fits(out.String()) {
			break
		}
	}
	for line := range strings.Lines(out.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

func (a Answer) rows(b *strings.Builder, most int) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "  #\tCLUSTER\tREGION\tSTATE\tROUND TRIP\t")
	for i, c := range a.Candidates {
		rtt, note := "?", ""
		if c.RTT != nil {
			rtt = fmt.Sprintf("%.1f ms", *c.RTT)
		}
		if c.WayRound {
			note = "forwards to the primary"
		}
		_, _ = fmt.Fprintf(t, "  %d\t%s\t%s\t%s\t%s\t%s\n", i+1, Cut(c.Cluster, most), Cut(c.Region, most), c.State, rtt, note)
	}
	_ = t.Flush() // a strings.Builder does not fail
}

package replication

import (
	"fmt"
	"slices"
	"strings"
)

// Count is a number of things; unknown when the token may not see them.
type Count struct {
	N     int
	Known bool
}

func (c Count) String() string {
	if !c.Known {
		return "unknown"
	}
	return fmt.Sprint(c.N)
}

// Use is how much a cluster is used: what an operator made there, without what every
// Vault has.
type Use struct {
	Mounts, AuthMethods, Policies, Entities, Namespaces Count
}

func (u Use) counts() []Count {
	return []Count{u.Mounts, u.AuthMethods, u.Policies, u.Entities, u.Namespaces}
}

// total adds what is known up, and tells whether anything is.
func (u Use) total() (n int, any bool) {
	for _, c := range u.counts() {
		n, any = n+c.N, any || c.Known
	}
	return n, any
}

// String lists the counts.
func (u Use) String() string {
	var parts []string
	for i, name := range []string{"mounts", "auth methods", "policies", "entities", "namespaces"} {
		parts = append(parts, name+": "+u.counts()[i].String())
	}
	return strings.Join(parts, ", ")
}

// Consent is what the operator said to a replacement of data.
type Consent struct {
	Confirmed []string // names of clusters, typed out
	KnowsLoss bool     // "I know what is lost"
}

// Warrant allows the data of one cluster to be replaced. The zero value allows nothing;
// only Authorise makes another.
type Warrant struct {
	cluster string
	kind    Kind
}

// Covers reports whether the warrant allows a cluster to be made a secondary of a kind.
func (w Warrant) Covers(k Kind, cluster string) bool {
	return w.cluster != "" && w.cluster == cluster && w.kind == k
}

// Authorise decides whether target may be made a secondary of primary, which replaces
// everything it holds. lost and kept are what the two hold now.
func Authorise(k Kind, target, primary Facts, lost, kept Use, c Consent) (Warrant, error) {
	if err := replaceable(k, target, primary); err != nil {
		return Warrant{}, err
	}
	if !slices.Contains(c.Confirmed, target.Name) {
		return Warrant{}, &Refusal{
			What:  fmt.Sprintf("all data of %s would be replaced (%s), with its unseal and recovery keys and all its tokens", target.Name, lost),
			State: "Nothing was changed there.",
			Next:  "the same command with --confirm " + target.Name,
			Usage: true,
		}
	}
	have, seen := lost.total()
	reference, _ := kept.total()
	if c.KnowsLoss || seen && have <= reference {
		return Warrant{target.Name, k}, nil
	}
	why := fmt.Sprintf("%s looks more used than the primary %s: it holds %s; the primary %s", target.Name, primary.Name, lost, kept)
	if !seen {
		why = fmt.Sprintf("what %s holds can't be counted: its token may see none of it", target.Name)
	}
	return Warrant{}, &Refusal{
		What:  why,
		State: "Nothing was changed there. Is it the right cluster?",
		Next:  "if all of that may go: the same command with --i-know-what-is-lost",
		Usage: true,
	}
}

// replaceable refuses what no consent can allow.
func replaceable(k Kind, target, primary Facts) error {
	untouched := "Nothing was changed on " + target.Name + "."
	switch {
	case target.Name == primary.Name:
		return &Refusal{What: target.Name + " can't be a secondary of itself", State: untouched, Usage: true}
	case target.Health.ClusterID == "" || primary.Health.ClusterID == "":
		return &Refusal{What: fmt.Sprintf("it can't be made sure that %s and %s are two clusters: they show no cluster id", target.Name, primary.Name), State: untouched}
	case target.Health.ClusterID == primary.Health.ClusterID:
		return &Refusal{What: fmt.Sprintf("the addresses of %s and %s lead to the same cluster", target.Name, primary.Name), State: untouched, Next: "correct the addresses in the configuration"}
	case len(target.Strangers) > 0:
		return &Refusal{What: fmt.Sprintf("the addresses of %s lead to more than one cluster (%s is another)", target.Name, strings.Join(target.Strangers, ", ")), State: untouched, Next: "correct the addresses in the configuration"}
	}
	for _, kind := range []Kind{Performance, DR} {
		switch mode := target.Mode(kind).Mode; mode {
		case ModeDisabled:
		case ModePrimary:
			return &Refusal{What: fmt.Sprintf("%s is a %s primary: the data of a primary is never replaced", target.Name, kind), State: untouched,
				Next: fmt.Sprintf("only when its data may really go: vrproxy replication disable %s %s --confirm %s", target.Name, kind.Flag(), target.Name)}
		default:
			return &Refusal{What: fmt.Sprintf("%s replicates already, or does not tell (%s mode %q)", target.Name, kind, mode), State: untouched, Next: "vrproxy replication status"}
		}
	}
	return nil
}

// Refusal says why something is not done, what state things are in, and what to do next.
type Refusal struct {
	What  string
	State string
	Next  string
	Usage bool // the command has to be given differently
}

func (r *Refusal) Error() string {
	text := strings.TrimSuffix(r.What, ".") + "."
	if r.State != "" {
		text += " " + r.State
	}
	if r.Next != "" {
		text += "\nNext: " + r.Next
	}
	return text
}

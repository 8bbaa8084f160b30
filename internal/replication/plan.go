package replication

import (
	"fmt"
	"slices"
)

// Goal is a primary and its secondaries of one kind.
type Goal struct {
	Kind        Kind
	Primary     string
	Secondaries []string
}

// Action is what one step does.
type Action string

// The actions of a plan.
const (
	EnablePrimary Action = "enable-primary"
	Join          Action = "join" // fetch an activation token, replace the data, wait
	Wait          Action = "wait" // until a secondary streams
)

// Step is one step towards a goal.
type Step struct {
	Action  Action
	Kind    Kind
	Cluster string
	Primary string // of a Join or Wait
}

func (s Step) String() string {
	switch s.Action {
	case EnablePrimary:
		return fmt.Sprintf("enable %s replication on %s as primary (it serves nothing for a moment)", s.Kind, s.Cluster)
	case Join:
		return fmt.Sprintf("make %s a %s secondary of %s: ALL ITS DATA IS REPLACED, with its unseal and recovery keys; its tokens end", s.Cluster, s.Kind, s.Primary)
	default:
		return fmt.Sprintf("wait until %s streams the writes of %s", s.Cluster, s.Primary)
	}
}

// Plan gives the steps that are left to the goal, in order; none when it is reached. It
// refuses a goal that can't be reached from here without taking something apart.
func Plan(g Goal, all []Facts) ([]Step, error) {
	primary, err := configured(g.Primary, all)
	if err != nil {
		return nil, err
	}
	var steps []Step
	switch first, err := planPrimary(g.Kind, primary, all); {
	case err != nil:
		return nil, err
	case first:
		steps = append(steps, Step{EnablePrimary, g.Kind, g.Primary, ""})
	}
	for i, name := range g.Secondaries {
		s, err := configured(name, all)
		if err == nil && slices.Contains(g.Secondaries[:i], name) {
			err = &Refusal{What: name + " is named twice", Usage: true}
		}
		if err != nil {
			return nil, err
		}
		more, err := planSecondary(g, primary, s, all)
		if err != nil {
			return nil, err
		}
		steps = append(steps, more...)
	}
	return steps, nil
}

func configured(name string, all []Facts) (Facts, error) {
	f, ok := Find(all, name)
	if ok {
		return f, nil
	}
	var names []string
	for _, f := range all {
		names = append(names, f.Name)
	}
	return f, &Refusal{What: fmt.Sprintf("there is no cluster %q in the configuration, only %v", name, names), State: "Nothing was changed.", Usage: true}
}

// Ready refuses a cluster that takes no orders, or has no replication.
func Ready(f Facts) error {
	switch {
	case f.Unreachable != "":
		return &Refusal{What: fmt.Sprintf("%s can't be reached: %s", f.Name, f.Unreachable), State: "Nothing was changed there.", Next: "vrproxy check --connect"}
	case !f.Health.Initialized:
		return &Refusal{What: f.Name + " is not initialised", State: "Nothing was changed there.", Next: "vault operator init, at " + f.Name}
	case f.Health.Sealed:
		return &Refusal{What: f.Name + " is sealed", State: "Nothing was changed there.", Next: "vault operator unseal, at " + f.Name + " (a secondary takes the keys of its primary)"}
	case f.Health.Community():
		return Unsupported(f)
	}
	return nil
}

// Unsupported is the refusal of a Vault without replication.
func Unsupported(f Facts) error {
	return &Refusal{
		What:  fmt.Sprintf("%s runs Vault %s, and replication is part of Vault Enterprise only", f.Name, f.Health.Version),
		State: "Nothing was changed.",
		Next:  "independent clusters can still be served by vrproxy: pin one with role: primary",
	}
}

// planPrimary reports whether the primary has to be enabled.
func planPrimary(k Kind, p Facts, all []Facts) (bool, error) {
	if err := Ready(p); err != nil {
		return false, err
	}
	if p.Mode(DR).Mode == ModeSecondary {
		return false, &Refusal{What: p.Name + " is a DR secondary, which can be the primary of nothing", State: "Nothing was changed.", Next: "vrproxy replication promote " + p.Name + " --mode dr, if it has to take over"}
	}
	if k == Performance {
		for _, o := range all {
			if o.Name != p.Name && o.Mode(Performance).Mode == ModePrimary {
				return false, &Refusal{What: fmt.Sprintf("%s is the performance primary already; a second one would split the set", o.Name), State: "Nothing was changed.", Next: "vrproxy replication setup --primary " + o.Name + " ..."}
			}
		}
	}
	switch mode := p.Mode(k).Mode; mode {
	case ModePrimary:
		return false, nil
	case ModeDisabled:
		return true, nil
	case ModeSecondary:
		return false, &Refusal{What: p.Name + " is a performance secondary", State: "Nothing was changed.", Next: "vrproxy replication promote " + p.Name + " --confirm " + p.Name + ", after the primary was demoted"}
	default:
		return false, &Refusal{What: fmt.Sprintf("%s does not tell its %s mode (%s)", p.Name, k, mode), State: "Nothing was changed.", Next: "vrproxy replication status"}
	}
}

func planSecondary(g Goal, p, s Facts, all []Facts) ([]Step, error) {
	if s.Name == p.Name {
		return nil, &Refusal{What: s.Name + " can't be a secondary of itself", State: "Nothing was changed.", Usage: true}
	}
	if err := Ready(s); err != nil {
		return nil, err
	}
	m := s.Mode(g.Kind)
	switch m.Mode {
	case ModeDisabled:
		if err := replaceable(g.Kind, s, p); err != nil {
			return nil, err
		}
		return []Step{{Join, g.Kind, s.Name, p.Name}}, nil
	case ModeBootstrapping:
		return []Step{{Wait, g.Kind, s.Name, p.Name}}, nil
	case ModeSecondary:
		return planMember(g.Kind, p, s, all)
	}
	return nil, replaceable(g.Kind, s, p)
}

// planMember handles a cluster that is a secondary already: of the right primary?
func planMember(k Kind, p, s Facts, all []Facts) ([]Step, error) {
	of, rel := primaryOf(k, s, all)
	switch {
	case rel == member && of == p.Name && s.Mode(k).streams():
		return nil, nil
	case rel == member && of == p.Name, rel == undecided && s.StatusKnown:
		return []Step{{Wait, k, s.Name, p.Name}}, nil
	}
	whom := map[relation]string{nobody: "no primary", member: of, stranger: "a primary that is not configured", undecided: "a primary that can't be told"}[rel]
	return nil, &Refusal{
		What: fmt.Sprintf("%s is a %s secondary of %s, not of %s", s.Name, k, whom, p.Name), State: "Nothing was changed.",
		Next: fmt.Sprintf("vrproxy replication update-primary %s %s --primary %s --confirm %s (keeps its data)", s.Name, k.Flag(), p.Name, s.Name),
	}
}

// Joined reports whether a cluster is a secondary of a kind that keeps up, and if not,
// what it does instead.
func Joined(k Kind, s Facts) (bool, string) {
	m := s.Mode(k)
	switch {
	case s.Unreachable != "":
		return false, "not reachable: " + s.Unreachable
	case s.Health.Sealed:
		return false, "sealed: unseal it with the keys of its primary"
	case !s.StatusKnown:
		return m.Mode == ModeSecondary && s.Serving(), "shows no replication status (mode " + m.Mode + ")"
	case m.Mode != ModeSecondary:
		return false, "mode " + m.Mode
	}
	text := "state " + shown(m.State)
	if m.ConnectionState != "" {
		text += ", connection " + m.ConnectionState
	}
	if m.SyncTotalKeys.Known {
		text += fmt.Sprintf(", %d of %d keys", m.SyncProgress.Value, m.SyncTotalKeys.Value)
	}
	return m.streams() && s.Serving(), text
}

func shown(s string) string {
	if s == "" {
		return ModeUnknown
	}
	return s
}

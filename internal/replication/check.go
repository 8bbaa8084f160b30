package replication

import "fmt"

// CheckPromote refuses a promotion that would make two primaries, or none.
func CheckPromote(k Kind, f Facts, all []Facts) error {
	if err := Ready(f); err != nil {
		return err
	}
	if mode := f.Mode(k).Mode; mode != ModeSecondary {
		return wrongMode(k, f, ModeSecondary)
	}
	for _, o := range all {
		rival := o.Mode(k).Mode == ModePrimary && o.Name != f.Name
		if of, rel := primaryOf(k, f, all); rival && (k == Performance || rel == member && of == o.Name) {
			return &Refusal{
				What:  fmt.Sprintf("%s is still the %s primary: two of them would lose writes", o.Name, k),
				State: "Nothing was changed.",
				Next:  fmt.Sprintf("vrproxy replication demote %s %s --confirm %s, then this command again", o.Name, k.Flag(), o.Name),
			}
		}
	}
	return nil
}

// CheckDemote refuses to demote what is no primary.
func CheckDemote(k Kind, f Facts) error {
	if err := Ready(f); err != nil {
		return err
	}
	if f.Mode(k).Mode != ModePrimary {
		return wrongMode(k, f, ModePrimary)
	}
	return nil
}

// CheckDisable refuses to disable what is not enabled.
func CheckDisable(k Kind, f Facts) error {
	if err := Ready(f); err != nil {
		return err
	}
	if !f.Replicates(k) {
		return &Refusal{What: fmt.Sprintf("%s has no %s replication to disable (mode %s)", f.Name, k, f.Mode(k).Mode), State: "Nothing was changed.", Next: "vrproxy replication status"}
	}
	return nil
}

// CheckUpdate refuses a new primary that is none.
func CheckUpdate(k Kind, f, primary Facts) error {
	for _, c := range []Facts{f, primary} {
		if err := Ready(c); err != nil {
			return err
		}
	}
	if f.Mode(k).Mode != ModeSecondary {
		return wrongMode(k, f, ModeSecondary)
	}
	if primary.Mode(k).Mode != ModePrimary {
		return wrongMode(k, primary, ModePrimary)
	}
	return nil
}

// CheckToken refuses an activation token from what is no primary.
func CheckToken(k Kind, primary Facts) error { return CheckDemote(k, primary) }

func wrongMode(k Kind, f Facts, want string) error {
	return &Refusal{
		What:  fmt.Sprintf("%s is not a %s %s (mode %s)", f.Name, k, want, f.Mode(k).Mode),
		State: "Nothing was changed.",
		Next:  "vrproxy replication status",
	}
}

// TakeDown is the refusal of a command that ends what a cluster does, without its name
// typed out.
func TakeDown(cluster, what string) error {
	return &Refusal{What: what, State: "Nothing was changed.", Next: "the same command with --confirm " + cluster, Usage: true}
}

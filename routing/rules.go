package routing

import (
	"slices"
	"strings"
)

// Rule is one rule of the configuration. It is tried before the built-in
// classification; the first that matches wins.
type Rule struct {
	// Path is a pattern over the namespace and API path without /v1/, as in Vault
	// policies: + is one segment, a final * is any rest.
	Path string
	// Methods are the HTTP methods it is for; empty means all. A GET with list=true
	// counts as LIST.
	Methods []string
	// To is nearest, primary, cluster:NAME or refuse.
	To string
}

// applyRules lets the first rule that fits decide; p is the path below the
// namespace.
func (r *Router) applyRules(d *Decision, p string) {
	if len(r.rules) == 0 {
		return
	}
	p = d.Namespace + p
	if d.Verb == List && !strings.HasSuffix(p, "/") {
		p += "/" // as Vault does, or a rule for what is below would not see the list of it
	}
	for i := range r.rules {
		if r.rules[i].matches(d, p) {
			r.rules[i].apply(d)
			return
		}
	}
}

func (r *Rule) matches(d *Decision, p string) bool {
	if len(r.Methods) > 0 && !slices.ContainsFunc(r.Methods, func(m string) bool { return VerbOf(m, "") == d.Verb }) {
		return false
	}
	return matchPath(r.Path, p) || d.Verb == List && matchPath(r.Path, strings.TrimSuffix(p, "/"))
}

func (r *Rule) apply(d *Decision) {
	d.Rule = r.Path
	d.Reason = "rule of the configuration"
	switch name, isCluster := strings.CutPrefix(r.To, "cluster:"); {
	case isCluster:
		d.Cluster = name
	case r.To == "refuse":
		d.Refused = true
	case r.To == "primary":
		d.Class = Primary
		d.Direct = d.Direct || d.Verb&reads != 0 // no secondary forwards a read that it can serve itself
	default:
		d.Class = Nearest
	}
}

// matchPath matches as Vault policies do.
func matchPath(pattern, p string) bool {
	for {
		if pattern == "*" {
			return true
		}
		want, restPattern, morePattern := strings.Cut(pattern, "/")
		got, rest, more := strings.Cut(p, "/")
		if prefix, ok := strings.CutSuffix(want, "*"); ok && !morePattern {
			return strings.HasPrefix(got, prefix)
		}
		if want != "+" && want != got {
			return false
		}
		if !morePattern || !more {
			return morePattern == more
		}
		pattern, p = restPattern, rest
	}
}

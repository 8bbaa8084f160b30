package configs

import (
	"fmt"
	"slices"
	"strings"
)

// verbs returns the methods that Vault knows.
func verbs() []string {
	return []string{"GET", "LIST", "SCAN", "POST", "PUT", "PATCH", "DELETE", "HEAD"}
}

func (v validator) routing() {
	v.regions("routing.failover", v.c.Routing.Failover)
	v.regions("routing.never", v.c.Routing.Never)
	v.someRegionLeft()
	for i, rule := range v.c.Routing.Rules {
		v.rule(fmt.Sprintf("routing.rules[%d]", i), rule)
	}
}

// regions holds region names to those that clusters run in.
func (v validator) regions(key string, regions []string) {
	if v.failedBelow("clusters") {
		return // the region may be in what could not be read
	}
	var known []string
	for _, cl := range v.c.Clusters {
		if cl.Region != "" && !slices.Contains(known, cl.Region) {
			known = append(known, cl.Region)
		}
	}
	for i, region := range regions {
		if slices.Contains(known, region) {
			continue
		}
		hint := suggest(region, known)
		if hint == "" {
			hint = "; the regions are " + strings.Join(known, ", ")
		}
		v.add(fmt.Sprintf("%s[%d]", key, i), "no cluster runs in %q%s", shorten(region), hint)
	}
}

func (v validator) someRegionLeft() {
	excluded := func(cl Cluster) bool { return slices.Contains(v.c.Routing.Never, cl.Region) }
	left := slices.ContainsFunc(v.c.Clusters, func(cl Cluster) bool { return !excluded(cl) })
	if len(v.c.Clusters) > 0 && !left {
		v.add("routing.never", "it excludes every cluster; leave at least one region")
	}
}

func (v validator) rule(key string, rule Rule) {
	if problem := rulePath(rule.Path); problem != "" {
		v.add(key+".path", "%s", problem)
	}
	for i, m := range rule.Methods {
		if !slices.Contains(verbs(), m) {
			v.add(fmt.Sprintf("%s.methods[%d]", key, i), "%q is not a method; use %s%s",
				shorten(m), oneOf(verbs()), suggest(strings.ToUpper(m), verbs()))
		}
	}
	switch rule.To.Kind {
	case "":
		v.add(key+".to", "it is required; use nearest, primary, cluster:NAME or refuse")
	case TargetCluster:
		if _, ok := v.c.Cluster(rule.To.Cluster); !ok {
			v.unknownCluster(key+".to", rule.To.Cluster)
		}
	}
}

// rulePath returns what is wrong with a rule's path, or nothing.
func rulePath(path string) string {
	rest, v1 := strings.CutPrefix(path, "/v1/")
	switch {
	case path == "":
		return `it is required; write a path below /v1/, like "secret/data/global/*"`
	case v1:
		return fmt.Sprintf("paths here are below /v1/; write %q", shorten(rest))
	case strings.HasPrefix(path, "/"):
		return fmt.Sprintf("paths here have no slash in front; write %q", shorten(strings.TrimLeft(path, "/")))
	case strings.Contains(strings.TrimSuffix(path, "*"), "*"):
		return `"*" matches any rest and may only be the last character; use + for one whole segment`
	}
	for segment := range strings.SplitSeq(path, "/") {
		if strings.Contains(segment, "+") && segment != "+" {
			return `"+" stands for one whole segment; write it alone between slashes, like secret/+/config`
		}
	}
	return ""
}

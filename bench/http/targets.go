package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// verdict is a target, and what was measured.
type verdict struct {
	target   string
	limit    string
	headline string // at small reads over 32 connections, where that is one of several
	worst    string // and where
	hit      bool
}

func (v verdict) cells() []string {
	word := "missed"
	if v.hit {
		word = "hit"
	}
	return []string{v.target, v.limit, v.headline, v.worst, word}
}

func verdictHeader() []string {
	return []string{"target", "at most", "600 B, 32 connections", "worst", ""}
}

// ours are the trials of vrproxy that the targets are for.
func ours() []string { return []string{vrproxy, "vrproxy identity"} }

// targets are those whose figures were measured.
func targets(all []figures) []verdict {
	var out []verdict
	add := func(v verdict, ok bool) {
		if ok {
			out = append(out, v)
		}
	}
	add(cpuTarget(all, "CPU time ÷ HAProxy's, plain upstream", "plain", haproxy, 1.15))
	add(cpuTarget(all, "CPU time ÷ HAProxy's, TLS upstream", "TLS", haproxy, 1))
	add(cpuTarget(all, "CPU time ÷ vault proxy's, without cache", "", vaultProxy, 1./3))
	for _, s := range []string{plainSmall, tlsSmall} {
		add(addedTarget(all, s, "p50", func(f figures) float64 { return f.steady50 }))
		add(addedTarget(all, s, "p99", func(f figures) float64 { return f.steady99 }))
	}
	add(restTarget(all, "resident when idle", 20, "MiB", func(f figures) float64 { return f.idle / 1024 }))
	add(restTarget(all, "resident per idle connection", 12, "KiB", func(f figures) float64 { return f.each }))
	for _, things := range []string{"mounts", "sessions"} {
		add(scaleTarget(all, things))
	}
	return out
}

// cpuTarget compares CPU time per request with a peer's in each situation that begins so.
func cpuTarget(all []figures, name, prefix, peer string, limit float64) (verdict, bool) {
	v := verdict{target: name, limit: fmt.Sprintf("%.2f", limit)}
	var worst float64
	for _, f := range all {
		got, ok := quotient(all, f.group, f.name, peer)
		if !ok || !slices.Contains(ours(), f.name) || !strings.HasPrefix(f.group, prefix) {
			continue
		}
		if f.name == vrproxy && (f.group == plainSmall || f.group == tlsSmall) && v.headline == "" {
			v.headline = fmt.Sprintf("%.2f", got)
		}
		if got > worst {
			worst, v.worst = got, fmt.Sprintf("%.2f (%s: %s)", got, f.name, f.group)
		}
	}
	v.hit = hundredths(worst) <= hundredths(limit)
	return v, worst > 0
}

// quotient is the CPU time of one by that of another.
func quotient(all []figures, group, name, peer string) (float64, bool) {
	a, okA := one(all, group, name)
	b, okB := one(all, group, peer)
	if !okA || !okB || b.cpu == 0 {
		return 0, false
	}
	return a.cpu / b.cpu, true
}

// addedTarget compares what vrproxy and HAProxy add to the latency of the upstream alone.
func addedTarget(all []figures, situation, what string, get func(figures) float64) (verdict, bool) {
	alone, okA := one(all, situation, direct)
	us, okB := one(all, situation, vrproxy)
	them, okC := one(all, situation, haproxy)
	if !okA || !okB || !okC || get(us) == 0 {
		return verdict{}, false
	}
	upstream, _, _ := strings.Cut(situation, ",")
	mine, theirs := get(us)-get(alone), get(them)-get(alone)
	return verdict{
		target: fmt.Sprintf("added %s at 2,000/s, %s", what, upstream), limit: fmt.Sprintf("%.0f µs (HAProxy's)", theirs),
		headline: fmt.Sprintf("%.0f µs", mine), hit: mine <= theirs,
	}, true
}

func restTarget(all []figures, name string, limit float64, unit string, get func(figures) float64) (verdict, bool) {
	us, ok := one(all, restGroup, vrproxy)
	got := get(us)
	return verdict{target: name, limit: fmt.Sprintf("%.0f %s", limit, unit), worst: fmt.Sprintf("%.1f %s", got, unit), hit: got <= limit}, ok
}

// scaleTarget holds CPU time and throughput with many things to those with few.
func scaleTarget(all []figures, things string) (verdict, bool) {
	small, okA := one(all, scaleGroup, label(few, things))
	large, okB := one(all, scaleGroup, label(many, things))
	if !okA || !okB {
		return verdict{}, false
	}
	const limit = 1.1
	cpu, rate := large.cpu/small.cpu, small.rate/large.rate
	return verdict{
		target: "10,000 " + things + " ÷ 10", limit: fmt.Sprintf("%.2f", limit),
		worst: fmt.Sprintf("CPU time %.2f, time per request %.2f", cpu, rate), hit: hundredths(math.Max(cpu, rate)) <= hundredths(limit),
	}, true
}

// hundredths is how exactly a ratio is told, and so how exactly it is judged.
func hundredths(v float64) float64 { return math.Round(v * 100) }

// printTargets writes them for a terminal.
func printTargets(out io.Writer, all []verdict) {
	if len(all) == 0 {
		return
	}
	_, _ = fmt.Fprintln(out, "\ntargets")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line(w, verdictHeader())
	for _, v := range all {
		line(w, v.cells())
	}
	_ = w.Flush() // a terminal
}

// markdownTargets writes them for a document.
func markdownTargets(out io.Writer, all []verdict) {
	_, _ = fmt.Fprintf(out, "| %s |\n|---|---|---|---|---|\n", strings.Join(verdictHeader(), " | "))
	for _, v := range all {
		_, _ = fmt.Fprintf(out, "| %s |\n", strings.Join(v.cells(), " | "))
	}
}

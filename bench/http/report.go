package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// one finds the figures of a trial.
func one(all []figures, group, name string) (figures, bool) {
	for _, f := range all {
		if f.group == group && f.name == name {
			return f, true
		}
	}
	return figures{}, false
}

// ratio is that of the CPU time to the base's.
func ratio(all []figures, f figures) float64 {
	base, ok := one(all, f.group, f.base)
	if !ok || base.cpu == 0 {
		return 0
	}
	return f.cpu / base.cpu
}

// layout is a table: what its columns are called, and what is in them.
type layout struct {
	header []string
	row    func(all []figures, f figures) []string
}

// loadLayout is that of proxies under load.
func loadLayout() layout {
	return layout{
		[]string{"proxy", "CPU µs", "× HAProxy", "req/s", "p50 µs", "p99", "p99.9", "at 2,000/s: CPU µs", "p50 µs", "p99", "p99.9", "MiB"},
		func(all []figures, f figures) []string {
			return append(saturated(all, f), number(f.steadyCPU, 1), number(f.steady50, 0), number(f.steady99, 0), number(f.steady999, 0), number(f.loaded/1024, 1))
		},
	}
}

// scaleLayout is that of vrproxy with few things and many.
func scaleLayout() layout {
	return layout{
		[]string{"vrproxy with", "CPU µs", "× with 10", "req/s", "p50 µs", "p99", "p99.9", "MiB", "MiB before", "KiB each"},
		func(all []figures, f figures) []string {
			return append(saturated(all, f), number(f.loaded/1024, 1), number(f.idle/1024, 1), number(f.each, 2))
		},
	}
}

// saturated is what both have first.
func saturated(all []figures, f figures) []string {
	return []string{f.name, number(f.cpu, 1), number(ratio(all, f), 2), number(f.rate, 0), number(f.p50, 0), number(f.p99, 0), number(f.p999, 0)}
}

// restLayout is that of proxies before any load.
func restLayout() layout {
	return layout{
		[]string{"proxy", "ready in ms", "idle MiB", "with 1,000 connections", "KiB per connection", "binary MiB"},
		func(_ []figures, f figures) []string {
			return []string{f.name, number(f.ready/1000, 0), number(f.idle/1024, 1), number(f.crowded/1024, 1), number(f.each, 1), number(f.binary/1024, 1)}
		},
	}
}

// result is the figures of one group.
type result struct {
	group
	figures []figures
}

func flat(results []result) []figures {
	var out []figures
	for _, r := range results {
		out = append(out, r.figures...)
	}
	return out
}

// number is a figure as people read it, or nothing if it was not measured.
func number(v float64, digits int) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// print writes the table for a terminal.
func (r result) print(out io.Writer) error {
	_, _ = fmt.Fprintf(out, "\n%s\n", r.name)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line(w, r.layout.header)
	for _, f := range r.figures {
		line(w, r.layout.row(r.figures, f))
	}
	return w.Flush()
}

// markdown writes it for a document.
func (r result) markdown(out io.Writer) {
	_, _ = fmt.Fprintf(out, "\n### %s%s\n\n| %s |\n|---%s\n", strings.ToUpper(r.name[:1]), r.name[1:], strings.Join(r.layout.header, " | "), strings.Repeat("|--:", len(r.layout.header)-1)+"|")
	for _, f := range r.figures {
		_, _ = fmt.Fprintf(out, "| %s |\n", strings.Join(r.layout.row(r.figures, f), " | "))
	}
}

func line(w io.Writer, cells []string) {
	for _, c := range cells {
		_, _ = fmt.Fprintf(w, "%s\t", c) // Flush tells
	}
	_, _ = fmt.Fprintln(w)
}

func writeCSV(file string, all []figures) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	top := []string{"situation", "proxy"}
	for _, c := range new(figures).columns() {
		top = append(top, c.name)
	}
	_ = w.Write(top) // Error tells
	for _, g := range all {
		cells := []string{g.group, g.name}
		for _, c := range g.columns() {
			cells = append(cells, number(*c.value, 2))
		}
		_ = w.Write(cells)
	}
	w.Flush()
	return errors.Join(w.Error(), f.Close())
}

// judge tells how much CPU time vrproxy takes for small reads, plain to plain, and holds
// it to what it may take.
func judge(out io.Writer, all []figures, o options) error {
	return errors.Join(within(out, all, reverseProxy, o.maxRatio), within(out, all, haproxy, o.maxHAProxy))
}

func within(out io.Writer, all []figures, peer string, limit float64) error {
	got, ok := quotient(all, plainSmall, vrproxy, peer)
	switch {
	case !ok && limit > 0:
		return fmt.Errorf("vrproxy and %s must be measured at %q to be compared", peer, plainSmall)
	case ok:
		_, _ = fmt.Fprintf(out, "vrproxy takes %.2f times the CPU time of %s\n", got, peer)
	}
	if limit > 0 && hundredths(got) > hundredths(limit) {
		return fmt.Errorf("vrproxy takes %.2f times the CPU time of %s, and may take %.2f", got, peer, limit)
	}
	return nil
}

package main

import (
	"bytes"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEachFigureIsItsOwnMedian(t *testing.T) {
	got := median([]figures{{cpu: 3, rate: 10}, {cpu: 1, rate: 30}, {cpu: 2, rate: 20}})
	if got.cpu != 2 || got.rate != 20 {
		t.Errorf("got %+v", got)
	}
}

func TestNoFigureIsForgotten(t *testing.T) {
	var f figures
	numbers := 0
	for i := range reflect.TypeOf(f).NumField() {
		if reflect.TypeOf(f).Field(i).Type.Kind() == reflect.Float64 {
			numbers++
		}
	}
	if got := len(f.columns()); got != numbers {
		t.Errorf("%d columns for %d figures", got, numbers)
	}
}

func TestWhatOneThingMoreTakes(t *testing.T) {
	all := []figures{
		{group: scaleGroup, name: "10 mounts", base: "10 mounts", idle: 1000},
		{group: scaleGroup, name: "10,000 mounts", base: "10 mounts", idle: 1000 + 2*(many-few)},
		{group: plainSmall, name: vrproxy, base: haproxy, idle: 5},
	}
	shareOut(all)
	if all[0].each != 0 || all[1].each != 2 || all[2].each != 0 {
		t.Errorf("got %v, %v, %v", all[0].each, all[1].each, all[2].each)
	}
}

// measured are figures that hit every target but those that a test changes.
func measured() []figures {
	out := []figures{
		{group: restGroup, name: vrproxy, idle: 20 * 1024, each: 12},
		{group: scaleGroup, name: "10 mounts", cpu: 10, rate: 100}, {group: scaleGroup, name: "10,000 mounts", cpu: 11, rate: 100},
		{group: scaleGroup, name: "10 sessions", cpu: 10, rate: 110}, {group: scaleGroup, name: "10,000 sessions", cpu: 10, rate: 100},
	}
	for _, s := range situations() {
		out = append(out,
			figures{group: s.name, name: direct, steady50: 50, steady99: 100},
			figures{group: s.name, name: haproxy, base: haproxy, cpu: 10, steady50: 100, steady99: 200},
			figures{group: s.name, name: vrproxy, base: haproxy, cpu: 10, steady50: 100, steady99: 200},
			figures{group: s.name, name: vaultProxy, base: haproxy, cpu: 31})
	}
	return out
}

func missed(all []figures) (out []string) {
	for _, v := range targets(all) {
		if !v.hit {
			out = append(out, v.target)
		}
	}
	return out
}

func TestTargetsAreJudgedFromTheFigures(t *testing.T) {
	if got := missed(measured()); len(targets(measured())) != 11 || got != nil {
		t.Fatalf("of %d targets these are missed: %q", len(targets(measured())), got)
	}
	for _, c := range []struct {
		group, name string
		change      func(*figures)
		want        string
	}{
		{tlsSmall, vrproxy, func(f *figures) { f.cpu *= 1.02 }, "CPU time ÷ HAProxy's, TLS upstream"},
		{plainSmall, vrproxy, func(f *figures) { f.cpu *= 1.1 }, "CPU time ÷ vault proxy's, without cache"},
		{plainSmall, vrproxy, func(f *figures) { f.steady99++ }, "added p99 at 2,000/s, plain upstream"},
		{restGroup, vrproxy, func(f *figures) { f.idle++ }, "resident when idle"},
		{restGroup, vrproxy, func(f *figures) { f.each++ }, "resident per idle connection"},
		{scaleGroup, "10,000 mounts", func(f *figures) { f.cpu *= 1.02 }, "10,000 mounts ÷ 10"},
		{scaleGroup, "10,000 sessions", func(f *figures) { f.rate *= .9 }, "10,000 sessions ÷ 10"},
	} {
		all := measured()
		i := slices.IndexFunc(all, func(f figures) bool { return f.group == c.group && f.name == c.name })
		c.change(&all[i])
		if got := missed(all); !slices.Equal(got, []string{c.want}) {
			t.Errorf("missed are %q; want %q", got, c.want)
		}
	}
}

func TestWhatWasNotMeasuredIsNotJudged(t *testing.T) {
	if got := targets([]figures{{group: plainSmall, name: vrproxy, cpu: 1}}); got != nil {
		t.Errorf("got %+v", got)
	}
}

func TestTheGuard(t *testing.T) {
	all := []figures{{group: plainSmall, name: vrproxy, cpu: 30}, {group: plainSmall, name: haproxy, cpu: 10}, {group: plainSmall, name: reverseProxy, cpu: 20}}
	for _, c := range []struct {
		o    options
		want string
	}{
		{options{}, ""},
		{options{maxRatio: 1.5, maxHAProxy: 3}, ""},
		{options{maxRatio: 1.4}, "of ReverseProxy, and may take 1.40"},
		{options{maxHAProxy: 2.9}, "of HAProxy, and may take 2.90"},
	} {
		err := judge(io.Discard, all, c.o)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v; want %q", c.o, err, c.want)
		}
	}
	if err := judge(io.Discard, all[:1], options{maxRatio: 1}); err == nil {
		t.Error("a guard without the peer passes")
	}
}

func TestFilesOfFigures(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "figures")
	if err := writeCSV(base+".csv", measured()); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(base + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != len(measured())+1 || rows[1][1] != vrproxy {
		t.Errorf("%v, %v", rows, err)
	}
	if err := writePlots(base, measured()); err != nil {
		t.Fatal(err)
	}
	for ending, begins := range map[string]string{".png": "\x89PNG", ".svg": "<?xml"} {
		raw, err := os.ReadFile(base + ending)
		if err != nil || !bytes.HasPrefix(raw, []byte(begins)) {
			t.Errorf("%s begins with %.10q, %v", ending, raw, err)
		}
	}
}

func TestTheDocumentKeepsItsProse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "performance.md")
	o := options{rounds: 3, seconds: time.Second}
	if err := os.WriteFile(file, []byte("# Prose\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.document(t.Context(), file, nil); err == nil {
		t.Error("a document without the marker was overwritten")
	}
	if err := os.WriteFile(file, []byte("# Prose\n"+marker+"old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	results := []result{{group{name: plainSmall, layout: loadLayout()}, []figures{{group: plainSmall, name: haproxy, base: haproxy, cpu: 12.34}}}}
	if err := o.document(t.Context(), file, results); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if text := string(raw); err != nil || !strings.HasPrefix(text, "# Prose\n"+marker) || strings.Contains(text, "old") || !strings.Contains(text, "| HAProxy | 12.3 | 1.00 |") {
		t.Errorf("%v:\n%s", err, text)
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]string{
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/": "2.6.12-1+deb12u4",
		"nginx version: nginx/1.22.1":                                        "1.22.1",
		"Vault v1.21.1, built 2025-11-26T17:48:00Z":                          "1.21.1",
		"unknown": "unknown",
	} {
		if got := version(text); got != want {
			t.Errorf("%q: %q; want %q", text, got, want)
		}
	}
}

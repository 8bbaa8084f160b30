package routing

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the engine tables into docs/routing.md") //nolint:gochecknoglobals // a flag of the test binary

const (
	document = "../docs/routing.md"
	begin    = "<!-- engine tables: written by `make docs`, do not edit -->\n"
)

// TestTheDocumentHasTheTables: docs/routing.md ends with what the tables say now.
func TestTheDocumentHasTheTables(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(raw), begin)
	if !found {
		t.Fatalf("%s has no line %q", document, begin)
	}
	want := head + begin + written()
	if string(raw) == want {
		return
	}
	if !*update {
		t.Fatalf("%s does not show the tables as they are; run: make docs", document)
	}
	if err := os.WriteFile(document, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

// written is all tables as Markdown. Engines that share a table share a section.
func written() string {
	all := tables()
	byRows := make(map[string][]string)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text := markdown(all[name].rows)
		byRows[text] = append(byRows[text], name)
	}
	texts := slices.SortedFunc(maps.Keys(byRows), func(a, b string) int { return strings.Compare(byRows[a][0], byRows[b][0]) })
	var b strings.Builder
	for _, text := range texts {
		names := byRows[text]
		fmt.Fprintf(&b, "\n### %s\n\nRead from: %s.\n\n%s", strings.Join(names, ", "), all[names[0]].source, text)
	}
	return b.String()
}

// markdown is one table; rows that say the same are one line.
func markdown(rows []row) string {
	type line struct{ verbs, class, twice, why string }
	var order []line
	paths := make(map[line][]string)
	for _, r := range rows {
		l := line{verbNames(r.verbs), string(r.class), "no", r.why}
		if r.effect == Repeatable {
			l.twice = "yes"
		}
		if r.direct {
			l.class += ", never through a secondary"
		}
		if paths[l] == nil {
			order = append(order, l)
		}
		paths[l] = append(paths[l], "`"+r.path+"`")
	}
	var b strings.Builder
	b.WriteString("| | path | class | repeatable | because |\n|---|---|---|---|---|\n")
	for _, l := range order {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", l.verbs, strings.Join(paths[l], " "), l.class, l.twice, l.why)
	}
	return b.String()
}

func verbNames(set Verb) string {
	switch set {
	case all, all &^ Help:
		return "all"
	case reads:
		return "reads"
	case writes:
		return "writes"
	}
	names := map[Verb]string{Read: "read", List: "list", Update: "write", Patch: "patch", Delete: "delete", Header: "header", Help: "help"}
	var out []string
	for _, v := range verbsOf(set) {
		out = append(out, names[v])
	}
	return strings.Join(out, ", ")
}

package routing

import (
	"bufio"
	"os"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
)

// operation is one row of testdata/operations.tsv: what Vault 1.21.4 does
// with one operation, and the source line it was read from.
type operation struct {
	plugin, pattern, op, class, evidence, note string
}

func operations(t *testing.T) []operation {
	t.Helper()
	f, err := os.Open("testdata/operations.tsv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	var out []operation
	for lines := bufio.NewScanner(f); lines.Scan(); {
		c := strings.Split(lines.Text(), "\t")
		if len(c) < 6 {
			t.Fatalf("row with %d columns: %q", len(c), lines.Text())
		}
		out = append(out, operation{c[0], c[1], c[2], c[3], c[4], c[5]})
	}
	return out[1:] // without the head
}

// misleading puts each engine where its mount's name lies about it, and says what
// mounts call its type. What cannot be mounted elsewhere stays in its place.
func misleading(plugin string) Mount {
	switch plugin {
	case "sys", "cubbyhole", "identity", "auth/token":
		return Mount{Path: plugin + "/", Type: plugin, Local: plugin == "cubbyhole"}
	case "generic":
		plugin = "kv-v1" // its name in old mount tables
	}
	lies := []string{"database/", "transit/", "secret/data/", "kv/creds/", "pki/", "team/login/", "aws/sts/"}
	path := lies[len(plugin)%len(lies)]
	if strings.HasPrefix(plugin, "auth/") {
		path = "auth/" + path
	}
	return Mount{Path: path, Type: plugin}
}

func methodOf(op string) string {
	return map[string]string{
		"read": "GET", "list": "LIST", "update": "POST", "create": "POST", "delete": "DELETE",
		"patch": "PATCH", "header": "HEAD", "recover": "RECOVER",
	}[op]
}

// inDoubt are the operations whose class the source does not show (Enterprise), and
// what is done with them.
func inDoubt(o operation) Class {
	switch {
	case strings.HasPrefix(o.pattern, "locked-users/"):
		return Operator // whether the lock is replicated is not known, so a person says where
	default:
		return Primary // events, secrets sync, recovery from a snapshot
	}
}

// TestEveryOperationHasItsClass walks what is known of Vault's own handlers: an
// operation in the wrong class is served by a cluster that cannot serve it, and one
// that no row decides was forgotten.
func TestEveryOperationHasItsClass(t *testing.T) {
	t.Parallel()
	router, unclear, checked := New(nil), 0, 0
	all := operations(t)
	for _, o := range all {
		want := Class(o.class)
		switch {
		case o.class == "unclear":
			unclear++
			want = inDoubt(o)
		case o.plugin == "transit" && strings.HasPrefix(o.pattern, "encrypt/") && o.op == "create":
			want = Nearest // a new key is made by forwarding; the client cannot see that it will be
		}
		m := misleading(o.plugin)
		table := (&Table{}).With("", []Mount{m})
		for _, path := range examples(t, o.pattern) {
			checked++
			d, err := router.Classify(table, Request{Method: methodOf(o.op), Path: "/v1/" + m.Path + path})
			if err != nil {
				t.Errorf("%s %s %s: %v", o.plugin, o.op, path, err)
				continue
			}
			if d.Class != want || d.Engine != m.Type || d.Guess {
				t.Errorf("%s: %s %q (%s) is %s of %q (%s), want %s: %s", o.plugin, o.op, path, o.pattern, d.Class, d.Engine, d.Reason, want, o.note)
			}
			if mustBeDirect(o) && !d.Direct {
				t.Errorf("%s: %s %q may go through a secondary: %s", o.plugin, o.op, path, o.note)
			}
		}
	}
	t.Logf("%d operations of %d decided by a row, %d of them in doubt; %d examples checked", len(all), len(all), unclear, checked)
	if checked < 1300 {
		t.Errorf("only %d examples: the table was not read", checked)
	}
}

// mustBeDirect: through a secondary these act twice, or fail without saying so.
func mustBeDirect(o operation) bool {
	return o.class == "primary" && (strings.Contains(o.note, "[double-effect]") || strings.Contains(o.note, "[not-forwarded]"))
}

// TestLocalMountsStayNear: nothing of a local mount goes to the primary.
func TestLocalMountsStayNear(t *testing.T) {
	t.Parallel()
	router := New(nil)
	for _, o := range operations(t) {
		m := misleading(o.plugin)
		if m.Path == m.Type+"/" { // built in
			continue
		}
		m.Local = true
		for _, path := range examples(t, o.pattern) {
			d, err := router.Classify((&Table{}).With("", []Mount{m}), Request{Method: methodOf(o.op), Path: "/v1/" + m.Path + path})
			if err != nil || d.Class == Primary {
				t.Errorf("%s %s %s on a local mount is %s: %v", o.plugin, o.op, path, d.Class, err)
			}
		}
	}
}

// examples makes paths that a pattern of Vault's framework matches: every
// alternative, with and without what is optional.
func examples(t *testing.T, pattern string) []string {
	t.Helper()
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		t.Fatalf("pattern %q: %v", pattern, err)
	}
	out := expand(re)
	if strings.HasSuffix(pattern, "/?(?P<path>.+)?") { // "librarypath" matches, and nobody means it
		out = slices.DeleteFunc(out, func(p string) bool { return strings.HasSuffix(p, "path") && !strings.Contains(p, "/") })
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func expand(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{string(re.Rune)}
	case syntax.OpCapture:
		if plain := sample(re.Name); plain != "" && isName(re.Sub[0]) {
			return []string{plain}
		}
		return expand(re.Sub[0])
	case syntax.OpConcat:
		out := []string{""}
		for _, sub := range re.Sub {
			out = cross(out, expand(sub))
		}
		return out
	case syntax.OpAlternate:
		var out []string
		for _, sub := range re.Sub {
			out = append(out, expand(sub)...)
		}
		return out
	case syntax.OpQuest:
		return append([]string{""}, expand(re.Sub[0])...)
	case syntax.OpCharClass:
		return []string{string(inClass(re.Rune))}
	case syntax.OpStar, syntax.OpPlus:
		return expand(re.Sub[0])[:1]
	case syntax.OpRepeat:
		return []string{strings.Repeat(expand(re.Sub[0])[0], max(re.Min, 1))}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return []string{"some"}
	}
	return []string{""} // ends of text
}

// isName reports whether a group is one free word, not a choice of literals.
func isName(re *syntax.Regexp) bool {
	return re.Op != syntax.OpAlternate && re.Op != syntax.OpLiteral && re.Op != syntax.OpRepeat
}

func sample(group string) string {
	if group == "" {
		return ""
	}
	return "x" + strings.ReplaceAll(group, "_", "")
}

func inClass(ranges []rune) rune {
	for _, r := range "a1-" {
		for i := 0; i < len(ranges); i += 2 {
			if ranges[i] <= r && r <= ranges[i+1] {
				return r
			}
		}
	}
	return ranges[0]
}

func cross(heads, tails []string) []string {
	var out []string
	for _, h := range heads {
		for _, t := range tails {
			out = append(out, h+t)
		}
	}
	return out
}

// TestEveryRowCanBeReached: a row that another hides is a mistake in a table.
func TestEveryRowCanBeReached(t *testing.T) {
	t.Parallel()
	compiled := engines()
	for name, table := range tables() {
		if table.source == "" || len(table.rows) == 0 {
			t.Errorf("%s: a table without rows or source", name)
		}
		for _, r := range table.rows {
			path := strings.ReplaceAll(strings.ReplaceAll(r.path, "+", "x"), "*", "y/z")
			if !slices.ContainsFunc(verbsOf(r.verbs), func(v Verb) bool {
				found := compiled[name].root.find(path, v)
				return found != nil && *found == r
			}) {
				t.Errorf("%s: the row %q for %v is hidden by another", name, r.path, verbsOf(r.verbs))
			}
		}
	}
}

func verbsOf(set Verb) []Verb {
	var out []Verb
	for v := Read; v <= Help; v <<= 1 {
		if set&v != 0 {
			out = append(out, v)
		}
	}
	return out
}

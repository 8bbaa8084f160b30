package routing

import (
	"bufio"
	"os"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
)

// operation is one row of testdata/core-operations.tsv: what Vault 1.21.4 does
// with one operation, and the source line it was read from.
type operation struct {
	plugin, pattern, op, class, evidence, note string
}

func operations(t *testing.T) []operation {
	t.Helper()
	f, err := os.Open("testdata/core-operations.tsv")
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

// misleading puts each engine where its mount's name lies about it. What cannot be
// mounted elsewhere stays in its place.
func misleading(plugin string) Mount {
	path := map[string]string{
		"kv-v1": "database/", "kv-v2": "transit/", "database": "kv/", "transit": "secret/data/", "pki": "sys-pki/creds/",
		"sys": "sys/", "cubbyhole": "cubbyhole/", "identity": "identity/", "auth/token": "auth/token/",
		"auth/userpass": "auth/approle/", "auth/approle": "auth/kubernetes/", "auth/kubernetes": "auth/login/",
		"auth/jwt": "auth/userpass/", "auth/ldap": "auth/cert/", "auth/cert": "auth/team/token/",
	}[plugin]
	return Mount{Path: path, Type: plugin, Local: plugin == "cubbyhole"}
}

func methodOf(op string) string {
	return map[string]string{
		"read": "GET", "list": "LIST", "update": "POST", "create": "POST", "delete": "DELETE",
		"patch": "PATCH", "header": "HEAD", "recover": "RECOVER",
	}[op]
}

// TestEveryCoreOperationHasItsClass walks what is known of Vault's own handlers:
// an operation in the wrong class is served by a cluster that cannot serve it.
func TestEveryCoreOperationHasItsClass(t *testing.T) {
	t.Parallel()
	router, unclear, checked := New(nil), 0, 0
	for _, o := range operations(t) {
		want := Class(o.class)
		switch {
		case o.class == "unclear":
			unclear++
			continue
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
			if d.Class != want || d.Engine != o.plugin || d.Guess {
				t.Errorf("%s: %s %q (%s) is %s of %q (%s), want %s: %s", o.plugin, o.op, path, o.pattern, d.Class, d.Engine, d.Reason, want, o.note)
			}
		}
	}
	t.Logf("%d examples checked, %d operations of unclear class skipped", checked, unclear)
	if checked < 800 {
		t.Errorf("only %d examples: the table was not read", checked)
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

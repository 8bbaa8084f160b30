package core

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// rule grants capabilities on a path, a prefix, or a pattern with +.
type rule struct {
	path string // without the final *
	glob bool
	caps []string

	source string // the path as it was written
}

// parsePolicy reads a policy in HCL or JSON as far as paths and capabilities go.
func parsePolicy(text string) ([]rule, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return parseJSONPolicy(text)
	}
	p := &hcl{end: end(text), tokens: slices.DeleteFunc(hclTokens.FindAllString(text, -1), isComment)}
	var rules []rule
	for !p.done() {
		word := p.next()
		if word != "path" && word != `"path"` {
			if err := p.skipValue(); err != nil {
				return nil, err
			}
			continue
		}
		r, err := p.rule()
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, checkRules(rules)
}

// checkRules refuses capabilities that Vault does not know.
func checkRules(rules []rule) error {
	known := []string{"deny", "create", "read", "update", "delete", "list", "sudo", "patch", "subscribe", "recover"}
	for _, r := range rules {
		for _, c := range r.caps {
			if !slices.Contains(known, c) {
				return fmt.Errorf("failed to parse policy: path %q: invalid capability %q", r.source, c)
			}
		}
	}
	return nil
}

// hclTokens splits HCL into comments, strings, punctuation and words.
var hclTokens = regexp.MustCompile(`#[^\n]*|//[^\n]*|/\*(?s:.*?)\*/|"(?:[^"\\]|\\.)*"|[{}\[\]=,]|[^\s{}\[\]=,"#]+`)

func isComment(token string) bool {
	return strings.HasPrefix(token, "#") || strings.HasPrefix(token, "//") || strings.HasPrefix(token, "/*")
}

// hcl reads tokens one by one.
type hcl struct {
	tokens []string
	pos    int
	end    string // line and column after the text
}

func end(text string) string {
	line := strings.Count(text, "\n") + 1
	return fmt.Sprintf("%d:%d", line, len(text)-strings.LastIndex(text, "\n")+1)
}

func (p *hcl) done() bool { return p.pos >= len(p.tokens) }

func (p *hcl) next() string {
	if p.done() {
		return ""
	}
	p.pos++
	return p.tokens[p.pos-1]
}

func (p *hcl) rule() (rule, error) {
	path := p.next()
	if !strings.HasPrefix(path, `"`) || p.next() != "{" {
		return rule{}, fmt.Errorf("failed to parse policy: expected a path and a block near %q", path)
	}
	r := newRule(strings.Trim(path, `"`))
	for {
		switch key := p.next(); key {
		case "}":
			return r, nil
		case "":
			return rule{}, fmt.Errorf("failed to parse policy: At %s: object expected closing RBRACE got: EOF", p.end)
		case "capabilities":
			caps, err := p.list()
			if err != nil {
				return rule{}, err
			}
			r.caps = caps
		default:
			if err := p.skipValue(); err != nil {
				return rule{}, err
			}
		}
	}
}

func (p *hcl) list() ([]string, error) {
	if p.next() != "=" || p.next() != "[" {
		return nil, fmt.Errorf("failed to parse policy: expected a list of capabilities")
	}
	var out []string
	for {
		switch w := p.next(); w {
		case "]":
			return out, nil
		case ",":
		case "":
			return nil, fmt.Errorf("failed to parse policy: list is not closed")
		default:
			if strings.HasPrefix(w, `"`) {
				out = append(out, strings.Trim(w, `"`))
			}
		}
	}
}

// skipValue passes over "= value", a block or a list.
func (p *hcl) skipValue() error {
	depth := 0
	for {
		switch w := p.next(); w {
		case "":
			return fmt.Errorf("failed to parse policy: unexpected end")
		case "=":
			continue
		case "{", "[":
			depth++
		case "}", "]":
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

func parseJSONPolicy(text string) ([]rule, error) {
	var doc struct {
		Path map[string]struct {
			Capabilities []string `json:"capabilities"`
		} `json:"path"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("failed to parse policy: %w", err)
	}
	var rules []rule
	for path, body := range doc.Path {
		r := newRule(path)
		r.caps = body.Capabilities
		rules = append(rules, r)
	}
	return rules, checkRules(rules)
}

func newRule(path string) rule {
	p, glob := strings.CutSuffix(strings.TrimPrefix(path, "/"), "*")
	return rule{path: p, glob: glob, source: path}
}

func (r rule) matches(path string) bool {
	if !strings.Contains(r.path, "+") {
		return path == r.path || r.glob && strings.HasPrefix(path, r.path)
	}
	want, have := strings.Split(r.path, "/"), strings.Split(path, "/")
	if len(have) < len(want) || !r.glob && len(have) != len(want) {
		return false
	}
	for i, w := range want {
		begun := r.glob && i == len(want)-1 && strings.HasPrefix(have[i], w)
		if w != "+" && w != have[i] && !begun {
			return false
		}
	}
	return true
}

// exact tells a rule without any wildcard.
func (r rule) exact() bool { return !r.glob && !strings.Contains(r.path, "+") }

// wildcardAt is where the first wildcard stands.
func (r rule) wildcardAt() int {
	if i := strings.Index(r.path, "+"); i >= 0 {
		return i
	}
	return len(r.path)
}

// before is Vault's order of precedence among rules that match one path.
func (r rule) before(o rule) bool {
	switch {
	case r.exact() != o.exact():
		return r.exact()
	case r.wildcardAt() != o.wildcardAt():
		return r.wildcardAt() > o.wildcardAt()
	case r.glob != o.glob:
		return !r.glob
	case strings.Count(r.path, "+") != strings.Count(o.path, "+"):
		return strings.Count(r.path, "+") < strings.Count(o.path, "+")
	case len(r.path) != len(o.path):
		return len(r.path) > len(o.path)
	default:
		return r.path > o.path
	}
}

// acl is what a token may do.
type acl struct {
	root  bool
	rules []rule
}

// capabilities on a path: those of the most specific rule, joined over policies.
func (a *acl) capabilities(path string) []string {
	if a.root {
		return []string{"root"}
	}
	var best *rule
	var caps []string
	for i := range a.rules {
		r := &a.rules[i]
		switch {
		case !r.matches(path):
		case best == nil || r.before(*best):
			best, caps = r, slices.Clone(r.caps)
		case !best.before(*r):
			caps = append(caps, r.caps...)
		}
	}
	if len(caps) == 0 || slices.Contains(caps, "deny") {
		return []string{"deny"}
	}
	slices.Sort(caps)
	return slices.Compact(caps)
}

// allows reports whether one of the capabilities is granted on the path.
func (a *acl) allows(path string, wanted ...string) bool {
	caps := a.capabilities(path)
	if a.root {
		return true
	}
	for _, w := range wanted {
		if slices.Contains(caps, w) {
			return true
		}
	}
	return false
}

// listPath is the path by which a LIST is judged: a rule for exactly the path
// without its slash comes before all patterns, and serves when nothing else does.
func (a *acl) listPath(path string) string {
	bare := strings.TrimSuffix(path, "/")
	if a.exactly(path) {
		return path
	}
	if a.exactly(bare) || !a.allows(path, "list") {
		return bare
	}
	return path
}

func (a *acl) exactly(path string) bool {
	return slices.ContainsFunc(a.rules, func(r rule) bool { return r.exact() && r.path == path })
}

// sees reports whether anything below a mount is granted.
func (a *acl) sees(mount string) bool {
	if a.root {
		return true
	}
	for _, r := range a.rules {
		if !slices.Contains(r.caps, "deny") && len(r.caps) > 0 && r.touches(mount) {
			return true
		}
	}
	return false
}

// touches reports whether the rule can match something below a mount.
func (r rule) touches(mount string) bool {
	want, have := strings.Split(r.path, "/"), strings.Split(strings.TrimSuffix(mount, "/"), "/")
	for i, h := range have {
		if i >= len(want) {
			return false
		}
		if last := i == len(want)-1; last && r.glob && strings.HasPrefix(h, want[i]) {
			return true
		}
		if want[i] != "+" && want[i] != h {
			return false
		}
	}
	return len(want) > len(have) || r.glob
}

// aclOf builds what a token may do from the policies of its namespace.
func (c *Core) aclOf(t *engine.Token) *acl {
	a := &acl{}
	view := c.tx().Shared(policiesBucket)
	for _, name := range t.Policies {
		if name == "root" {
			a.root = true
			return a
		}
		var text string
		if name == "response-wrapping" {
			text = wrappingPolicy
		} else if !view.Get(t.Namespace+"|"+name, &text) {
			continue
		}
		a.rules = append(a.rules, c.parsed(text)...)
	}
	return a
}

// parsed keeps parsed policies by their text, which never changes meaning.
func (c *Core) parsed(text string) []rule {
	if v, ok := c.acls.Load(text); ok {
		return v.([]rule)
	}
	rules, _ := parsePolicy(text) // was checked when it was written
	c.acls.Store(text, rules)
	return rules
}

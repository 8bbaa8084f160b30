package routing

import "strings"

// row decides one family of operations of an engine.
//
// path is written below the mount: literal segments, + for exactly one segment,
// a final * for everything below (also nothing). A literal segment wins over +,
// + wins over *. Where several rows fit a verb, the most literal path wins.
type row struct {
	path    string
	verbs   Verb
	class   Class
	effect  Effect
	subject Subject
	learns  bool // the answer may carry a token or a lease
	why     string
}

// engine is the compiled table of one engine type. What no row decides follows
// the general rule: reads are served where they arrive, writes change replicated
// storage.
type engine struct {
	root pathNode
}

type pathNode struct {
	literal map[string]*pathNode
	one     *pathNode // +
	rows    []row     // rows that end here
	rest    []row     // rows that end here with *
}

func compile(rows []row) *engine {
	e := &engine{}
	for _, r := range rows {
		e.root.add(r.path, r)
	}
	return e
}

func (n *pathNode) add(p string, r row) {
	segment, tail, more := strings.Cut(p, "/")
	if segment == "*" && !more {
		n.rest = append(n.rest, r)
		return
	}
	next := n.child(segment)
	if !more {
		next.rows = append(next.rows, r)
		return
	}
	next.add(tail, r)
}

func (n *pathNode) child(segment string) *pathNode {
	if segment == "+" {
		if n.one == nil {
			n.one = &pathNode{}
		}
		return n.one
	}
	if n.literal == nil {
		n.literal = make(map[string]*pathNode)
	}
	if n.literal[segment] == nil {
		n.literal[segment] = &pathNode{}
	}
	return n.literal[segment]
}

// find returns the row for a path and verb, or nil.
func (n *pathNode) find(p string, v Verb) *row {
	if p == "" {
		if r := pick(n.rows, v); r != nil {
			return r
		}
		return pick(n.rest, v)
	}
	segment, tail, _ := strings.Cut(p, "/")
	if next := n.literal[segment]; next != nil {
		if r := next.find(tail, v); r != nil {
			return r
		}
	}
	if n.one != nil && segment != "" {
		if r := n.one.find(tail, v); r != nil {
			return r
		}
	}
	return pick(n.rest, v)
}

func pick(rows []row, v Verb) *row {
	for i := range rows {
		if rows[i].verbs&v != 0 {
			return &rows[i]
		}
	}
	return nil
}

// engines are the built-in tables by engine type.
func engines() map[string]*engine {
	return map[string]*engine{
		"kv-v1":        compile(kvV1()),
		"kv-v2":        compile(kvV2()),
		"database":     compile(database()),
		"transit":      compile(transit()),
		"pki":          compile(pki()),
		"cubbyhole":    compile(cubbyhole()),
		"identity":     compile(identity()),
		"sys":          compile(sys()),
		"auth/token":   compile(authToken()),
		"auth/approle": compile(appRole()),
		"auth":         compile(authMethod()),
	}
}

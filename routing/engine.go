package routing

import (
	"maps"
	"slices"
	"strings"
)

// row decides one family of operations of an engine.
//
// path is written below the mount: literal segments, + for exactly one segment,
// a final * for everything below (also nothing). A literal segment wins over +,
// + wins over *. Where several rows fit a verb, the most literal path wins, then
// the first.
type row struct {
	path    string
	verbs   Verb
	class   Class
	effect  Effect
	subject Subject
	learns  bool // the answer may carry a token or a lease
	direct  bool // only at the primary itself, never through a secondary that forwards
	why     string
}

const (
	replicatedRead  = "a read of replicated storage"
	replicatedWrite = "a write to replicated storage"
	query           = "a query, nothing is written"
)

// replicated are paths of which reads are served where they arrive, and writes
// change replicated storage.
func replicated(paths ...string) []row {
	return slices.Concat(
		each(row{verbs: reads, class: Nearest, effect: Repeatable, why: replicatedRead}, paths...),
		each(row{verbs: writes, class: Primary, why: replicatedWrite}, paths...),
	)
}

// credentials are paths at which an outside system makes something for a lease,
// which the cluster that answers keeps.
func credentials(verbs Verb, paths ...string) []row {
	return each(row{verbs: verbs, class: Nearest, learns: true, why: "dynamic credentials: the lease is kept by the cluster that answers"}, paths...)
}

// each repeats a row for several paths.
func each(r row, paths ...string) []row {
	out := make([]row, len(paths))
	for i, p := range paths {
		out[i], out[i].path = r, p
	}
	return out
}

// engineTable is what one engine does, and where that was read.
type engineTable struct {
	source string
	rows   []row
}

// tables are the built-in tables by engine type, as mounts name it.
func tables() map[string]engineTable {
	all := map[string]engineTable{
		"sys":        {"vault/logical_system*.go, http/", sys()},
		"identity":   {"vault/identity_store*.go", identity()},
		"cubbyhole":  {"vault/logical_cubbyhole.go", cubbyhole()},
		"auth/token": {"vault/token_store.go", authToken()},
	}
	maps.Copy(all, secretsTables())
	maps.Copy(all, authTables())
	return all
}

// engine is a compiled table: a tree of path segments. What no row decides is
// guessed with care.
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

// engines compiles the built-in tables.
func engines() map[string]*engine {
	out := make(map[string]*engine)
	for name, t := range tables() {
		out[name] = compile(t.rows)
	}
	return out
}

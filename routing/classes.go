package routing

import (
	"slices"
	"strings"
)

// Classes gives the classes that the operations of a mount have, those that read and
// those that write, each from the least bound to the most.
func (r *Router) Classes(m Mount) (reading, writing []Class) {
	e, ok := r.engines[m.Type]
	if !ok && strings.HasPrefix(m.Type, "auth/") {
		e, ok = r.engines["auth"]
	}
	if !ok {
		return []Class{Nearest}, []Class{Primary}
	}
	read, write := map[Class]bool{}, map[Class]bool{}
	e.root.walk(func(found row) {
		class := found.class
		if m.Local && class == Primary {
			class = Nearest
		}
		read[class] = read[class] || found.verbs&(Read|List) != 0
		write[class] = write[class] || found.verbs&writes != 0
	})
	return ordered(read), ordered(write)
}

func ordered(set map[Class]bool) []Class {
	return slices.DeleteFunc([]Class{Nearest, Primary, Owner, Operator}, func(c Class) bool { return !set[c] })
}

// walk shows every row below a node.
func (n *pathNode) walk(show func(row)) {
	for _, r := range slices.Concat(n.rows, n.rest) {
		show(r)
	}
	for _, next := range n.literal {
		next.walk(show)
	}
	if n.one != nil {
		n.one.walk(show)
	}
}

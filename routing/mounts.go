package routing

import (
	"maps"
	"slices"
	"strings"
)

// Mount is one secrets engine or auth method where it is mounted.
type Mount struct {
	Path  string // with trailing slash, below the namespace: "secret/", "auth/userpass/"
	Type  string // engine type; kv carries its version ("kv-v1", "kv-v2"), auth methods the prefix "auth/"
	Local bool   // mounted with local=true: not replicated
}

// Table is an immutable mount table: which engine is mounted where, per
// namespace. The zero value knows only what exists in every Vault (sys, identity,
// cubbyhole, auth/token).
type Table struct {
	namespaces map[string]mounts // by name: "" or "a/b/"
	names      map[string]string // the names by themselves without the slash, so that a header costs no allocation
	below      map[string]prefixes
}

// mounts are the mounts of one namespace by their paths.
type mounts struct {
	byPath  map[string]Mount
	longest int // length of the longest path: no more of a request path is compared
}

// prefixes are the known namespaces below one, by what a request path below that
// one begins with.
type prefixes struct {
	full    map[string]string
	longest int
}

// With returns a new table in which the mounts of one namespace are replaced.
// Namespace is "" for root and ends with a slash otherwise.
func (t *Table) With(namespace string, found []Mount) *Table {
	next := &Table{namespaces: make(map[string]mounts)}
	if t != nil {
		maps.Copy(next.namespaces, t.namespaces)
	}
	m := mounts{byPath: make(map[string]Mount, len(found))}
	for _, f := range found {
		m.byPath[f.Path] = f
		m.longest = max(m.longest, len(f.Path))
	}
	next.namespaces[namespace] = m
	next.index()
	return next
}

// Without returns a new table in which nothing is known of one namespace.
func (t *Table) Without(namespace string) *Table {
	next := &Table{namespaces: maps.Clone(t.namespaces)}
	delete(next.namespaces, namespace)
	next.index()
	return next
}

// index prepares what resolve looks up. Only a table that is being made calls it.
func (t *Table) index() {
	t.names, t.below = make(map[string]string), make(map[string]prefixes)
	for full := range t.namespaces {
		if full == "" {
			continue
		}
		t.names[strings.TrimSuffix(full, "/")] = full
		for i := 0; i < len(full)-1; i++ {
			if i == 0 || full[i-1] == '/' { // full[:i] is an ancestor
				t.nest(full[:i], full[i:], full)
			}
		}
	}
}

func (t *Table) nest(ancestor, prefix, full string) {
	b, ok := t.below[ancestor]
	if !ok {
		b.full = make(map[string]string)
	}
	b.full[prefix] = full
	b.longest = max(b.longest, len(prefix))
	t.below[ancestor] = b
}

// Knows reports whether the mounts of a namespace were ever learned.
func (t *Table) Knows(namespace string) bool {
	if t == nil {
		return false
	}
	_, ok := t.namespaces[namespace]
	return ok
}

// Namespaces names those whose mounts were learned, in order; root is "".
func (t *Table) Namespaces() []string {
	if t == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(t.namespaces))
}

// Mounts returns all mounts of one namespace, in no order.
func (t *Table) Mounts(namespace string) []Mount {
	if t == nil {
		return nil
	}
	known := t.namespaces[namespace].byPath
	out := make([]Mount, 0, len(known))
	for _, m := range known {
		out = append(out, m)
	}
	return out
}

// split gives the namespace of a request from its header and the decoded API path,
// and the path below it.
func (t *Table) split(header, p string) (namespace, below string) {
	if t == nil {
		return NormalNamespace(header), p
	}
	namespace, ok := t.names[strings.Trim(header, "/")]
	if !ok {
		namespace = NormalNamespace(header)
	}
	b := t.below[namespace]
	for i := min(len(p), b.longest); i > 0; i-- {
		if p[i-1] != '/' {
			continue
		}
		// A mount of the same name cannot exist in Vault.
		if full, ok := b.full[p[:i]]; ok {
			return full, p[i:]
		}
	}
	return namespace, p
}

// mount finds the mount of a path below a namespace, and the path below the mount.
func (t *Table) mount(namespace, p string) (m Mount, rest string, known bool) {
	m, known = builtin(p)
	if !known && t != nil {
		m, known = t.namespaces[namespace].find(p)
	}
	return m, p[min(len(p), len(m.Path)):], known
}

// find finds the longest mount that a path begins with. The cost grows with the
// length of the mounts' paths, not with their number or the length of p.
func (m mounts) find(p string) (Mount, bool) {
	for i := min(len(p), m.longest); i > 0; i-- {
		if p[i-1] != '/' {
			continue
		}
		if found, ok := m.byPath[p[:i]]; ok {
			return found, true
		}
	}
	if len(p) < m.longest && p != "" && p[len(p)-1] != '/' { // "LIST kv" means the mount kv/
		found, ok := m.byPath[p+"/"]
		return found, ok
	}
	return Mount{}, false
}

// builtin names the mounts that every namespace has and nobody can move.
func builtin(p string) (Mount, bool) {
	switch {
	case within(p, "sys/"):
		return Mount{Path: "sys/", Type: "sys"}, true
	case within(p, "auth/token/"):
		return Mount{Path: "auth/token/", Type: "auth/token"}, true
	case within(p, "cubbyhole/"):
		return Mount{Path: "cubbyhole/", Type: "cubbyhole", Local: true}, true
	case within(p, "identity/"):
		return Mount{Path: "identity/", Type: "identity"}, true
	}
	return Mount{}, false
}

// within also takes the mount itself without its slash: "LIST cubbyhole".
func within(p, mount string) bool {
	return strings.HasPrefix(p, mount) || p == mount[:len(mount)-1]
}

// NormalNamespace writes a namespace as the tables do: no leading slash, one
// trailing slash, and "" for root.
func NormalNamespace(ns string) string {
	ns = strings.Trim(ns, "/")
	if ns == "" || ns == "root" {
		return ""
	}
	return ns + "/"
}

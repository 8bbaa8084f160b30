package routing

import (
	"maps"
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
	namespaces map[string]map[string]Mount // namespace ("" or "a/b/") → mount path → mount
}

// With returns a new table in which the mounts of one namespace are replaced.
// Namespace is "" for root and ends with a slash otherwise.
func (t *Table) With(namespace string, mounts []Mount) *Table {
	next := &Table{namespaces: make(map[string]map[string]Mount)}
	if t != nil {
		maps.Copy(next.namespaces, t.namespaces)
	}
	byPath := make(map[string]Mount, len(mounts))
	for _, m := range mounts {
		byPath[m.Path] = m
	}
	next.namespaces[namespace] = byPath
	return next
}

// Knows reports whether the mounts of a namespace were ever learned.
func (t *Table) Knows(namespace string) bool {
	if t == nil {
		return false
	}
	_, ok := t.namespaces[namespace]
	return ok
}

// Mounts returns all mounts of one namespace, in no order.
func (t *Table) Mounts(namespace string) []Mount {
	if t == nil {
		return nil
	}
	out := make([]Mount, 0, len(t.namespaces[namespace]))
	for _, m := range t.namespaces[namespace] {
		out = append(out, m)
	}
	return out
}

// resolve splits a decoded API path into namespace, mount and the path below the
// mount. found is false when no mount is known for it; then namespace and rest
// are still right as far as can be told.
func (t *Table) resolve(header, p string) (namespace string, m Mount, rest string, found bool) {
	namespace, p = t.splitNamespace(NormalNamespace(header), p)
	if m, ok := builtin(p); ok {
		return namespace, m, p[len(m.Path):], true
	}
	if t != nil {
		if m, ok := longest(t.namespaces[namespace], p); ok {
			return namespace, m, strings.TrimPrefix(p[min(len(p), len(m.Path)):], "/"), true
		}
	}
	return namespace, Mount{}, p, false
}

// splitNamespace moves leading path segments into the namespace as long as the
// result is a known namespace. A mount of the same name cannot exist in Vault.
func (t *Table) splitNamespace(namespace, p string) (string, string) {
	if t == nil || len(t.namespaces) == 0 {
		return namespace, p
	}
	best, rest := namespace, p
	for i := 0; i < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		candidate := p[:i+1]
		if namespace != "" {
			candidate = namespace + candidate
		}
		if _, ok := t.namespaces[candidate]; !ok {
			break
		}
		best, rest = candidate, p[i+1:]
	}
	return best, rest
}

// longest finds the longest mount prefix. The cost grows with the depth of the
// path, not with the number of mounts.
func longest(mounts map[string]Mount, p string) (Mount, bool) {
	for i := len(p); i > 0; i-- {
		if p[i-1] != '/' {
			continue
		}
		if m, ok := mounts[p[:i]]; ok {
			return m, true
		}
	}
	if p != "" && p[len(p)-1] != '/' { // "LIST kv" means the mount kv/
		if m, ok := mounts[p+"/"]; ok {
			return m, true
		}
	}
	return Mount{}, false
}

// builtin names the mounts that every namespace has and nobody can move.
func builtin(p string) (Mount, bool) {
	switch {
	case strings.HasPrefix(p, "sys/"):
		return Mount{Path: "sys/", Type: "sys"}, true
	case strings.HasPrefix(p, "auth/token/"):
		return Mount{Path: "auth/token/", Type: "auth/token"}, true
	case strings.HasPrefix(p, "cubbyhole/"):
		return Mount{Path: "cubbyhole/", Type: "cubbyhole", Local: true}, true
	case strings.HasPrefix(p, "identity/"):
		return Mount{Path: "identity/", Type: "identity"}, true
	}
	return Mount{}, false
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

// Without returns a new table in which nothing is known of one namespace.
func (t *Table) Without(namespace string) *Table {
	next := &Table{namespaces: maps.Clone(t.namespaces)}
	delete(next.namespaces, namespace)
	return next
}

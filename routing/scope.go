package routing

import "strings"

// Scope is what of the replicated storage a request touches: what a write changes, or
// what an answer depends on.
type Scope struct {
	Namespace string // "" or with trailing slash
	Mount     string // with trailing slash
	// Key is one secret of a kv mount, without data/, metadata/ and the like; empty: all
	// of the mount. Of other engines only the mount is told: what is made with a role
	// depends on more than one path.
	Key string
	// Tree means all keys below Key instead of Key itself, as a list shows them.
	Tree bool
	// Everything means that any answer may depend on it: policies, mounts, identities.
	Everything bool
}

// Scope tells what a request touches. It is zero for what has no replicated storage.
func (d Decision) Scope() Scope {
	s := Scope{Namespace: d.Namespace, Mount: d.Mount}
	switch {
	case d.Mount == "":
		s.Mount = firstSegment(d.Path)
	case d.Mount == "sys/" || d.Mount == "identity/":
		// A read of sys/ depends on what was written there, and on no secret.
		s.Everything = d.Verb&writes != 0
	case d.Engine == "kv-v1":
		s.Key, s.Tree = d.Path, d.Verb == List
	case d.Engine == "kv-v2":
		s.Key, s.Tree = versionedKey(d.Path, d.Verb)
	case d.Engine == "cubbyhole":
		return Scope{}
	}
	return s
}

// versionedKey is the secret that a path of kv version 2 is about.
func versionedKey(p string, verb Verb) (key string, tree bool) {
	kind, key, _ := strings.Cut(p, "/")
	switch kind {
	case "data", "metadata", "subkeys", "delete", "undelete", "destroy":
		return key, verb == List
	}
	return "", false // config, and what is not there
}

func firstSegment(p string) string {
	if i := strings.IndexByte(p, '/'); i >= 0 {
		return p[:i+1]
	}
	return p + "/"
}

// Meets reports whether an answer that depends on read may be changed by a write of s.
func (s Scope) Meets(read Scope) bool {
	switch {
	case s.Mount == "" || read.Mount == "":
		return false
	case s.Everything:
		return true
	case s.Namespace != read.Namespace || s.Mount != read.Mount:
		return false
	case read.Tree:
		return s.Key == "" || below(s.Key, read.Key)
	}
	return s.Key == "" || read.Key == "" || s.Key == read.Key
}

// below reports whether a key is in a folder; every key is in the empty one.
func below(key, folder string) bool {
	folder = strings.TrimSuffix(folder, "/")
	return folder == "" || strings.HasPrefix(key, folder+"/")
}

// Writes reports whether a request may change something.
func (d Decision) Writes() bool { return d.Verb&writes != 0 }

// Versioned reports whether the answer to a read of one secret tells its version.
func (d Decision) Versioned() bool {
	return d.Engine == "kv-v2" && strings.HasPrefix(d.Path, "data/") && d.Verb&List == 0
}

package engine

import "strings"

// Handler answers one operation.
type Handler func(*Request) (*Response, error)

// Route binds a path pattern to its operations. A segment ":name" matches
// one segment, a last segment "*name" matches all that follows.
type Route struct {
	Pattern string
	Public  bool // no token needed
	Forward bool // a performance secondary hands it to the primary unseen
	Root    bool // only for a root token
	Pure    bool // its writes change nothing in the mount's own storage
	Ops     map[Operation]Handler
	Exists  func(*Request) bool // tells update from create, may be nil
}

// Engine is one type of mount. It has no state of its own.
type Engine struct {
	Type   string
	Routes []Route
	Revoke func(*Request, map[string]string) error // undoes a lease, may be nil
}

// Match finds the first route for a path below the mount.
func (e *Engine) Match(path string) (*Route, map[string]string) {
	for i := range e.Routes {
		if params, ok := matchPattern(e.Routes[i].Pattern, path); ok {
			return &e.Routes[i], params
		}
	}
	return nil, nil
}

func matchPattern(pattern, path string) (map[string]string, bool) {
	params := map[string]string{}
	for {
		seg, rest, more := strings.Cut(pattern, "/")
		if strings.HasPrefix(seg, "*") {
			params[seg[1:]] = path
			return params, true
		}
		got, left, slash := strings.Cut(path, "/")
		if !matchSegment(seg, got, params) {
			return nil, false
		}
		if !more {
			return params, left == ""
		}
		if !slash && !strings.HasPrefix(rest, "*") {
			return nil, false
		}
		pattern, path = rest, left
	}
}

func matchSegment(seg, got string, params map[string]string) bool {
	if !strings.HasPrefix(seg, ":") {
		return seg == got
	}
	params[seg[1:]] = got
	return got != ""
}

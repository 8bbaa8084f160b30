package routing

import (
	"errors"
	"strings"
)

// ErrNotAPI is returned for a path outside /v1/ or one that cannot be decoded.
var ErrNotAPI = errors.New("not a Vault API path: it has to begin with /v1/ and be validly percent-encoded")

// Router classifies requests. It is immutable and safe for concurrent use.
type Router struct {
	engines map[string]*engine
	rules   []Rule
}

// New makes a router with the built-in engine tables and the configured rules,
// which are tried first, in their order.
func New(rules []Rule) *Router {
	return &Router{engines: engines(), rules: rules}
}

// Classify decides one request with the mount table at hand; a nil table is a
// table in which nothing is known. The error is ErrNotAPI or nil.
func (r *Router) Classify(t *Table, req Request) (Decision, error) {
	p, ok := apiPath(req.Path)
	if !ok || strings.ContainsRune(p, 0) {
		return Decision{}, ErrNotAPI
	}
	d := Decision{Verb: VerbOf(req.Method, req.RawQuery)}
	d.Namespace, p = t.split(req.Namespace, p)
	m, rest, known := t.mount(d.Namespace, p)
	d.Mount, d.Engine, d.Path = m.Path, m.Type, rest
	switch {
	case d.Verb == Help:
		d.set(Nearest, Repeatable, "help texts are the same everywhere")
	case known:
		r.byEngine(&d, m, req)
	default:
		r.guess(&d, req)
	}
	if req.Wrap {
		d.Learns = true
	}
	r.applyRules(&d, p)
	return d, nil
}

func (d *Decision) set(c Class, e Effect, why string) {
	d.Class, d.Effect, d.Reason = c, e, why
}

// byEngine asks the engine's table, then the general rule, then mends what the
// mount itself changes.
func (r *Router) byEngine(d *Decision, m Mount, req Request) {
	e, ok := r.engines[m.Type]
	if !ok && strings.HasPrefix(m.Type, "auth/") {
		e, ok = r.engines["auth"]
	}
	var found *row
	if ok {
		found = e.root.find(d.Path, d.Verb)
	}
	switch {
	case found != nil:
		d.set(found.class, found.effect, found.why)
		d.Subject, d.Learns, d.Direct = found.subject, found.learns, found.direct
	case ok:
		d.careful("not in the engine's table")
	default:
		d.careful("no table for this engine")
	}
	if m.Local && d.Class == Primary {
		d.set(Nearest, d.Effect, "the mount is local to each cluster")
	}
	d.Special = special(d)
	if m.Type == "sys" {
		d.system(req)
	}
}

// careful decides what no table does: a write goes where it can be done, a read
// might create something, so its answer is looked at, and what looks like a
// credential is not asked for twice.
func (d *Decision) careful(because string) {
	d.Guess, d.Learns = true, true
	if d.Verb&reads == 0 {
		d.set(Primary, Once, because+": a write, so the primary")
		return
	}
	d.set(Nearest, Repeatable, because+": a read, so the nearest")
	below := d.Path
	if d.Engine == "" { // the mount is still part of it
		_, below, _ = strings.Cut(d.Path, "/")
	}
	if d.Verb == Read && looksLikeCredential(below) {
		d.Effect = Once
	}
}

// guess decides a path whose mount is not known.
func (r *Router) guess(d *Decision, req Request) {
	if r.guessNamespace(d, req) {
		return
	}
	d.careful("mount not known yet")
	if d.Verb&(Update|Read) != 0 && looksLikeLogin(d.Path) {
		d.set(Nearest, Once, "mount not known yet: looks like a login")
		d.Special = Login
	}
}

// guessNamespace finds team/sys/leases/renew in a namespace that nobody told of: what
// every namespace has is not reached by the name of a mount. It has to be an
// operation that the engine's table knows.
func (r *Router) guessNamespace(d *Decision, req Request) bool {
	for i := range len(d.Path) {
		if d.Path[i] != '/' {
			continue
		}
		m, ok := builtin(d.Path[i+1:])
		if !ok {
			continue
		}
		rest := d.Path[min(len(d.Path), i+1+len(m.Path)):]
		if reserved(d.Path) || r.engines[m.Type].root.find(rest, d.Verb) == nil {
			return false
		}
		d.Namespace, d.Mount, d.Engine, d.Path = d.Namespace+d.Path[:i+1], m.Path, m.Type, rest
		r.byEngine(d, m, req)
		d.Guess = true
		return true
	}
	return false
}

// reserved reports whether a path begins with a name that no namespace can have.
func reserved(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	switch first {
	case "auth", "audit", "sys", "cubbyhole", "identity", "root":
		return true
	}
	return false
}

// looksLikeLogin finds auth/MOUNT/login, also with a namespace in front and with a
// mount of several segments.
func looksLikeLogin(p string) bool {
	if !strings.HasPrefix(p, "auth/") && !strings.Contains(p, "/auth/") {
		return false
	}
	_, mount, _ := strings.Cut("/"+p, "/auth/")
	i := strings.Index(mount, "/login")
	return i > 0 && (strings.HasSuffix(mount, "/login") || strings.Contains(mount[i:], "/login/"))
}

func looksLikeCredential(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	switch first {
	case "creds", "sts", "token", "key":
		return true
	}
	return false
}

func special(d *Decision) Special {
	switch {
	case strings.HasPrefix(d.Engine, "auth/") && d.Engine != "auth/token" && (d.Path == "login" || strings.HasPrefix(d.Path, "login/")):
		return Login
	case d.Effect == Once && strings.Contains(d.Path, "revoke") && (d.Subject == BodyToken || d.Subject == BodyLease || d.Subject == BodyAccessor):
		return Revoke
	case d.Engine == "sys" && isRevokePrefix(strings.TrimPrefix(d.Path, "leases/")):
		return RevokePrefix
	case d.Engine != "auth/token":
		return Plain
	case d.Path == "revoke-self":
		return RevokeSelf
	case d.Path == "lookup-self", d.Path == "renew-self":
		return SelfLookup
	}
	return Plain
}

func isRevokePrefix(p string) bool {
	return strings.HasPrefix(p, "revoke-prefix/") || strings.HasPrefix(p, "revoke-force/")
}

// system mends what the rows of sys cannot say: mount edits depend on the body,
// and the status reads of client libraries need no cluster named.
func (d *Decision) system(req Request) {
	first, _, _ := strings.Cut(d.Path, "/")
	switch first {
	case "mounts", "auth", "audit", "remount", "namespaces":
		if d.Verb&writes == 0 {
			return
		}
		d.Special = MountsEdit
		d.BodyMatters = d.Verb == Update && first != "remount" && first != "namespaces" && !strings.HasSuffix(d.Path, "/tune")
		if d.BodyMatters && req.LocalMount {
			d.set(Nearest, Once, `"local": true makes it on the cluster that answers`)
		}
	case "health", "seal-status", "leader", "init":
		d.StatusRead = d.Verb&(Read|Header) != 0 && d.Path == first
	}
	if d.Verb&(Read|Header) != 0 && d.Class == Operator {
		d.Effect = Repeatable
	}
}

package proxy

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/health"
)

// HeaderRequestID carries the id by which the log and the flight recorder know a
// request, on the proxy's own errors.
const HeaderRequestID = "X-Vrproxy-Request-Id"

// Observer watches requests. It must not block, and must not keep what it is shown by
// pointer.
type Observer interface {
	// Begin is shown each request first; what it gives goes with the request from then on.
	Begin(r *http.Request) context.Context
	// Attempt is called before a request goes to a node, with the header that goes there,
	// to which it may add. What it gives, if it is not nil, is called once with what came
	// of it.
	Attempt(ctx context.Context, cluster, address string, h http.Header) func(Tried)
	// Done is called once for each request, when its answer is known.
	Done(ctx context.Context, r *Record)
}

// blind watches nothing.
type blind struct{}

func (blind) Begin(r *http.Request) context.Context { return r.Context() }
func (blind) Attempt(context.Context, string, string, http.Header) func(Tried) {
	return nil
}
func (blind) Done(context.Context, *Record) {}

// triedKept is how many attempts a record tells of: the last is always among them.
const triedKept = 4

// Tried is one attempt and what it meant.
type Tried struct {
	Cluster string
	Verdict string
	Status  int // of Vault's answer; 0: there was none
	Took    time.Duration
}

// Record is what became of one request. It holds no token, no secret and no path below
// the mount, and no memory of the request but ClientID and Namespace, whose lengths are
// bounded.
type Record struct {
	Number    uint64 // of the request
	ClientID  string // the client's own X-Request-Id, where it is one to repeat
	Began     time.Time
	Took      time.Duration
	Method    string
	Namespace string
	Mount     string // empty: not known
	Engine    string
	Class     string
	Reason    string
	Rule      string
	// Generation is that of the topology that the last plan was made from.
	Generation uint64
	Tried      [triedKept]Tried // unused ones have no cluster
	Attempts   int
	Cluster    string // that answered; empty: the proxy itself did
	Status     int
	Code       string // of the proxy's own error
	Why        string // that error's text, or why the first cluster was left
}

// ID is the client's id for the request, or one made of its number.
func (r *Record) ID() string {
	if r.ClientID != "" {
		return r.ClientID
	}
	const digits = 16
	s := strconv.FormatUint(r.Number, 16)
	return strings.Repeat("0", digits-len(s)) + s
}

// The bounds of what a record keeps of the client's words.
const (
	maxClientID  = 128
	maxNamespace = 128
	maxWhy       = 200
)

// watch begins the request's record.
func (x *exchange) watch() {
	if ctx := x.p.cfg.Observer.Begin(x.r); ctx != x.r.Context() {
		x.r = x.r.WithContext(ctx)
	}
	x.record.Number, x.record.Began, x.record.Method = x.p.cfg.Numbers.Add(1), x.began, knownMethod(x.r.Method)
	if ids := x.r.Header["X-Request-Id"]; len(ids) == 1 && plainID(ids[0]) && !carries(x.r.Header, ids[0]) {
		x.record.ClientID = ids[0]
	}
}

// tried notes what an attempt meant.
func (x *exchange) tried(a *answer, v verdict) {
	x.answered = time.Now()
	t := Tried{Cluster: a.cluster.Name, Verdict: v.String(), Status: a.out.status, Took: x.answered.Sub(a.began)}
	x.record.Tried[min(x.record.Attempts, triedKept-1)] = t
	x.record.Attempts++
	a.watched(t)
}

// watched tells whoever watches the attempt.
func (a *answer) watched(t Tried) {
	if a.watch != nil {
		a.watch(t)
		a.watch = nil
	}
}

// observe counts the request and shows its record.
func (x *exchange) observe(cluster string, status int) {
	r, d := &x.record, x.decision
	r.Took = time.Since(x.began)
	x.p.cfg.Metrics.request(d.Class, cluster, status, r.Took)
	r.Mount, r.Engine, r.Class, r.Reason, r.Rule = d.Mount, d.Engine, string(d.Class), d.Reason, d.Rule
	r.Namespace = d.Namespace
	if d.Guess || len(d.Namespace) > maxNamespace { // else it is not a part of the path
		r.Namespace = bounded(d.Namespace, maxNamespace)
	}
	r.Attempts, r.Cluster, r.Status = x.attempts, cluster, status
	if x.attempts > 1 && r.Why == "" && x.lastErr != nil {
		r.Why = bounded(reasonOf(x.lastErr), maxWhy)
	}
	x.p.cfg.Observer.Done(x.r.Context(), r)
}

// plans notes from which picture a plan was made.
func (x *exchange) plans(t *health.Topology) *health.Topology {
	x.record.Generation = t.Generation
	return t
}

// bounded gives a copy, so that nothing holds on to the request it was part of.
func bounded(s string, most int) string { return strings.Clone(s[:min(len(s), most)]) }

// knownMethod gives a constant: the client's own is part of a line with the path in it.
func knownMethod(m string) string {
	for _, known := range [...]string{"GET", "LIST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "SCAN", "HELP", "CONNECT", "TRACE"} {
		if m == known {
			return known
		}
	}
	return "other"
}

// plainID reports whether a client's id may be repeated in logs.
func plainID(id string) bool {
	if id == "" || len(id) > maxClientID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.:/+=@", rune(c)) {
			return false
		}
	}
	// What Vault's tokens begin with.
	return !strings.HasPrefix(id, "hvs.") && !strings.HasPrefix(id, "hvb.") && !strings.HasPrefix(id, "hvr.") && !strings.HasPrefix(id, "s.")
}

// carries reports whether an id is the token that the request brings.
func carries(h http.Header, id string) bool { return tokenOf(h).value == id }

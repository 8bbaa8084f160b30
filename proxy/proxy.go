// Package proxy carries one client request to Vault and its answer back:
// guard, classify, authorise, plan, send, judge, answer. It fails over inside the
// one request the client made, and never sends anything twice that might have had
// an effect.
//
// The story is told by exchange.serve; what Vault's answers mean is the pure
// function judge.
package proxy

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/consistency"
	"github.com/vrproxy/vrproxy/internal/http1"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// Health is what the proxy needs of the health room.
type Health interface {
	Topology() *health.Topology
	Changed() <-chan struct{}
	// Failed reports that a node could not serve a request.
	Failed(cluster, address string, err error)
	// Succeeded reports that a node whose Struck is true served one.
	Succeeded(cluster, address string)
}

// Mounts is what the proxy needs of the mount learner.
type Mounts interface {
	Table() *routing.Table
	// Learn asks for the mount of a path below a namespace, at a home with a token
	// valid there, and reports whether the table is richer now.
	Learn(ctx context.Context, namespace, path, home, token string) bool
	Forget(namespace string)
	// Refresh tells of a token that is good at a home, for mounts that are old. It
	// must not block.
	Refresh(namespace, home, token string)
}

// Upstream sends one request to the node its URL names, over the cluster's
// connections.
type Upstream interface {
	// Send sends it; bare over a connection without a client certificate. A request with
	// a Body is streamed. sent reports, beside an error, whether a part of it may have
	// arrived: until then nothing can have happened.
	Send(ctx context.Context, cluster string, call *http1.Call, bare bool) (resp *http.Response, sent bool, err error)
}

// Config is all that a Proxy needs. Everything without a default is required.
type Config struct {
	Health   Health
	Mounts   Mounts
	Upstream Upstream
	Router   *routing.Router
	Planner  *routing.Planner
	Tokens   *tokencache.Cache
	// ShowsCertificate is true when connections to Vault carry a client certificate,
	// which auth/cert would take for that of whoever logs in.
	ShowsCertificate bool
	// NoReplay names the auth methods whose logins are not repeated elsewhere.
	NoReplay []string
	Metrics  *Metrics // default: counted and shown to nobody
	// Failover is told when a request began at one cluster and was answered by
	// another; may be nil. It must not block.
	Failover func(from, to, reason string)
	Observer Observer // default: nobody watches
	// Numbers counts the requests, so that each has a name; default: from 0.
	Numbers *atomic.Uint64
	// PrimaryWait is how long a write waits for a primary to appear; 0: not at all.
	PrimaryWait time.Duration
	// AttemptTimeout is how long a repeatable request waits for the first byte of an
	// answer while there is another cluster to ask; default 2s.
	AttemptTimeout time.Duration
	// AnswerTimeout is how long any request waits for the first byte of an answer;
	// default 90s, Vault's own max_request_duration.
	AnswerTimeout time.Duration
	// Hedge asks a second cluster for a read that takes longer than 95 of 100 do.
	Hedge bool
	// MaxInFlight is how many requests one cluster is sent at the same time; default
	// 1024.
	MaxInFlight int
	// Memories is what sessions wrote and read, for the guarantee that a client reads its
	// own writes; nil: there is none.
	Memories *consistency.Memories
	// Budget is what repeats and hedges are paid from, with logins; default: an own one.
	Budget *Budget
	// KeepBody is the largest request body, in bytes, that is kept for a repeat; default
	// 64 KiB.
	KeepBody int
	Logger   *zap.Logger // default: none
}

func (c Config) withDefaults() Config {
	if c.Budget == nil {
		c.Budget = NewBudget()
	}
	if c.AttemptTimeout <= 0 {
		c.AttemptTimeout = 2 * time.Second
	}
	if c.AnswerTimeout <= 0 {
		c.AnswerTimeout = 90 * time.Second
	}
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = 1024
	}
	if c.KeepBody <= 0 {
		c.KeepBody = keepBody
	}
	if c.Failover == nil {
		c.Failover = func(string, string, string) {}
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if c.Observer == nil {
		c.Observer = blind{}
	}
	if c.Numbers == nil {
		c.Numbers = new(atomic.Uint64)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// Proxy serves client requests. It is safe for concurrent use and holds nothing
// that has to be closed.
type Proxy struct {
	cfg       Config
	waits     waits
	budget    *Budget
	flying    flying
	paces     paces
	buffers   sync.Pool // of *[copyBuffer]byte
	gathers   sync.Pool // of *[]byte
	exchanges sync.Pool
	waiting   sync.Pool               // of *impatience
	bases     found[string, *url.URL] // the nodes' addresses
}

// New makes a proxy.
func New(cfg Config) *Proxy {
	cfg = cfg.withDefaults()
	p := &Proxy{cfg: cfg, waits: waits{gauge: cfg.Metrics.waiting}, budget: cfg.Budget, flying: flying{limit: int64(cfg.MaxInFlight)}, buffers: sync.Pool{New: func() any { return new([copyBuffer]byte) }},
		gathers: sync.Pool{New: func() any { return new([]byte) }},
	}
	p.exchanges.New = p.newExchange
	p.waiting.New = func() any { return &impatience{} }
	return p
}

// Lend says when a listener lends out the proxy's own identity.
type Lend string

// The ways to lend it; the contract's words.
const (
	LendNever    Lend = "never"
	LendFallback Lend = "fallback" // to requests without a token
	LendForce    Lend = "force"    // also instead of a client's token
)

// Policy is what differs between listeners.
type Policy struct {
	Lend          Lend
	RequireHeader bool // refuse requests without X-Vault-Request: true
}

// Handler serves one listener. It must not be put behind an http.ServeMux, which
// would rewrite paths.
func (p *Proxy) Handler(policy Policy) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Serve(w, r, policy) }) //nolint:contextcheck // the request has it
}

// Serve serves one request as a handler for a policy does.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, policy Policy) {
	x, _ := p.exchanges.Get().(*exchange)
	x.w, x.r, x.policy, x.began = w, r, policy, time.Now()
	x.words = x.room[:0]
	x.serve()
	if !x.raced {
		x.reset()
		p.exchanges.Put(x)
	}
}

const manyFields = 48

// reset makes it that of no request. What it keeps is empty, and costs less than a new one.
func (x *exchange) reset() {
	if clear(x.outgoing); len(x.r.Header) > manyFields { // it would stay that large
		x.outgoing = make(http.Header)
	}
	*x = exchange{p: x.p, outgoing: x.outgoing, tell: x.tell}
}

func (p *Proxy) newExchange() any {
	x := &exchange{p: p, outgoing: make(http.Header)}
	x.tell = x.passInterim
	return x
}

// set is h.Set for a name in canonical form.
func (x *exchange) set(h http.Header, name, value string) {
	x.words = append(x.words, value)
	n := len(x.words)
	h[name] = x.words[n-1 : n : n]
}

// exchange is one client request on its way. Its fields are filled in the order of
// the story.
type exchange struct {
	p      *Proxy
	policy Policy
	w      http.ResponseWriter
	r      *http.Request
	began  time.Time

	target   target
	body     body
	fields   bodyFields // of a small JSON body; filled when the decision needs it
	decision routing.Decision
	token    clientToken
	session  *tokencache.Session // nil: no token, or one known nowhere
	limits   routing.Constraint

	reading reading

	wanders  bool // the token is the client's own, and its home is not certain
	record   Record
	attempts int
	answered time.Time // when the last attempt was over
	from     string    // cluster of the first attempt
	lastErr  error     // why the last candidate was passed over
	held     *answer   // of a cluster where nothing is mounted, until the primary was asked
	denied   *answer   // of the first cluster that did not know the token
	all      bool      // goes to every home
	next     stop      // the one that comes after the present one
	owes     bool      // the next attempt is a repeat
	strange  []string  // homes that did not know the token
	interim  interim

	// The request to Vault, in the same place for each attempt but where two of them
	// were under way at the same time.
	sending  sending
	outgoing http.Header
	raced    bool
	tell     func(int, textproto.MIMEHeader) error // passInterim
	words    []string                              // values of headers
	room     [6]string                             // for them
}

// serve is the life of a request.
func (x *exchange) serve() {
	x.p.budget.earn(x.began, extraShare)
	x.watch()
	if f := x.guard(); f != nil {
		x.refuse(f)
		return
	}
	if f := x.classify(); f != nil {
		x.refuse(f)
		return
	}
	if f := x.authorise(); f != nil {
		x.refuse(f)
		return
	}
	x.recall()
	if f := x.carry(); f != nil {
		x.refuse(f)
	}
}

// carry plans and tries until there is an answer, or nothing is left to wait for.
func (x *exchange) carry() *failure {
	if x.all {
		return x.everywhere()
	}
	var giveUp time.Time
	for {
		changed := x.p.cfg.Health.Changed()
		f := x.once()
		if f == nil || !f.wait {
			return f
		}
		if giveUp.IsZero() {
			giveUp = time.Now().Add(x.worthWaiting())
		}
		if !x.waitsFor(changed, giveUp, f) {
			return f
		}
	}
}

// worthWaiting is how long a request waits for what it needs: a write for a primary; a
// read, that nobody answered, for an election or the end of a short trouble; what
// depends on a write, for that to arrive.
func (x *exchange) worthWaiting() time.Duration {
	switch {
	case x.decision.Class == routing.Primary:
		return x.p.cfg.PrimaryWait - time.Since(x.began)
	case x.decision.Effect == routing.Repeatable, x.reading.needs:
		return min(readWait, x.p.cfg.PrimaryWait)
	}
	return 0
}

// waitsFor waits for the next topology; false: there is no time, or no room.
func (x *exchange) waitsFor(changed <-chan struct{}, giveUp time.Time, f *failure) bool {
	if !time.Now().Before(giveUp) {
		return false
	}
	if !x.p.waits.enter(len(x.body.kept)) {
		f.text += "; and too many requests wait already"
		return false
	}
	defer x.p.waits.leave(len(x.body.kept))
	if !x.await(changed, time.Until(giveUp)) {
		return false
	}
	return x.pause(roundPause) // its own failures change the topology, too
}

// once makes one plan and tries its candidates.
func (x *exchange) once() *failure {
	plan, err := x.p.cfg.Planner.Plan(x.plans(x.p.cfg.Health.Topology()), x.decision, x.limits)
	if err != nil {
		return refused(err)
	}
	plan, f := x.freshest(plan)
	if f != nil {
		return f
	}
	if plan.LastResort {
		x.p.cfg.Metrics.lastResort()
	}
	return x.try(plan)
}

// await waits for the next topology; false means that the client or the time is
// gone.
func (x *exchange) await(changed <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-changed:
		return true
	case <-timer.C:
	case <-x.r.Context().Done():
	}
	return false
}

// refuse answers with an error of the proxy's own.
func (x *exchange) refuse(f *failure) {
	if f.code == staleRead {
		x.p.cfg.Metrics.consistency("refused")
	}
	x.interim.end()
	x.head("")
	x.record.Code, x.record.Why = string(f.code), bounded(f.text, maxWhy)
	x.observe("", statusOf(f.code))
	x.w.Header().Set(HeaderRequestID, x.record.ID())
	f.write(x.w)
}

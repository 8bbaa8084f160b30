package proxy

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/http1"
	"github.com/vrproxy/vrproxy/tokencache"
)

// Hedging asks a second cluster when the first takes longer than nearly always, and
// takes whichever answers first. Only what may be repeated, and only as far as the
// budget of repeats goes.

const (
	latencies  = 128 // answers remembered per cluster
	recomputed = 16  // after so many new ones, the 95th percentile is worked out anew
	hedgeFloor = 2 * time.Millisecond
)

// pace is how long a cluster takes to begin its answers.
type pace struct {
	mu    sync.Mutex
	last  [latencies]time.Duration
	n     int
	slow  time.Duration // 95th percentile
	fresh bool          // enough were seen to tell
}

func (p *pace) note(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[p.n%latencies] = took
	p.n++
	if p.n < latencies || p.n%recomputed != 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(p.last[:]))
	p.slow, p.fresh = max(sorted[latencies*95/100], hedgeFloor), true
}

func (p *pace) usual() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slow, p.fresh
}

// paces are those of all clusters.
type paces struct{ of sync.Map }

func (p *paces) get(cluster string) *pace {
	v, ok := p.of.Load(cluster)
	if !ok {
		v, _ = p.of.LoadOrStore(cluster, &pace{})
	}
	out, _ := v.(*pace)
	return out
}

// leg is one of two requests under way, for one answer.
type leg struct {
	cluster *health.Cluster
	address string
	token   tokencache.Token
	resp    *http.Response
	sent    bool
	err     error
	began   time.Time
	watch   func(Tried)
	end     context.CancelFunc
}

func (l *leg) good() bool { return l.err == nil && l.resp.StatusCode < http.StatusInternalServerError }

// second is where a hedge would go: another cluster, for which there is a token already.
func (x *exchange) second() (stop, tokencache.Token, bool) {
	if x.wanders || x.limits.Home != "" || !x.next.set() {
		return stop{}, tokencache.Token{}, false
	}
	if x.session == nil {
		return x.next, tokencache.Token{}, true
	}
	token, ok := x.session.Has(x.next.cluster.Home())
	return x.next, token, ok
}

// race sends a request, and after the usual time the same to a second cluster. The
// answer is the first that is good; what comes later is dropped.
func (x *exchange) race(ctx context.Context, a *answer, call *http1.Call) (resp *http.Response, sent bool, err error) {
	usual, known := x.p.paces.get(a.cluster.Name).usual()
	to, token, ok := x.second()
	if !known || !ok {
		return x.timed(ctx, a.cluster.Name, call)
	}
	x.raced = true
	r := &racing{x: x, done: make(chan *leg, 2)}
	r.start(ctx, &leg{cluster: a.cluster, address: a.address, token: a.token, began: a.began, watch: a.watch}, call)
	winner := r.wait(usual, func() {
		x.attempts++
		again := x.call(to.address, token, true)
		watch := x.p.cfg.Observer.Attempt(ctx, to.cluster.Name, to.address, again.Request.Header)
		r.start(ctx, &leg{cluster: to.cluster, address: to.address, token: token, began: time.Now(), watch: watch}, again)
	})
	a.cluster, a.address, a.token, a.began, a.watch = winner.cluster, winner.address, winner.token, winner.began, winner.watch
	return winner.resp, winner.sent, winner.err
}

// racing is one or two legs under way.
type racing struct {
	x       *exchange
	running []*leg
	done    chan *leg
}

func (r *racing) start(ctx context.Context, l *leg, call *http1.Call) {
	ctx, l.end = context.WithCancel(ctx)
	r.running = append(r.running, l)
	go func() {
		l.resp, l.sent, l.err = r.x.timed(ctx, l.cluster.Name, call) //nolint:bodyclose // the winner's is read, the loser's dropped
		r.done <- l
	}()
}

// wait gives the first leg that is good, or the last; after the usual time a second one
// is started, if there is budget for it.
func (r *racing) wait(usual time.Duration, second func()) *leg {
	timer := time.NewTimer(usual)
	defer timer.Stop()
	for back := 0; ; {
		select {
		case <-timer.C:
			if r.x.p.budget.spend() {
				r.x.p.cfg.Metrics.hedges.Inc()
				second()
			}
		case l := <-r.done:
			back++
			if l.good() || back == len(r.running) {
				r.settle(l, len(r.running)-back)
				return l
			}
			drop(l) // the other may do better
		}
	}
}

// settle ends the other leg, and drops what still comes of it.
func (r *racing) settle(winner *leg, underWay int) {
	for _, other := range r.running {
		if other != winner {
			other.end()
			other.overtaken()
		}
	}
	go func() {
		for range underWay {
			drop(<-r.done)
		}
	}()
}

// timed sends a request and notes how long its answer took to begin.
func (x *exchange) timed(ctx context.Context, cluster string, call *http1.Call) (resp *http.Response, sent bool, err error) {
	began := time.Now()
	resp, sent, err = x.p.cfg.Upstream.Send(ctx, cluster, call, x.hidesCertificate())
	if err == nil {
		x.p.paces.get(cluster).note(time.Since(began))
	}
	return resp, sent, err
}

// overtaken tells whoever watches that the other leg answered.
func (l *leg) overtaken() {
	if l.watch != nil {
		l.watch(Tried{Cluster: l.cluster.Name, Verdict: "overtaken", Took: time.Since(l.began)})
	}
}

func drop(l *leg) {
	if l.resp != nil {
		_ = l.resp.Body.Close() // nobody reads it
	}
	l.end()
}

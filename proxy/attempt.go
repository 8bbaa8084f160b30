package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

const (
	gatherBody  = 64 << 10              // of an answer read before it is passed on
	errorPeek   = 16 << 10              // read of an error answer, to judge it
	lagPause    = 50 * time.Millisecond // between repeats at a cluster that lags
	lagRepeats  = 10                    // such repeats at most, per request
	maxRelogins = 1                     // new logins because of a refused token, per cluster
	maxMoves    = 2                     // redirects followed, per cluster
)

// errAnswerTimeout is the cause of a cancelled attempt that got no answer in time.
var errAnswerTimeout = errors.New("no answer in time")

// answer is one answer of Vault, or why there is none.
type answer struct {
	resp    *http.Response // nil when failed
	cluster *health.Cluster
	address string           // of the node
	token   tokencache.Token // sent with it; zero when the client's went as it was
	out     outcome
	err     error
	cancel  func() // ends the attempt's context
	release func() // that, and what else the attempt holds; call when the body is read
}

func (a *answer) close() {
	if a.resp != nil {
		_ = a.resp.Body.Close()
	}
	a.release()
}

// stop is one node on the way through a plan.
type stop struct {
	cluster *health.Cluster
	address string
}

// stops flattens a plan: its clusters in order and, in each, the best node and
// whatever other nodes serve.
func stops(candidates []routing.Candidate) []stop {
	out := make([]stop, 0, len(candidates))
	for _, c := range candidates {
		for j, n := range c.Nodes {
			if j == 0 || n.Serves {
				out = append(out, stop{c.Cluster, n.Address})
			}
		}
	}
	return out
}

func (s stop) set() bool { return s.cluster != nil }

// nextCluster is the first stop at another cluster than that of the first of these.
func nextCluster(all []stop) stop {
	for _, s := range all {
		if s.cluster != all[0].cluster {
			return s
		}
	}
	return stop{}
}

// errBudget ends a plan because too much is repeated already.
var errBudget = errors.New("the budget of repeats is used up")

// errBusy marks candidates passed over because they have enough to do.
var errBusy = errors.New("it has as many requests in flight as it may")

// errNoToken marks candidates passed over because the session has no token there.
var errNoToken = errors.New("no token for this cluster")

// try goes through the plan until one stop settles the request; at the end through what
// did not look usable.
func (x *exchange) try(plan routing.Plan) *failure {
	defer x.letGo()
	settled, f := x.visit(stops(plan.Candidates), len(plan.Rest) == 0)
	if !settled && x.held == nil && x.denied == nil && len(plan.Rest) > 0 {
		x.p.cfg.Metrics.lastResort()
		settled, f = x.visit(stops(plan.Rest), true)
	}
	if settled {
		return f
	}
	return x.fruitless(plan)
}

// visit tries one stop after another; settled means that the client has its answer, or
// the failure is final. final says that nothing comes after them.
func (x *exchange) visit(all []stop, final bool) (settled bool, f *failure) {
	var without *health.Cluster // the session has no token there: its other nodes have none either
	for i, s := range all {
		if s.cluster == without || x.held != nil && s.cluster.Role != health.RolePrimary {
			continue
		}
		if !x.mayRepeat() {
			break
		}
		x.next = nextCluster(all[i:])
		moveOn, f := x.at(s.cluster, s.address, final && i == len(all)-1)
		if !moveOn {
			return true, f
		}
		if x.r.Context().Err() != nil {
			return true, &failure{code: clientGone, text: "the client went away"}
		}
		if errors.Is(x.lastErr, errNoToken) {
			without = s.cluster
		}
	}
	return false, nil
}

// fruitless ends a plan that no stop settled.
func (x *exchange) fruitless(plan routing.Plan) *failure {
	switch {
	case x.held != nil && x.lastErr == nil:
		x.answer(x.held)
		return nil
	case x.denied != nil:
		return x.nobodys(plan)
	}
	return x.exhausted(plan)
}

// mayRepeat pays for an attempt that repeats another.
func (x *exchange) mayRepeat() bool {
	if !x.owes {
		return true
	}
	x.owes = false
	if x.p.budget.spend() {
		return true
	}
	x.p.cfg.Metrics.exhausted.Inc()
	x.lastErr = errors.Join(errBudget, x.lastErr)
	return false
}

// hold keeps the answer of a cluster where nothing is mounted at the path, for the
// case that the primary can't be asked either: a paths filter leaves mounts out of a
// secondary, and a local mount is on one cluster.
// Going on is no failover.
func (x *exchange) hold(a *answer) { x.held, x.lastErr, x.from = a, nil, "" }

// mayHold: only a secondary lacks mounts that the primary has, and who names a cluster
// wants its word.
func (x *exchange) mayHold(c *health.Cluster) bool {
	return x.held == nil && c.Role == health.RoleSecondary && x.limits.Pin == ""
}

// letGo closes the answers that were kept. Closing twice is fine.
func (x *exchange) letGo() {
	for _, kept := range []*answer{x.held, x.denied} {
		if kept != nil {
			kept.close()
		}
	}
	x.held, x.denied, x.strange = nil, nil, nil
}

// at tries one node, with repeats where Vault's answer asks for them. moveOn means
// that nothing happened there and the next candidate may be tried; otherwise the
// client has its answer, or the failure is final.
func (x *exchange) at(c *health.Cluster, address string, last bool) (moveOn bool, f *failure) {
	var t tries
	for {
		token, err := x.tokenFor(c, last)
		if err != nil {
			x.lastErr = errors.Join(errNoToken, err)
			return true, nil
		}
		if !x.body.repeatable() {
			x.lastErr = errBodySpent
			return false, &failure{code: routing.NoHealthyCluster, text: errBodySpent.Error()}
		}
		giveBack, ok := x.p.flying.take(c.Name)
		if !ok {
			x.lastErr = errBusy
			return true, nil
		}
		a := x.send(c, address, token, last)
		a.release = sync.OnceFunc(func() { a.cancel(); giveBack() })
		v := x.verdict(a)
		x.p.cfg.Metrics.attempt(c.Name, v)
		switch {
		case x.again(v, a, &t):
			a.close()
		case v == moved && t.moves < maxMoves && x.body.whole:
			t.moves++
			address = x.activeNode(a)
			a.close()
		case v == absent && x.mayHold(c):
			x.hold(a)
			return true, nil
		case v == foreign:
			x.disown(a)
			return true, nil
		case v == next:
			x.passedOver(a, address)
			return true, nil
		case v == unknown:
			x.passedOver(a, address)
			return false, x.lost(a)
		default:
			x.served(c, address)
			x.answer(a)
			return false, nil
		}
	}
}

// served tells health of a node that failed requests before.
func (x *exchange) served(c *health.Cluster, address string) {
	for _, n := range c.Nodes {
		if n.Struck && n.Address == address {
			x.p.cfg.Health.Succeeded(c.Name, address)
		}
	}
}

// verdict judges an attempt by what is known of the token, too.
func (x *exchange) verdict(a *answer) verdict {
	switch v := judge(a.out); {
	case x.isForeign(v, a):
		return foreign
	case v == done && x.activeNode(a) != "":
		return moved
	case v == confirm:
		return x.confirmed(a)
	default:
		return v
	}
}

// activeNode is where a standby redirects to, if that is a known node of its cluster;
// never from https to http. Other redirects are for the client: to a clean path, or to
// addresses that nobody configured.
func (x *exchange) activeNode(a *answer) string {
	if a.resp == nil || a.out.status != http.StatusTemporaryRedirect {
		return ""
	}
	to, err := a.resp.Location()
	if err != nil || to.EscapedPath() != x.target.path {
		return ""
	}
	for _, n := range a.cluster.Nodes {
		known, err := url.Parse(n.Address)
		if err == nil && known.Host == to.Host && known.Scheme == to.Scheme && n.Address != a.address {
			return n.Address
		}
	}
	return ""
}

// tries counts the repeats at one node.
type tries struct{ relogins, lags, moves int }

// again reports whether the same node is worth another try, once what was in the way
// is mended.
func (x *exchange) again(v verdict, a *answer, t *tries) bool {
	switch {
	case v == relogin && t.relogins < maxRelogins && x.rejected(a):
		t.relogins++
	case v == lagging && t.lags < lagRepeats && x.pause(lagPause):
		t.lags++
	default:
		return false
	}
	return true
}

// tokenFor gives the token to send to a cluster; zero means the client's own as it
// came, or none. While there is another cluster to ask, a login may not take longer
// than an answer may.
func (x *exchange) tokenFor(c *health.Cluster, last bool) (tokencache.Token, error) {
	if x.session == nil || x.wanders || x.limits.Pin != "" && !x.session.Roams() {
		return tokencache.Token{}, nil // who names a cluster says that the token is good there
	}
	limit := x.p.cfg.AnswerTimeout
	if !last {
		limit = x.p.cfg.AttemptTimeout
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), limit)
	defer cancel()
	return x.session.Token(ctx, c.Home())
}

// rejected tells the session that its token is invalid; true when another login is
// worth a try.
func (x *exchange) rejected(a *answer) bool {
	return x.session != nil && !a.token.IsZero() && x.session.Rejected(a.cluster.Home(), a.token)
}

// confirmed settles whether a bare "permission denied" meant the token.
func (x *exchange) confirmed(a *answer) verdict {
	if x.session == nil || a.token.IsZero() {
		return done
	}
	valid, err := x.p.cfg.Tokens.Valid(x.r.Context(), x.decision.Namespace, a.cluster.Home(), a.token)
	if err != nil || valid {
		return done
	}
	return relogin
}

func (x *exchange) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.r.Context().Done():
		return false
	}
}

// passedOver notes why a candidate was left, and tells health about nodes that
// could not be talked to.
func (x *exchange) passedOver(a *answer, address string) {
	x.lastErr = a.err
	if a.resp != nil {
		x.lastErr = fmt.Errorf("%s answered %d", a.cluster.Name, a.out.status)
	}
	a.close()
	x.owes = true
	if x.r.Context().Err() != nil {
		return // the client's going away is not the node's fault
	}
	if a.out.failed || a.out.status == http.StatusServiceUnavailable {
		x.p.cfg.Health.Failed(a.cluster.Name, address, x.lastErr)
	}
	x.p.cfg.Logger.Debug("passed over", zap.String("cluster", a.cluster.Name), zap.Error(x.lastErr))
}

// lost is the end of a request that was sent and never answered.
func (x *exchange) lost(a *answer) *failure {
	if x.r.Context().Err() != nil {
		return &failure{code: clientGone, text: "the client went away"}
	}
	return &failure{code: outcomeUnknown, text: fmt.Sprintf("the request was sent to cluster %s and its answer was lost; it may or may not have taken effect, and was not repeated", a.cluster.Name)}
}

// exhausted is the end of a plan in which no candidate could be used.
func (x *exchange) exhausted(plan routing.Plan) *failure {
	switch {
	case errors.Is(x.lastErr, tokencache.ErrSessionLost):
		return &failure{code: sessionLost, text: tokencache.ErrSessionLost.Error()}
	case x.limits.Pin != "" || plan.Cluster != "":
		return &failure{code: routing.NoHealthyCluster, text: "the cluster asked for could not be reached: " + clusterNames(plan.Candidates)}
	case errors.Is(x.lastErr, errBudget):
		return &failure{code: routing.NoHealthyCluster, text: "it failed, and too many requests are repeated already; try again in a moment"}
	case errors.Is(x.lastErr, errBusy):
		return &failure{code: routing.NoHealthyCluster, text: "every cluster that may serve this request has as many in flight as it may; try again in a moment"}
	case x.wanders:
		return tokenUnknown()
	case plan.Class == routing.Primary:
		return &failure{code: routing.NoPrimary, text: "the primary cluster could not be reached, nor a secondary that forwards to it", wait: true}
	case x.limits.Home != "" && !x.limits.HomeFirst:
		return &failure{code: routing.OwnerUnavailable, text: fmt.Sprintf("only cluster %s holds the token, lease or flow that this request needs, and it cannot be reached", x.limits.Home)}
	case errors.Is(x.lastErr, errAnswerTimeout):
		return &failure{code: deadline, text: "no cluster answered in time", wait: true}
	}
	return &failure{code: routing.NoHealthyCluster, text: "no cluster could be reached; tried: " + clusterNames(plan.Candidates)}
}

func clusterNames(cs []routing.Candidate) string {
	names := make([]string, len(cs))
	for i, c := range cs {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// send makes one attempt and reads as much of an error answer as judging needs.
func (x *exchange) send(c *health.Cluster, address string, token tokencache.Token, last bool) *answer {
	x.attempts++
	if x.from == "" {
		x.from = c.Name
	}
	ctx, cancel := context.WithCancelCause(x.r.Context())
	end := func() { cancel(nil) }
	a := &answer{cluster: c, address: address, token: token, cancel: end, release: end}
	a.out.repeatable = x.decision.Effect == routing.Repeatable && x.body.whole
	stop := x.patience(a, last, func() { cancel(errAnswerTimeout) })
	defer stop()

	var sent sentinel
	req := x.request(sent.trace(ctx), address, token, a.out.repeatable)
	resp, err := x.transfer(ctx, a, req) //nolint:bodyclose // answer.close does, once the client has it
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		a.err, a.out.failed, a.out.sent = err, true, sent.happened()
		return a
	}
	a.resp, a.out.status = resp, resp.StatusCode
	a.out.json = strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json")
	if resp.StatusCode >= 400 {
		a.out.text = peek(resp)
	}
	if err := x.gather(a); err != nil {
		a.err, a.out.failed, a.out.sent = err, true, true
		if cause := context.Cause(ctx); cause != nil {
			a.err = fmt.Errorf("%w (%w)", cause, err)
		}
	}
	return a
}

// transfer is one request and the head of its answer, or of two, the first.
func (x *exchange) transfer(ctx context.Context, a *answer, req *http.Request) (*http.Response, error) {
	if a.out.repeatable && x.p.cfg.Hedge {
		return x.race(ctx, a, req)
	}
	return x.p.cfg.Upstream.RoundTrip(a.cluster.Name, req, x.hidesCertificate())
}

// gather reads a small answer before any of it is passed on: if it breaks off, another
// cluster is asked, or the client is told that the outcome is unknown. Larger ones, and
// what is not JSON, are streamed as they come.
func (x *exchange) gather(a *answer) error {
	if !a.out.json || a.resp.ContentLength > gatherBody {
		return nil
	}
	rest := a.resp.Body
	raw, err := io.ReadAll(io.LimitReader(rest, gatherBody))
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	a.resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(raw), rest), rest}
	return nil
}

// patience gives up on an attempt that gets no answer. What may be repeated waits a
// short while when there is another cluster to ask; otherwise it waits for a slow
// cluster, but not for one that health finds down meanwhile. What may not be
// repeated always waits the long time: giving up early would only lose its outcome.
func (x *exchange) patience(a *answer, last bool, giveUp func()) (stop func()) {
	short, long := x.p.cfg.AttemptTimeout, x.p.cfg.AnswerTimeout
	if !a.out.repeatable {
		timer := time.AfterFunc(long, giveUp)
		return func() { timer.Stop() }
	}
	began := time.Now()
	var timer *time.Timer
	timer = time.AfterFunc(long, func() {
		now, ok := x.p.cfg.Health.Topology().Cluster(a.cluster.Name)
		if !last || !ok || !now.Usable() || time.Since(began) >= long {
			giveUp()
			return
		}
		timer.Reset(short)
	})
	timer.Reset(short) // timer is set before its function can run
	return func() { timer.Stop() }
}

// request makes the upstream request: the client's method, path, query, header and
// body, byte for byte, with the token exchanged.
func (x *exchange) request(ctx context.Context, address string, token tokencache.Token, repeatable bool) *http.Request {
	base, err := url.Parse(address)
	if err != nil {
		base = &url.URL{} // addresses are validated with the configuration
	}
	out := (&http.Request{
		Method: x.r.Method,
		URL: &url.URL{
			Scheme: base.Scheme, Host: base.Host,
			Opaque: x.target.path, RawQuery: x.target.query,
			ForceQuery: x.target.hasQuery && x.target.query == "",
		},
		Host:   base.Host,
		Proto:  "HTTP/1.1",
		Header: x.upstreamHeader(),
	}).WithContext(ctx)
	if x.session != nil && x.session == x.p.cfg.Tokens.Identity() {
		out.Header.Del("Authorization") // a client's token that the identity replaces
	}
	if !token.IsZero() {
		x.token.put(out.Header, token.Reveal())
	}
	x.body.attach(out, repeatable)
	if len(x.r.Trailer) > 0 {
		out.Trailer = x.r.Trailer
	}
	return out
}

// peek reads the beginning of an error answer and puts it back.
func peek(resp *http.Response) string {
	head, err := io.ReadAll(io.LimitReader(resp.Body, errorPeek))
	rest := resp.Body
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), errReader{err}, rest), rest}
	return string(head)
}

// errReader repeats an error met while peeking; nil is no error.
type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}

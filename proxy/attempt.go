package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

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

	noForwarding = "X-Vault-No-Request-Forwarding"
)

// at tries one node, with repeats where Vault's answer asks for them. moveOn means
// that nothing happened there and the next candidate may be tried; otherwise the
// client has its answer, or the failure is final.
func (x *exchange) at(c *health.Cluster, address string, last bool) (moveOn bool, f *failure) {
	var t tries
	for {
		token, giveBack, f := x.admit(c, last)
		if giveBack == nil {
			return f == nil, f
		}
		a := x.send(c, address, token, last)
		a.giveBack = giveBack
		v := x.verdict(a)
		x.p.cfg.Metrics.attempt(c.Name, v)
		x.tried(a, v)
		switch {
		case x.again(v, a, &t):
			a.close()
		case v == moved && x.follows(&t):
			address = x.activeNode(a)
			a.close()
		case v == lagging && x.leaves(a, last):
			return x.leaveBehind(a, address, last)
		case v == absent && x.mayHold(c):
			x.hold(a)
			return true, nil
		case v == foreign:
			x.disown(a)
			return true, nil
		case v == next, v == moved && x.body.whole:
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

// admit gets what an attempt needs: a token, the body, and room at the cluster, which is
// given back. Without that the next candidate may do, unless there is a failure.
func (x *exchange) admit(c *health.Cluster, last bool) (token tokencache.Token, giveBack func(), f *failure) {
	token, err := x.tokenFor(c, last)
	if err != nil {
		x.lastErr = errors.Join(errNoToken, err)
		return token, nil, nil
	}
	if !x.body.repeatable() {
		x.lastErr = errBodySpent
		return token, nil, &failure{code: routing.NoHealthyCluster, text: errBodySpent.Error()}
	}
	giveBack, ok := x.p.flying.take(c.Name)
	if !ok {
		x.lastErr = errBusy
		return token, nil, nil
	}
	return token, giveBack, nil
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
	case x.lags(v, a):
		return lagging
	case x.isForeign(v, a):
		return foreign
	case v == done && x.redirected(a):
		return x.judgeRedirect(a)
	case v == confirm:
		return x.confirmed(a)
	default:
		return v
	}
}

// redirected reports whether a standby sends the request on to another node. Redirects
// to another path (a clean one) are for the client.
func (x *exchange) redirected(a *answer) bool {
	if a.resp == nil || a.out.status != http.StatusTemporaryRedirect {
		return false
	}
	to, err := a.resp.Location()
	return err == nil && to.EscapedPath() == x.target.path
}

// judgeRedirect: a node of the cluster is asked, if it is a known one; where the standby
// may have forwarded the request and lost the answer, nothing is known. A node that
// nobody configured is for the client to follow, as without a proxy.
func (x *exchange) judgeRedirect(a *answer) verdict {
	switch known := x.activeNode(a) != ""; {
	case known && (a.out.repeatable || a.unforwarded):
		return moved
	case known:
		return unknown
	case a.unforwarded && x.r.Header.Get(noForwarding) == "":
		return next // it was our wish that it does not forward
	}
	return done
}

// activeNode is where a standby redirects to, if that is a known node of its cluster;
// never from https to http. It may be itself: it became the active node while it held the
// request.
func (x *exchange) activeNode(a *answer) string {
	to, err := a.resp.Location()
	if err != nil {
		return ""
	}
	for _, n := range a.cluster.Nodes {
		known, err := url.Parse(n.Address)
		if err == nil && known.Host == to.Host && known.Scheme == to.Scheme {
			return n.Address
		}
	}
	return ""
}

// follows reports whether one more redirect is followed. Nodes that send each other a
// request have no active node yet: others are asked then, or it waits for one.
func (x *exchange) follows(t *tries) bool {
	t.moves++
	return t.moves <= maxMoves && x.body.whole
}

// tries counts the repeats at one node.
type tries struct{ relogins, lags, moves int }

// again reports whether the same node is worth another try, once what was in the way
// is mended.
func (x *exchange) again(v verdict, a *answer, t *tries) bool {
	switch {
	case v == relogin && t.relogins < maxRelogins && x.rejected(a):
		t.relogins++
	case v == lagging && t.lags < x.lagLimit(a) && x.pause(lagPause):
		t.lags++
		x.reading.lagged++
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
	if t, ok := x.session.Has(c.Home()); ok {
		return t, nil
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

package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/vrproxy/vrproxy/routing"
)

// A token that nobody can log in for, whose home is not certain, wanders: the request
// itself goes from home to home until one knows the token. Where it is not known,
// nothing happens, whatever the request.
//
// So do the few things that only one cluster knows, and of which a wrong cluster says
// no more than that.

// asksAll reports whether a wrong cluster answers a request without doing anything.
func (x *exchange) asksAll() bool {
	return x.decision.Subject == routing.OneTimePassword || x.decision.Subject == routing.MFARequest
}

// isForeign reports whether an attempt found out no more than that the token, or the
// thing, is not known there. Before that is certain of a home, a refusal for want of
// replicated state says so too: clusters of one set answer that to each other's tokens.
func (x *exchange) isForeign(v verdict, a *answer) bool {
	if x.asksAll() && len(x.limits.Homes) > 0 {
		return a.out.status == http.StatusBadRequest && (strings.Contains(a.out.text, "OTP not found") || strings.Contains(a.out.text, "invalid request ID"))
	}
	if !x.wanders {
		return false
	}
	settled := x.session != nil && x.session.Home() == a.cluster.Home()
	return v == relogin || !settled && (v == lagging || v == confirm)
}

// disown notes a home that does not know the token. The first such answer is kept, for
// the case that nobody does.
func (x *exchange) disown(a *answer) {
	x.strange, x.from = append(x.strange, a.cluster.Home()), "" // going on is no failover
	if x.denied == nil {
		x.denied = a
		return
	}
	a.close()
}

// nobodys is the end of a plan in which no cluster knew the token.
func (x *exchange) nobodys(plan routing.Plan) *failure {
	for _, c := range plan.Candidates {
		if plan.Unasked || !slices.Contains(x.strange, c.Home()) {
			return x.notAllAsked()
		}
	}
	if x.wanders && x.denied.out.status == http.StatusForbidden && len(x.limits.Homes) > 0 {
		x.p.cfg.Tokens.Disown(x.decision.Namespace, x.token.value)
	}
	x.answer(x.denied)
	return nil
}

func (x *exchange) notAllAsked() *failure {
	if x.wanders {
		return tokenUnknown()
	}
	return &failure{code: routing.OwnerUnavailable, text: "no cluster that answers knows what this request names, and not every cluster could be asked"}
}

// settle remembers where a token turned out to be known. One whose home could only not
// be reached keeps it.
func (x *exchange) settle(home string) {
	if x.session == nil || slices.Contains(x.strange, x.session.Home()) {
		x.p.cfg.Tokens.Settle(home, x.token.value)
	}
}

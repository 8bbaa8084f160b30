package proxy

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// clientToken is the token a request carries, and where.
type clientToken struct {
	value  string
	bearer bool // in Authorization instead of X-Vault-Token
}

// tokenOf reads the token as Vault does: X-Vault-Token first, then the first bearer
// token among the Authorization headers.
func tokenOf(h http.Header) clientToken {
	if t := first(h, "X-Vault-Token"); t != "" {
		return clientToken{value: t}
	}
	for _, v := range h["Authorization"] {
		if t, ok := bearer(v); ok {
			return clientToken{value: t, bearer: true}
		}
	}
	return clientToken{}
}

// first is h.Get for a name in canonical form, without looking whether it is.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func bearer(v string) (token string, ok bool) {
	scheme, t, ok := strings.Cut(v, " ")
	return strings.TrimSpace(t), ok && strings.EqualFold(scheme, "Bearer")
}

// dropBearer leaves what is for a load balancer, perhaps.
func dropBearer(h http.Header) {
	h["Authorization"] = slices.DeleteFunc(slices.Clone(h["Authorization"]), func(v string) bool { _, ok := bearer(v); return ok })
}

// put writes a token into an upstream request, where the client had its own.
func (x *exchange) put(h http.Header, value string) {
	if !x.token.bearer {
		x.set(h, "X-Vault-Token", value)
		return
	}
	all := slices.Clone(h["Authorization"])
	for i, v := range all { // others are for a load balancer, perhaps
		if _, ok := bearer(v); ok {
			all[i] = "Bearer " + value
			break
		}
	}
	h["Authorization"] = all
}

// classify asks routing what the request is.
func (x *exchange) classify() *failure {
	x.token = tokenOf(x.r.Header)
	x.limits.Pin = first(x.r.Header, HeaderCluster)
	return x.decide()
}

func (x *exchange) decide() *failure {
	req := routing.Request{
		Method: x.r.Method, Path: x.target.path, RawQuery: x.target.query,
		Namespace: strings.Clone(first(x.r.Header, "X-Vault-Namespace")), // it may be kept, the header must not
		Wrap:      first(x.r.Header, "X-Vault-Wrap-Ttl") != "",
	}
	d, err := x.p.cfg.Router.Classify(x.p.cfg.Mounts.Table(), req)
	if err != nil {
		return &failure{code: routing.BadRequest, text: err.Error()}
	}
	if d.BodyMatters || d.Subject != routing.NoSubject {
		x.fields = x.body.fields()
	}
	if d.BodyMatters && bool(x.fields.Local) {
		req.LocalMount = true
		d, _ = x.p.cfg.Router.Classify(x.p.cfg.Mounts.Table(), req) // the same path: no error
	}
	x.decision = d
	return nil
}

// authorise finds out whose request it is, and which homes that allows.
func (x *exchange) authorise() *failure {
	if x.decision.Subject == routing.WrappingToken {
		return x.bindWrapping()
	}
	if x.decision.Special == routing.Login && x.wouldLendCertificate() {
		return &failure{code: notLent, text: "a certificate login through this listener would use the proxy's own certificate, which it does not lend"}
	}
	if x.limits.Pin == allClusters {
		return x.bindAll()
	}
	if x.limits.Pin != "" && x.decision.Class == routing.Operator {
		x.ownSession() // else the person brings a token of the cluster that is named
		return nil
	}
	if f := x.findSession(); f != nil {
		return f
	}
	if x.decision.Guess && x.learnMount() {
		if f := x.decide(); f != nil {
			return f
		}
	}
	if x.decision.Special == routing.Login {
		x.session, x.wanders = nil, false // a token beside the credentials means nothing, and binds nothing
		return nil
	}
	if x.limits.Pin != "" {
		x.wanders = false // who names a cluster says that the token is good there
		return nil
	}
	x.limits.Lot = x.lot()
	return x.bind()
}

// lot is the same for all requests of a session, so that it does not go to and fro
// while a cluster comes back.
func (x *exchange) lot() float64 {
	if x.session != nil {
		return x.session.Lot()
	}
	return rand.Float64() //nolint:gosec // spreads load
}

// wouldLendCertificate finds logins in which Vault would see nothing but the
// proxy's own client certificate. Where the mount's type is not known, a login
// without any credential in it is taken for one.
func (x *exchange) wouldLendCertificate() bool {
	if !x.p.cfg.ShowsCertificate || x.policy.Lend != LendNever {
		return false
	}
	if x.decision.Engine != "" {
		return x.decision.Engine == "auth/cert"
	}
	return x.r.Header.Get("Authorization") == "" && !x.body.carriesCredential()
}

// hidesCertificate is for the other logins of which nobody knows what they are: Vault
// must not see the certificate, whatever the client added to deceive us. Where Vault
// wants one of everybody, they fail.
func (x *exchange) hidesCertificate() bool {
	return x.p.cfg.ShowsCertificate && x.policy.Lend == LendNever && x.decision.Special == routing.Login && x.decision.Engine == ""
}

// learnMount asks Vault about a mount that is not known, with the client's rights,
// before anything is guessed. It costs a token none of its uses.
func (x *exchange) learnMount() bool {
	if x.decision.Engine != "" || x.session == nil && !x.wanders {
		return false
	}
	home, token, ok := x.asker()
	if !ok {
		return false
	}
	return x.p.cfg.Mounts.Learn(x.r.Context(), x.decision.Namespace, x.decision.Path, home, token)
}

// asker is the nearest home at which there is a token to ask with.
func (x *exchange) asker() (home, token string, ok bool) {
	if x.wanders {
		homes := x.homes()
		if len(homes) == 0 {
			return "", "", false
		}
		return homes[0], x.token.value, true
	}
	nearest := x.p.cfg.Planner.Nearest(x.p.cfg.Health.Topology())
	if len(nearest) == 0 {
		return "", "", false
	}
	home = nearest[0].Home()
	t, err := x.session.Token(x.r.Context(), home)
	return home, t.Reveal(), err == nil
}

// findSession gives the request its session: the client's own token wins, then the
// identity the listener may lend. A token that is known nowhere has no session: it
// goes out as it is, and Vault says what it thinks of it.
func (x *exchange) findSession() *failure {
	identity := x.p.cfg.Tokens.Identity()
	lends := identity != nil && x.decision.Special != routing.Login
	switch {
	case lends && x.policy.Lend == LendForce:
		x.session, x.token = identity, clientToken{}
		return nil
	case x.token.value == "":
		if lends && x.policy.Lend == LendFallback {
			x.session = identity
		}
		return nil
	case x.decision.Special == routing.Login && !x.decision.Guess:
		return nil // logins are not authenticated
	}
	if s, ok := x.p.cfg.Tokens.Known(x.token.value); ok {
		x.session, x.wanders = s, !s.Roams()
		return nil
	}
	return x.findForeign()
}

// ownSession finds the session of a login that was seen here, and no other.
func (x *exchange) ownSession() {
	if s, ok := x.p.cfg.Tokens.Known(x.token.value); ok && s.Roams() {
		x.session = s
	}
}

// findForeign is about a token that was not seen before. Its home is found by the
// request itself: a cluster that does not know the token says so and does nothing.
// Only where the request can't be sent twice, or where more than the home has to be
// known, is the token looked up, which costs it a use if it has a limit.
func (x *exchange) findForeign() *failure {
	tokens := x.p.cfg.Tokens
	switch {
	case tokens.Nowhere(x.decision.Namespace, x.token.value):
		return nil
	case !x.mustLookUp():
		x.wanders = true
		return nil
	}
	s, err := tokens.Resolve(x.r.Context(), x.decision.Namespace, x.token.value, x.homes())
	switch {
	case err == nil:
		x.session, x.wanders = s, !s.Roams()
	case errors.Is(err, tokencache.ErrNowhere):
	case errors.Is(err, tokencache.ErrUndecided):
		return tokenUnknown()
	default:
		return &failure{code: clientGone, text: "the client went away"}
	}
	return nil
}

func tokenUnknown() *failure {
	return &failure{code: routing.OwnerUnavailable, text: "no cluster that answers knows this token, and not every cluster could be asked", wait: true}
}

// mustLookUp: batch tokens may be good everywhere, and have no limited uses; a
// streamed body and a websocket go out once; and who names another token, a lease or an
// accessor has to be somebody before that is looked for.
func (x *exchange) mustLookUp() bool {
	_, names := x.kind()
	return tokencache.LooksLikeBatch(x.token.value) || !x.body.whole || websocket(x.r.Header) || names
}

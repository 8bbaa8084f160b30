package proxy

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// clientToken is the token a request carries, and where.
type clientToken struct {
	value  string
	bearer bool // in Authorization instead of X-Vault-Token
}

// tokenOf reads the token as Vault does: X-Vault-Token first, then a bearer token.
func tokenOf(h http.Header) clientToken {
	if t := h.Get("X-Vault-Token"); t != "" {
		return clientToken{value: t}
	}
	if scheme, t, ok := strings.Cut(h.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return clientToken{value: strings.TrimSpace(t), bearer: true}
	}
	return clientToken{}
}

// put writes a token into an upstream request, where the client had its own.
func (t clientToken) put(h http.Header, value string) {
	if t.bearer {
		h.Set("Authorization", "Bearer "+value)
		return
	}
	h.Set("X-Vault-Token", value)
}

// classify asks routing what the request is.
func (x *exchange) classify() *failure {
	x.token = tokenOf(x.r.Header)
	x.limits.Pin = x.r.Header.Get(HeaderCluster)
	return x.decide()
}

func (x *exchange) decide() *failure {
	req := routing.Request{
		Method: x.r.Method, Path: x.target.path, RawQuery: x.target.query,
		Namespace: x.r.Header.Get("X-Vault-Namespace"),
		Wrap:      x.r.Header.Get("X-Vault-Wrap-TTL") != "",
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
	if x.limits.Pin != "" && x.decision.Class == routing.Operator {
		return nil // the person names the cluster and brings a token of that cluster
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
		x.session = nil // a token beside the credentials means nothing, and binds nothing
		return nil
	}
	if x.limits.Pin != "" {
		return nil
	}
	return x.bind()
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

// learnMount asks Vault about a mount that is not known, with the session's rights,
// before anything is guessed.
func (x *exchange) learnMount() bool {
	if x.session == nil || x.decision.Engine != "" {
		return false
	}
	home := x.session.Home()
	if x.session.Roams() {
		nearest := x.p.cfg.Planner.Nearest(x.p.cfg.Health.Topology())
		if len(nearest) == 0 {
			return false
		}
		home = nearest[0].Home()
	}
	token, err := x.session.Token(x.r.Context(), home)
	if err != nil {
		return false
	}
	return x.p.cfg.Mounts.Learn(x.r.Context(), x.decision.Namespace, x.decision.Path, home, token.Reveal())
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
	s, err := x.p.cfg.Tokens.Resolve(x.r.Context(), x.decision.Namespace, x.token.value, x.homes())
	switch {
	case err == nil:
		x.session = s
	case errors.Is(err, tokencache.ErrNowhere), x.decision.Special == routing.Login:
	case errors.Is(err, tokencache.ErrUndecided):
		return &failure{code: routing.OwnerUnavailable, text: "no cluster that answers knows this token, and not every cluster could be asked"}
	default:
		return &failure{code: clientGone, text: "the client went away"}
	}
	return nil
}

// homes are all homes that may be asked, nearest first.
func (x *exchange) homes() []string {
	var out []string
	seen := make(map[string]bool)
	for _, c := range x.p.cfg.Planner.Nearest(x.p.cfg.Health.Topology()) {
		if home := c.Home(); !seen[home] {
			seen[home] = true
			out = append(out, home)
		}
	}
	t := x.p.cfg.Health.Topology()
	for i := range t.Clusters { // also those that are down: then the search is undecided
		c := &t.Clusters[i]
		if home := c.Home(); !seen[home] && c.Role != health.RoleDR && x.p.cfg.Planner.Allowed(c) {
			seen[home] = true
			out = append(out, home)
		}
	}
	return out
}

// bind works out which home the request is bound to.
func (x *exchange) bind() *failure {
	if x.session != nil && !x.session.Roams() {
		x.limits.Home = x.standingHome() // nobody can log in for it elsewhere
		return nil
	}
	if x.decision.Class != routing.Owner {
		return nil
	}
	switch x.decision.Subject {
	case routing.CallerToken:
		x.bindCaller()
		return nil
	case routing.BodyToken:
		return x.bindToken()
	case routing.BodyLease:
		return x.bindTo(tokencache.Lease, x.leaseID())
	case routing.BodyAccessor:
		return x.bindTo(tokencache.Accessor, x.fields.Accessor)
	}
	// A flow whose state lives on one cluster: it began at the nearest, so that is
	// the best guess, and no other cluster is tried.
	if homes := x.homes(); len(homes) > 0 {
		x.limits.Home = homes[0]
	}
	return nil
}

// standingHome is the home of a token that cannot be had elsewhere: its own, or,
// while that is lost, another on which the same token is known to be valid.
func (x *exchange) standingHome() string {
	t := x.p.cfg.Health.Topology()
	own := x.session.Home()
	if serves(t, own) {
		return own
	}
	for _, home := range x.session.Homes() {
		if serves(t, home) {
			return home
		}
	}
	return own
}

func serves(t *health.Topology, home string) bool {
	return slices.ContainsFunc(t.Members(home), (*health.Cluster).Keeps)
}

// relocated looks elsewhere for a token whose home just turned out to be lost; true
// means that the request can be tried again there. What belongs to the lost home
// itself stays lost.
func (x *exchange) relocated(f *failure) bool {
	if x.moved || f.code != routing.OwnerUnavailable || x.session == nil || x.session.Roams() || x.decision.Class == routing.Owner {
		return false
	}
	x.moved = true
	home, err := x.p.cfg.Tokens.Elsewhere(x.r.Context(), x.decision.Namespace, x.session, x.homes())
	for _, known := range x.session.Homes() {
		if err != nil && known != x.session.Home() && serves(x.p.cfg.Health.Topology(), known) {
			home, err = known, nil
		}
	}
	x.limits.Home = home
	return err == nil
}

// bindCaller: what the client's own token names. Looking at it or renewing it can
// be done with the session's token anywhere; its cubbyhole and its revocation
// belong to its home.
func (x *exchange) bindCaller() {
	if x.session == nil || x.session.Home() == "" {
		return
	}
	x.limits.Home = x.session.Home()
	x.limits.HomeFirst = x.decision.Special == routing.SelfLookup
}

func (x *exchange) bindToken() *failure {
	if x.fields.Token == "" {
		return nil
	}
	s, err := x.p.cfg.Tokens.Resolve(x.r.Context(), x.decision.Namespace, x.fields.Token, x.homes())
	if errors.Is(err, tokencache.ErrUndecided) {
		return ownerUnknown("token")
	}
	if err == nil {
		x.limits.Home = s.Home()
	}
	return nil
}

func ownerUnknown(what string) *failure {
	return &failure{code: routing.OwnerUnavailable, text: "the cluster that issued this " + what + " is not known, and not every cluster could be asked"}
}

// leaseID is the lease a request names: in the body, else at the end of the path.
func (x *exchange) leaseID() string {
	if x.fields.LeaseID != "" {
		return x.fields.LeaseID
	}
	p := strings.TrimPrefix(x.decision.Path, "leases/")
	_, id, _ := strings.Cut(p, "/")
	return id
}

// bindTo binds to the home of a named thing, looking for it where it is not
// remembered. A thing that no cluster knows is left to Vault's own answer.
func (x *exchange) bindTo(kind tokencache.Kind, name string) *failure {
	if name == "" {
		return nil
	}
	home, ok := x.p.cfg.Tokens.HomeOf(name)
	if !ok {
		var err error
		home, err = x.p.cfg.Tokens.FindHome(x.r.Context(), x.decision.Namespace, kind, x.session, name, x.homes())
		if errors.Is(err, tokencache.ErrUndecided) {
			return ownerUnknown(map[tokencache.Kind]string{tokencache.Lease: "lease", tokencache.Accessor: "accessor", tokencache.Wrapping: "wrapping token"}[kind])
		}
	}
	x.limits.Home = home
	return nil
}

// bindWrapping: the wrapping token is in the body, or is the token of the request
// itself. It has one use, so it is never spent on finding out where it belongs.
func (x *exchange) bindWrapping() *failure {
	name := x.fields.Token
	if name == "" {
		name = x.token.value
	} else if f := x.findSession(); f != nil {
		return f
	}
	return x.bindTo(tokencache.Wrapping, name)
}

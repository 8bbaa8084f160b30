package proxy

import (
	"errors"

	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// homes are all homes that may be asked: that of the client's token, if it is known,
// then nearest first.
func (x *exchange) homes() []string {
	first := ""
	if x.session != nil {
		first = x.session.Home()
	}
	return x.p.cfg.Planner.Homes(x.p.cfg.Health.Topology(), first)
}

// bind works out which home the request is bound to.
func (x *exchange) bind() *failure {
	if f := x.bindSubject(); f != nil {
		return f
	}
	if x.wanders && x.limits.Home == "" {
		x.limits.Homes = x.homes() // nobody can log in for it elsewhere
	}
	return nil
}

func (x *exchange) bindSubject() *failure {
	switch x.decision.Subject {
	case routing.NoSubject:
		return nil
	case routing.CallerToken:
		x.bindCaller()
		return nil
	}
	name := x.subject()
	if kind, ok := x.kind(); ok {
		return x.bindTo(x.thing(kind, name))
	}
	if home, ok := x.p.cfg.Tokens.HomeOf(name); ok {
		x.limits.Home = home
		return nil
	}
	x.bindFlow()
	return nil
}

// bindCaller: what the client's own token names. Looking at it or renewing it can
// be done with the session's token anywhere; its cubbyhole and its revocation
// belong to its home.
func (x *exchange) bindCaller() {
	if x.wanders || x.session == nil || x.session.Home() == "" {
		return
	}
	x.limits.Home = x.session.Home()
	x.limits.HomeFirst = x.decision.Special == routing.SelfLookup
}

// bindFlow: state of one cluster that is not remembered. Where the wrong cluster says
// so and nothing happens, all are asked; otherwise it began at the nearest, so that is
// the best guess, and no other is tried.
func (x *exchange) bindFlow() {
	homes := x.homes()
	switch {
	case x.wanders || x.decision.Class != routing.Owner || len(homes) == 0:
	case x.asksAll():
		x.limits.Homes = homes
	default:
		x.limits.Home = homes[0]
	}
}

func (x *exchange) thing(kind tokencache.Kind, name string) tokencache.Thing {
	t := tokencache.Thing{Kind: kind, Name: name, Value: name, Namespace: x.decision.Namespace, Mount: x.decision.Mount}
	if kind == tokencache.Certificate {
		t.Value = x.serial()
	}
	return t
}

func ownerUnknown(kind tokencache.Kind) *failure {
	what := map[tokencache.Kind]string{
		tokencache.Lease: "lease", tokencache.Accessor: "accessor", tokencache.Wrapping: "wrapping token",
		tokencache.Other: "token", tokencache.Certificate: "certificate",
	}[kind]
	return &failure{code: routing.OwnerUnavailable, text: "the cluster that issued this " + what + " is not known, and not every cluster could be asked"}
}

// bindTo binds to the home of a named thing, looking for it where it is not
// remembered. A thing that no cluster knows is left to Vault's own answer; but to a
// revocation that answer is yes, so it goes to all. So it does where somebody may
// revoke and not look.
func (x *exchange) bindTo(t tokencache.Thing) *failure {
	if t.Value == "" {
		return nil
	}
	home, err := x.find(t)
	switch {
	case err == nil:
		x.limits.Home = home
	case x.decision.Special == routing.Revoke && !x.wanders && (errors.Is(err, tokencache.ErrNowhere) || errors.Is(err, tokencache.ErrUndecided)):
		x.all = true // to which every cluster has to say yes
	case errors.Is(err, tokencache.ErrNowhere):
	case !errors.Is(err, tokencache.ErrUndecided):
		return &failure{code: clientGone, text: "the client went away"}
	case x.decision.Class == routing.Owner:
		return ownerUnknown(t.Kind)
	}
	return nil
}

func (x *exchange) find(t tokencache.Thing) (string, error) {
	tokens := x.p.cfg.Tokens
	if home, ok := tokens.HomeOf(t.Name); ok {
		return home, nil
	}
	home, err := tokens.FindHome(x.r.Context(), t, x.session, x.homes())
	if t.Kind != tokencache.Other || !errors.Is(err, tokencache.ErrUndecided) {
		return home, err
	}
	// Who may revoke a token need not have the right to look it up; the token itself has.
	s, err := tokens.Resolve(x.r.Context(), x.decision.Namespace, t.Value, x.homes())
	if err != nil {
		return "", err
	}
	return s.Home(), nil
}

// bindWrapping: the wrapping token is in the body, or is the token of the request
// itself. It has one use, so it is never spent on finding out where it belongs.
func (x *exchange) bindWrapping() *failure {
	name := x.fields.Token
	switch {
	case name == "":
		name = x.token.value
	case x.token.value == "":
		if f := x.findSession(); f != nil { // the identity, perhaps
			return f
		}
	case x.token.value != name:
		x.ownSession() // any other token goes as it is: it may be a wrapping token, too
	}
	return x.bindTo(x.thing(tokencache.Wrapping, name))
}

package tokencache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// Login is a login that passed through the proxy. It prints redacted.
type Login struct {
	hidden
	Home      string // where it succeeded
	Method    string // HTTP method
	Path      string // decoded API path with /v1/, below the namespace
	Namespace string // empty for root
	Body      []byte // owned by the cache from now on; nil when it was too large to keep
	Auth      *api.SecretAuth
}

// Adopt makes a session of a login. The client keeps the token it got.
func (c *Cache) Adopt(l Login) *Session {
	if l.Auth == nil || l.Auth.ClientToken == "" {
		return nil
	}
	var creds credentials
	if c.cfg.Replay && l.Body != nil {
		creds = &replay{method: l.Method, path: l.Path, ns: l.Namespace, body: l.Body}
	}
	s := c.remember(l.Home, l.Auth, creds)
	c.sessions.Add(s.key, s)
	c.warmUp(s)
	return s
}

// Child remembers a token that was made through the proxy by another token. It
// lives on its home only, unless it is an orphan batch token. A token that is known
// already was renewed.
func (c *Cache) Child(home string, auth *api.SecretAuth) *Session {
	if auth == nil || auth.ClientToken == "" {
		return nil
	}
	if s, ok := c.lookup(c.keyOf(auth.ClientToken)); ok {
		s.Extend(time.Duration(auth.LeaseDuration) * time.Second)
		return s
	}
	s := c.remember(home, auth, nil)
	c.foreign.Add(s.key, s)
	return s
}

func (c *Cache) remember(home string, auth *api.SecretAuth, creds credentials) *Session {
	c.changed.Store(true)
	token := NewToken(auth.ClientToken)
	s := c.newSession(c.keyOf(auth.ClientToken), home, token, creds)
	ttl := time.Duration(auth.LeaseDuration) * time.Second
	if ttl > 0 {
		s.expires = s.used.Add(ttl)
	}
	s.tokens.put(home, held{token: token, accessor: auth.Accessor, renewable: auth.Renewable, ttl: ttl, since: s.used})
	if batchOrphan(auth) {
		s.home, s.everywhere = "", true
	}
	if auth.Accessor != "" {
		c.NoteHome(home, auth.Accessor)
		c.accessors.Add(c.keyOf(auth.Accessor), s.key)
	}
	return s
}

// batchOrphan: Vault does not store such tokens; every cluster of the set accepts
// them.
func batchOrphan(auth *api.SecretAuth) bool {
	return auth.Orphan && auth.Accessor == "" && !auth.Renewable
}

func (c *Cache) lookup(k key) (*Session, bool) {
	in := c.sessions
	s, ok := in.Peek(k)
	if !ok {
		in = c.foreign
		if s, ok = in.Peek(k); !ok {
			return nil, false
		}
	}
	now := time.Now()
	if s.expired(now) {
		c.drop(s)
		return nil, false
	}
	if s.stirs(now) {
		in.Get(k) // to the end of those that are pushed out
	}
	return s, true
}

// LooksLikeBatch tells a batch token by its form. It is a hint: the form of tokens is
// Vault's own matter.
func LooksLikeBatch(token string) bool {
	return strings.HasPrefix(token, "hvb.") || strings.HasPrefix(token, "b.")
}

// Known gives the session of a client token that was seen before.
func (c *Cache) Known(token string) (*Session, bool) {
	k := c.keyOf(token)
	if s, ok := c.lookup(k); ok {
		return s, true
	}
	home, ok := c.tokenHomes.Peek(k) // from before a restart
	if !ok {
		return nil, false
	}
	c.Settle(home, token)
	return c.lookup(k)
}

// Settle remembers the home of a token that was not issued through this proxy, after
// that cluster served a request with it.
func (c *Cache) Settle(home, token string) {
	s := c.remember(home, &api.SecretAuth{ClientToken: token}, nil)
	c.foreign.Add(s.key, s)
}

// Nowhere reports whether a token was known to no cluster a moment ago. That is a
// matter of the namespace: a token is not known above its own.
func (c *Cache) Nowhere(namespace, token string) bool {
	until, ok := c.unknown.Get(c.keyOf(namespace, "\x00", token))
	return ok && time.Now().Before(until)
}

// Disown remembers for a while that no cluster knows a token, and forgets where it was
// known before.
func (c *Cache) Disown(namespace, token string) {
	c.foreign.Remove(c.keyOf(token))
	c.tokenHomes.Remove(c.keyOf(token))
	c.unknown.Add(c.keyOf(namespace, "\x00", token), time.Now().Add(unknownFor))
}

// Resolve finds the session of a client token. A token not issued through this
// proxy is looked for with one lookup-self per home, in the given order, and what
// was found is remembered. A lookup costs a token one of its uses, if they are limited.
// It is asked for in the namespace of the request, because a token is not known above
// its own. The errors are ErrNowhere, ErrUndecided or the context's.
func (c *Cache) Resolve(ctx context.Context, namespace, token string, homes []string) (*Session, error) {
	if s, ok := c.Known(token); ok {
		return s, nil
	}
	if c.Nowhere(namespace, token) {
		return nil, ErrNowhere
	}
	miss := c.keyOf(namespace, "\x00", token)
	done := c.lookups.DoChan(string(miss[:]), func() (any, error) {
		s, err := c.search(context.WithoutCancel(ctx), namespace, NewToken(token), homes)
		if errors.Is(err, ErrNowhere) {
			c.Disown(namespace, token)
		}
		return s, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		s, _ := r.Val.(*Session)
		return s, r.Err
	}
}

// search asks the homes one after another who knows the token.
func (c *Cache) search(ctx context.Context, namespace string, token Token, homes []string) (*Session, error) {
	var self *api.SecretAuth
	home, err := firstHome(ctx, homes, knowsNot, func(home string) (err error) {
		self, err = c.lookupSelf(ctx, namespace, home, token)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := c.remember(home, self, nil)
	c.foreign.Add(s.key, s)
	return s, nil
}

// firstHome asks one home after another, and gives the first that answers without an
// error; denies tells the errors that mean no from those that mean nothing. The errors
// are ErrNowhere when all said no, ErrUndecided, or the context's.
func firstHome(ctx context.Context, homes []string, denies func(error) bool, ask func(home string) error) (string, error) {
	missing := false
	for _, home := range homes {
		err := ask(home)
		switch {
		case err == nil:
			return home, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case !denies(err):
			missing = true
		}
	}
	if missing {
		return "", ErrUndecided
	}
	return "", ErrNowhere
}

// knowsNot reports whether the answer means "no such token here". A cluster of the
// same set may answer 412 instead of 403 to a token of another cluster.
func knowsNot(err error) bool {
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.StatusCode {
	case http.StatusForbidden, http.StatusBadRequest, http.StatusNotFound, http.StatusPreconditionFailed:
		return true
	}
	return false
}

func (c *Cache) lookupSelf(ctx context.Context, namespace, home string, token Token) (*api.SecretAuth, error) {
	client, err := c.cfg.Vault.Client(home)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	enter(client, namespace)
	client.SetToken(token.Reveal())
	self, err := client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return authOf(token, self), nil
}

// authOf turns the data of lookup-self into the shape of an auth block.
func authOf(token Token, self *api.Secret) *api.SecretAuth {
	auth := &api.SecretAuth{ClientToken: token.Reveal()}
	auth.Accessor, _ = self.Data["accessor"].(string)
	auth.Orphan, _ = self.Data["orphan"].(bool)
	auth.Renewable, _ = self.Data["renewable"].(bool)
	if n, ok := self.Data["ttl"].(json.Number); ok {
		seconds, _ := n.Int64()
		auth.LeaseDuration = int(seconds)
	}
	if kind, _ := self.Data["type"].(string); kind != "batch" {
		auth.Orphan = false // only of interest for batch tokens
	}
	return auth
}

// Valid asks a home whether it knows a token. It is used where a refusal does not
// say whether token or policy was meant. An error means that no answer was had.
func (c *Cache) Valid(ctx context.Context, namespace, home string, token Token) (bool, error) {
	_, err := c.lookupSelf(ctx, namespace, home, token)
	switch {
	case err == nil:
		return true, nil
	case knowsNot(err):
		return false, nil
	}
	return false, fmt.Errorf("looking up a token: %s", describe(err))
}

// Kind says how a thing can be looked for.
type Kind uint8

// The kinds of things that can be looked for without changing anything.
const (
	Lease Kind = iota
	Accessor
	Wrapping    // a wrapping token, which has one use
	Other       // another token than that of the request; the lookup costs it none of its uses
	Certificate // of a PKI mount
)

// Thing is something with a home. It prints redacted.
type Thing struct {
	hidden
	Kind      Kind
	Name      string // by which HomeOf knows it
	Value     string // the lease id, accessor, token or serial number itself
	Namespace string // of the request
	Mount     string // of a certificate
}

// FindHome finds the home of a thing that was not seen before, with a lookup that
// changes nothing, asked with the session's token on each home. The errors are
// ErrNowhere, ErrUndecided or the context's.
func (c *Cache) FindHome(ctx context.Context, t Thing, s *Session, homes []string) (string, error) {
	home, err := firstHome(ctx, homes, notThere, func(home string) error { return c.ask(ctx, t, s, home) })
	if err == nil {
		c.NoteHome(home, t.Name)
	}
	return home, err
}

// notThere reports whether an answer means "no such thing here". To a token that it
// does not know Vault answers 403, with other words than to one that may not ask.
func notThere(err error) bool {
	var answer *api.ResponseError
	if errors.Is(err, errNothing) {
		return true
	}
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound:
		return true
	case http.StatusForbidden:
		return slices.Contains(answer.Errors, "bad token")
	}
	return false
}

// errNothing is a 404 that vault/api takes for an answer without content.
var errNothing = errors.New("nothing there")

func (c *Cache) ask(ctx context.Context, t Thing, s *Session, home string) error {
	client, err := c.cfg.Vault.Client(home)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	enter(client, t.Namespace)
	switch t.Kind {
	case Wrapping:
		_, err = client.Logical().WriteWithContext(ctx, "sys/wrapping/lookup", map[string]any{"token": t.Value})
		return err
	case Certificate: // needs no token
		found, err := client.Logical().ReadWithContext(ctx, t.Mount+"cert/"+t.Value)
		if err == nil && found == nil {
			err = errNothing
		}
		return err
	}
	if s == nil {
		return ErrBound
	}
	token, err := s.Token(ctx, home)
	if err != nil {
		return err
	}
	client.SetToken(token.Reveal())
	switch t.Kind {
	case Lease:
		_, err = client.Logical().WriteWithContext(ctx, "sys/leases/lookup", map[string]any{"lease_id": t.Value})
	case Accessor:
		_, err = client.Auth().Token().LookupAccessorWithContext(ctx, t.Value)
	default:
		_, err = client.Auth().Token().LookupWithContext(ctx, t.Value)
	}
	return err
}

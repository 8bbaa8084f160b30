package tokencache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	if creds != nil && c.cfg.Prewarm != nil {
		select {
		case c.warm <- s:
		default: // a burst of logins: those left out log in when they need to
		}
	}
	return s
}

// Child remembers a token that was made through the proxy by another token. It
// lives on its home only, unless it is an orphan batch token. A token that is known
// already was renewed.
func (c *Cache) Child(home string, auth *api.SecretAuth) {
	if auth == nil || auth.ClientToken == "" {
		return
	}
	if s, ok := c.lookup(c.keyOf(auth.ClientToken)); ok {
		s.Extend(time.Duration(auth.LeaseDuration) * time.Second)
		return
	}
	s := c.remember(home, auth, nil)
	c.foreign.Add(s.key, s)
}

func (c *Cache) remember(home string, auth *api.SecretAuth, creds credentials) *Session {
	token := NewToken(auth.ClientToken)
	s := c.newSession(c.keyOf(auth.ClientToken), home, token, creds)
	ttl := time.Duration(auth.LeaseDuration) * time.Second
	if ttl > 0 {
		s.expires = s.used.Add(ttl)
	}
	s.tokens[home] = held{token: token, accessor: auth.Accessor, renewable: auth.Renewable, ttl: ttl, since: s.used}
	if batchOrphan(auth) {
		s.home, s.everywhere = "", true
	}
	if auth.Accessor != "" {
		c.NoteHome(home, auth.Accessor)
	}
	return s
}

// batchOrphan: Vault does not store such tokens; every cluster of the set accepts
// them.
func batchOrphan(auth *api.SecretAuth) bool {
	return auth.Orphan && auth.Accessor == "" && !auth.Renewable
}

func (c *Cache) lookup(k key) (*Session, bool) {
	s, ok := c.sessions.Get(k)
	if !ok {
		s, ok = c.foreign.Get(k)
	}
	if ok && s.expired(time.Now()) {
		c.drop(s)
		return nil, false
	}
	return s, ok
}

// Resolve finds the session of a client token. A token not issued through this
// proxy is looked for with one lookup-self per home, in the given order, and what
// was found is remembered. It is asked for in the namespace of the request, because a
// token is not known above its own. The errors are ErrNowhere, ErrUndecided or the
// context's.
func (c *Cache) Resolve(ctx context.Context, namespace, token string, homes []string) (*Session, error) {
	k := c.keyOf(token)
	if s, ok := c.lookup(k); ok {
		return s, nil
	}
	miss := c.keyOf(namespace + "\x00" + token)
	if until, ok := c.unknown.Get(miss); ok && time.Now().Before(until) {
		return nil, ErrNowhere
	}
	done := c.lookups.DoChan(string(miss[:]), func() (any, error) {
		s, err := c.search(context.WithoutCancel(ctx), namespace, NewToken(token), homes)
		if errors.Is(err, ErrNowhere) {
			c.unknown.Add(miss, time.Now().Add(unknownFor))
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
	missing := false
	for _, home := range homes {
		self, err := c.lookupSelf(ctx, namespace, home, token)
		switch {
		case err == nil:
			s := c.remember(home, self, nil)
			c.foreign.Add(s.key, s)
			return s, nil
		case !knowsNot(err):
			missing = true
		}
	}
	if missing {
		return nil, ErrUndecided
	}
	return nil, ErrNowhere
}

// Elsewhere looks for a foreign token on further homes, when its own is lost: a
// root token of the same value, or a token that moved with a promotion the proxy
// does not know of. What is found is remembered with the session; what is not,
// for a while.
func (c *Cache) Elsewhere(ctx context.Context, namespace string, s *Session, homes []string) (string, error) {
	k := c.keyOf("elsewhere " + namespace + "\x00" + s.client.Reveal())
	if until, ok := c.unknown.Get(k); ok && time.Now().Before(until) {
		return "", ErrNowhere
	}
	for _, home := range homes {
		if home == s.home {
			continue
		}
		auth, err := c.lookupSelf(ctx, namespace, home, s.client)
		if err != nil {
			continue
		}
		s.mu.Lock()
		s.tokens[home] = held{token: s.client, accessor: auth.Accessor, ttl: time.Duration(auth.LeaseDuration) * time.Second, since: time.Now()}
		s.mu.Unlock()
		return home, nil
	}
	c.unknown.Add(k, time.Now().Add(unknownFor))
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

// Kind says what FindHome looks for.
type Kind uint8

// The kinds of names with a home.
const (
	Lease Kind = iota
	Accessor
	Wrapping
)

// FindHome finds the home of a lease, accessor or wrapping token that was not seen
// before, with a lookup that changes nothing, asked with the session's token on
// each home. The errors are ErrNowhere, ErrUndecided or the context's.
func (c *Cache) FindHome(ctx context.Context, namespace string, kind Kind, s *Session, name string, homes []string) (string, error) {
	missing := false
	for _, home := range homes {
		err := c.ask(ctx, namespace, kind, s, name, home)
		var answer *api.ResponseError
		switch {
		case err == nil:
			c.NoteHome(home, name)
			return home, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case errors.As(err, &answer) && (answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusNotFound):
		default:
			missing = true
		}
	}
	if missing {
		return "", ErrUndecided
	}
	return "", ErrNowhere
}

func (c *Cache) ask(ctx context.Context, namespace string, kind Kind, s *Session, name, home string) error {
	client, err := c.cfg.Vault.Client(home)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	enter(client, namespace)
	if kind == Wrapping {
		_, err = client.Logical().WriteWithContext(ctx, "sys/wrapping/lookup", map[string]any{"token": name})
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
	if kind == Lease {
		_, err = client.Logical().WriteWithContext(ctx, "sys/leases/lookup", map[string]any{"lease_id": name})
		return err
	}
	_, err = client.Auth().Token().LookupAccessorWithContext(ctx, name)
	return err
}

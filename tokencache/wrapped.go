package tokencache

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"
)

// unwrapper turns wrapping tokens into the secret-ids in them. A wrapping token can
// be used once and on one home only, so what came out of it is kept, in memory, for
// all later logins on all homes.
type unwrapper struct {
	hidden
	vault Vault
	turn  chan struct{} // held while a wrapping token is looked up and used
	kept  []unwrapped   // newest last
}

type unwrapped struct {
	hidden
	wrapping, secretID Token
}

// maxUnwrapped is how many secret-ids are kept: one per home that has its own.
const maxUnwrapped = 64

var (
	errSpent = &statedError{kind: ErrSessionLost, text: "the wrapping token of secret_id is used up, expired, or of no cluster here; " +
		`issue a new one (vault write -f -wrap-ttl=10m auth/approle/role/ROLE/secret-id); if this proxy never used it, find out who did`}
	errSwapped = &statedError{kind: ErrSessionLost, text: "the wrapping token of secret_id was not made by auth/MOUNT/role/ROLE/secret-id of the identity's mount: " +
		"somebody may have put another in its place; it was not used; issue a new one and find out"}
	errNoSecretID    = &statedError{kind: ErrSessionLost, text: "what the wrapping token held is no secret-id; issue a new one"}
	errNotAskedAll   = &statedError{text: "a cluster that may have made the wrapping token of secret_id could not be asked"}
	errWrappingEmpty = &statedError{text: "secret_id is to hold a wrapping token and is empty"}
)

// secretID gives the secret-id for a login on a home; empty when the role needs none.
func (c *configured) secretID(ctx context.Context, home string) (string, error) {
	given, err := c.secret(home, "secret_id")
	if err != nil || !c.wrapped(home) {
		return given, err
	}
	if given == "" {
		return "", errWrappingEmpty
	}
	t, err := c.unwrap(ctx, NewToken(given))
	return t.Reveal(), err
}

func (c *configured) wrapped(home string) bool {
	const key = "secret_id_wrapped"
	return c.source(home, "secret_id")[key] == "true" || c.cfg.PerHome[home].Options[key] == "true"
}

// unwrap gives the secret-id in a wrapping token, which it uses at most once.
func (c *configured) unwrap(ctx context.Context, wrapping Token) (Token, error) {
	u := c.unwrapper
	select {
	case u.turn <- struct{}{}:
		defer func() { <-u.turn }()
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
	if i := slices.IndexFunc(u.kept, func(k unwrapped) bool { return k.wrapping == wrapping }); i >= 0 {
		return u.kept[i].secretID, nil
	}
	home, err := c.findWrapping(ctx, wrapping)
	if err != nil {
		return Token{}, err
	}
	secretID, err := u.use(ctx, home, c.namespace(home), wrapping)
	if err == nil {
		u.kept = append(u.kept[max(0, len(u.kept)-maxUnwrapped+1):], unwrapped{wrapping: wrapping, secretID: secretID})
	}
	return secretID, err
}

// findWrapping finds the home of a wrapping token by a question that does not use it,
// and holds it to what it should be.
func (c *configured) findWrapping(ctx context.Context, wrapping Token) (string, error) {
	if c.cfg.Homes == nil {
		return "", errNotAskedAll
	}
	var path string
	home, err := firstHome(ctx, c.cfg.Homes(), knowsNot, func(home string) (err error) {
		path, err = c.unwrapper.look(ctx, home, c.namespace(home), wrapping)
		return err
	})
	switch {
	case errors.Is(err, ErrNowhere):
		return "", errSpent
	case err != nil:
		return "", errNotAskedAll
	case !c.makesSecretIDs(home, path):
		return "", errSwapped
	}
	return home, nil
}

// makesSecretIDs reports whether a path is the one that makes secret-ids of the
// identity's mount.
func (c *configured) makesSecretIDs(home, path string) bool {
	path = strings.TrimPrefix(path, strings.Trim(c.namespace(home), "/")+"/")
	role, ok := strings.CutPrefix(path, "auth/"+c.mount(home)+"/role/")
	role, made := strings.CutSuffix(role, "/secret-id")
	return ok && made && role != "" && !strings.Contains(role, "/")
}

// look asks a home for the path that made a wrapping token. That does not use it.
func (u *unwrapper) look(ctx context.Context, home, namespace string, wrapping Token) (string, error) {
	client, err := u.vault.Client(home)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	enter(client, namespace)
	s, err := client.Logical().WriteWithContext(ctx, "sys/wrapping/lookup", map[string]any{"token": wrapping.Reveal()})
	if err != nil {
		return "", err
	}
	if s == nil { // 204: Vault's answer when the token went meanwhile
		return "", &api.ResponseError{StatusCode: http.StatusNotFound}
	}
	path, _ := s.Data["creation_path"].(string)
	return path, nil
}

func (u *unwrapper) use(ctx context.Context, home, namespace string, wrapping Token) (Token, error) {
	client, err := u.vault.Client(home)
	if err != nil {
		return Token{}, err
	}
	enter(client, namespace)
	s, err := client.Logical().UnwrapWithContext(ctx, wrapping.Reveal())
	switch {
	case knowsNot(err): // somebody was faster
		return Token{}, errSpent
	case err != nil:
		return Token{}, err
	case s == nil || s.Data["secret_id"] == nil:
		return Token{}, errNoSecretID
	}
	id, _ := s.Data["secret_id"].(string)
	return NewToken(id), nil
}

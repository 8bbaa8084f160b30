package tokencache

import (
	"context"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
)

// due are the minted tokens whose time for renewal has come.
func (s *Session) due(now time.Time) byHome[held] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due byHome[held]
	for i := range s.tokens {
		if s.tokens[i].it.renewalDue(now) { // rarely
			due = append(due, s.tokens[i])
		}
	}
	return due
}

func (s *Session) renew(ctx context.Context, home string, h held) (*api.SecretAuth, error) {
	client, err := s.cache.cfg.Vault.Client(home)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cache.cfg.LoginTimeout)
	defer cancel()
	client.SetToken(h.token.Reveal())
	enter(client, s.creds.namespace(home))
	secret, err := client.Auth().Token().RenewSelfWithContext(ctx, 0)
	if err != nil {
		return nil, err
	}
	if secret == nil || secret.Auth == nil {
		return nil, &api.ResponseError{StatusCode: http.StatusBadGateway, Errors: []string{"renewal without an auth block"}}
	}
	return secret.Auth, nil
}

// renewed notes how a renewal went. A token that Vault refuses to renew, or that
// reached its maximum, is dropped when it expires; the next use logs in anew.
func (s *Session) renewed(home string, h held, auth *api.SecretAuth, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.tokens.on(home)
	if now == nil || now.token != h.token {
		return
	}
	switch {
	case err == nil && auth.LeaseDuration <= 0:
		now.renewable = false // less than a second is left, not for ever
	case err == nil:
		now.since, now.ttl, now.renewable = time.Now(), time.Duration(auth.LeaseDuration)*time.Second, auth.Renewable
	case definite(err):
		now.renewable = false
	default:
		now.retry = time.Now().Add(max(h.ttl/20, sweepEvery))
	}
	s.cache.changed.Store(true)
}

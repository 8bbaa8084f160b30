package tokencache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// nowhere is a Vault of which no cluster is up.
type nowhere struct{}

func (nowhere) Client(string) (*api.Client, error) { return nil, errDown }

func TestOneLoginServesAllWhoWait(t *testing.T) {
	t.Parallel()
	r := start(t)
	var logins outcomes
	c := newCache(t, Config{Vault: r, Replay: true, OnLogin: logins.add})
	s, l := r.login(c, "a", "demo")
	if token(t, s, "a").Reveal() != l.Auth.ClientToken {
		t.Error("at home, the client's own token has to be used")
	}
	var all sync.WaitGroup
	tokens := make(chan Token, 50)
	for range 50 {
		all.Go(func() {
			tok, err := s.Token(t.Context(), "b")
			if err != nil {
				t.Error(err)
			}
			tokens <- tok
		})
	}
	all.Wait()
	close(tokens)
	first := <-tokens
	for tok := range tokens {
		if tok != first {
			t.Error("callers got different tokens")
		}
	}
	if n := r.served("b", "auth/userpass/login/demo"); n != 1 || logins.of("b", "ok") != 1 {
		t.Errorf("%d logins, %d counted, want 1", n, logins.of("b", "ok"))
	}
	if !r.knows("b", first) || r.knows("a", first) {
		t.Error("the token has to be one of b")
	}
	if s.Accessor("b") == "" || c.Tokens("b") != 1 || c.Tokens("a") != 1 || c.Tokens("c") != 0 || c.Sessions() != 1 {
		t.Errorf("tokens on a %d, b %d, c %d; sessions %d", c.Tokens("a"), c.Tokens("b"), c.Tokens("c"), c.Sessions())
	}
	if found, err := c.Resolve(t.Context(), "", l.Auth.ClientToken, []string{"a"}); err != nil || found != s {
		t.Errorf("resolved to another session: %v", err)
	}
}

func TestWithoutReplayATokenStaysAtHome(t *testing.T) {
	t.Parallel()
	r := start(t)
	for name, c := range map[string]*Cache{"not configured": newCache(t, Config{Vault: r}), "body too large": newCache(t, Config{Vault: r, Replay: true})} {
		_, l := r.login(c, "a", "demo")
		l.Body = nil
		s := c.Adopt(*l)
		if _, err := s.Token(t.Context(), "b"); !errors.Is(err, ErrBound) || s.Roams() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c := newCache(t, Config{Vault: r}); c.Adopt(Login{}) != nil || c.Adopt(Login{Auth: &api.SecretAuth{}}) != nil {
		t.Error("an answer without a token is no session")
	}
}

func TestTheEndOfASessionWipesItsCredentials(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true})
	s, l := r.login(c, "a", "demo")
	c.End(l.Auth.ClientToken)
	if !bytes.Equal(l.Body, make([]byte, len(l.Body))) {
		t.Errorf("the password is still in memory: %q", l.Body)
	}
	if _, err := s.Token(t.Context(), "b"); !errors.Is(err, ErrSessionLost) || c.Sessions() != 0 {
		t.Errorf("%v, %d sessions", err, c.Sessions())
	}
	if s.Rejected("a", s.Client()) {
		t.Error("an ended session has nothing more to offer")
	}
	c.End("never seen")
}

func TestALoginThatOutlivesItsSessionIsGivenBack(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true})
	running(t, c)
	s, l := r.login(c, "a", "demo")
	r.Cluster("b").Stall()
	got := make(chan Token, 1)
	go func() {
		tok, _ := s.Token(context.Background(), "b")
		got <- tok
	}()
	eventually(t, "the login is on its way", func() bool { return len(s.flightTo("b")) > 0 })
	c.End(l.Auth.ClientToken)
	r.Cluster("b").Resume()
	if tok := <-got; !tok.IsZero() { // else the end came first
		eventually(t, "the token is revoked", func() bool { return !r.knows("b", tok) })
	}
}

// flightTo tells whether a login is in flight, as far as can be seen from outside:
// a second caller with a dead context returns at once either way.
func (s *Session) flightTo(home string) string {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Token(ctx, home); errors.Is(err, context.Canceled) {
		return "in flight"
	}
	return ""
}

func TestARejectionConcernsTheRejectedToken(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true})
	s, _ := r.login(c, "a", "demo")
	old := token(t, s, "b")
	r.Cluster("b").RevokeToken(old.Reveal())
	if !s.Rejected("b", old) {
		t.Error("asking once more can help")
	}
	fresh := token(t, s, "b")
	if fresh == old {
		t.Error("the rejected token was kept")
	}
	if !s.Rejected("b", old) || token(t, s, "b") != fresh { // a refusal that comes late
		t.Error("a late refusal of the old token cost the new one")
	}
	// The client's own token can be lost at home too.
	if !s.Rejected("a", s.Client()) || token(t, s, "a") == s.Client() {
		t.Error("a lost token is not replaced at home")
	}
}

func TestARefusedLoginLosesTheSession(t *testing.T) {
	t.Parallel()
	r := start(t)
	var logins outcomes
	c := newCache(t, Config{Vault: r, Replay: true, OnLogin: logins.add})
	s, l := r.login(c, "a", "demo")
	copy(l.Body, bytes.Replace(l.Body, []byte("demo"), []byte("XXXX"), 1)) // the password was changed
	for range 5 {
		if _, err := s.Token(t.Context(), "b"); !errors.Is(err, ErrSessionLost) {
			t.Fatalf("%v, want session lost", err)
		}
	}
	// Vault locks users out after a few.
	if n := r.served("b", "auth/userpass/login"); n != 1 || logins.of("b", "refused") != 1 {
		t.Errorf("%d logins, %d counted, want one", n, logins.of("b", "refused"))
	}
}

func TestALoginThatGetsNoAnswerMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	r := start(t)
	var logins outcomes
	c := newCache(t, Config{Vault: r, Replay: true, OnLogin: logins.add, LoginTimeout: 100 * time.Millisecond})
	s, _ := r.login(c, "a", "demo")
	for name, breaks := range map[string]func(){"killed": r.Cluster("b").Kill, "stalled": r.Cluster("b").Stall, "sealed": r.Cluster("b").Seal} {
		breaks()
		if _, err := s.Token(t.Context(), "b"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want unavailable", name, err)
		}
		if err := r.Cluster("b").Restart(); err != nil {
			t.Fatal(err)
		}
	}
	if tok := token(t, s, "b"); !r.knows("b", tok) || logins.of("b", "failed") != 2 { // killed is known before a login is tried
		t.Errorf("%d failures counted", logins.of("b", "failed"))
	}
}

func TestWhoGoesAwayDoesNotTakeTheLoginWithHim(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true})
	s, _ := r.login(c, "a", "demo")
	r.Cluster("b").Stall()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Token(ctx, "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	r.Cluster("b").Resume()
	eventually(t, "the login is done", func() bool { return c.Tokens("b") == 1 })
	if n := r.served("b", "auth/userpass/login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func TestNewSessionsArePrewarmed(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true, Prewarm: func() []string { return []string{"a", "c"} }})
	running(t, c)
	s, _ := r.login(c, "b", "demo")
	eventually(t, "tokens ahead of need", func() bool { return c.Tokens("a") == 1 && c.Tokens("c") == 1 })
	token(t, s, "c")
	if n := r.served("c", "auth/userpass/login"); n != 1 {
		t.Errorf("%d logins on c, want the one ahead of need", n)
	}
}

func TestAnOrphanBatchTokenGoesEverywhere(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.user("batch", map[string]any{"token_type": "batch", "token_ttl": "1h"})
	c := newCache(t, Config{Vault: r, Replay: true})
	s, l := r.login(c, "a", "batch")
	for _, home := range []string{"a", "b", "c"} {
		if tok := token(t, s, home); tok.Reveal() != l.Auth.ClientToken || !r.knows(home, tok) {
			t.Errorf("another token on %s", home)
		}
	}
	if s.Home() != "" || !s.Roams() || s.Rejected("b", s.Client()) {
		t.Errorf("home %q, roams %v", s.Home(), s.Roams())
	}
	if n := r.served("b", "auth/userpass/login"); n != 0 {
		t.Errorf("%d logins", n)
	}
	// The same when it was not issued through the proxy.
	found, err := newCache(t, Config{Vault: r}).Resolve(t.Context(), "", l.Auth.ClientToken, []string{"c"})
	if err != nil || !found.Roams() || token(t, found, "b").Reveal() != l.Auth.ClientToken {
		t.Errorf("%v", err)
	}
}

func TestLoginsWithoutATokenLoseTheSession(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r})
	s := c.newSession(key{}, "a", NewToken("x"), answers{&api.Secret{Auth: &api.SecretAuth{}}}) // as with login MFA
	if _, err := s.Token(t.Context(), "b"); !errors.Is(err, ErrSessionLost) {
		t.Errorf("%v, want session lost: only the client can finish the login", err)
	}
}

// answers is a way to log in whose answer is given.
type answers struct{ secret *api.Secret }

func (a answers) login(context.Context, *api.Client, string) (*api.Secret, error) {
	return a.secret, nil
}
func (answers) namespace(string) string { return "" }
func (answers) wipe()                   {}

func TestHomesOfNamesAreRemembered(t *testing.T) {
	t.Parallel()
	c := newCache(t, Config{Vault: nowhere{}})
	for i := range 3 {
		c.NoteLease("b", fmt.Sprintf("database/creds/app/%d", i))
	}
	c.NoteHome("c", "hvs.wrapping")
	c.Child("a", &api.SecretAuth{ClientToken: "hvs.child", Accessor: "acc"})
	c.Child("a", nil)
	for name, want := range map[string]string{"database/creds/app/1": "b", "hvs.wrapping": "c", "hvs.child": "a", "acc": "a", "other": ""} {
		if home, ok := c.HomeOf(name); home != want || ok != (want != "") {
			t.Errorf("home of %s is %q, want %q", name, home, want)
		}
	}
	if c.ForgetLease("database/creds/app/1"); c.Leases("b") != 2 || c.Leases("a") != 0 {
		t.Errorf("%d leases on b, want 2", c.Leases("b"))
	}
	if _, ok := c.HomeOf("database/creds/app/1"); ok {
		t.Error("a revoked lease is still known")
	}
	if c.Identity() != nil {
		t.Error("an identity without configuration")
	}
}

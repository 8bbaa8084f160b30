package tokencache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vrproxy/vrproxy/internal/lab"
)

const lookupSelf = "auth/token/lookup-self"

func all() []string { return []string{"a", "b", "c"} }

// create makes a token on one cluster, past the proxy.
func (r *regions) create(home string, data map[string]any) *api.SecretAuth {
	r.t.Helper()
	return r.write(home, lab.RootToken, "auth/token/create", data).Auth
}

func TestAForeignTokenIsFoundNearestFirstAndRemembered(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true})
	auth := r.create("b", map[string]any{"policies": []string{"demo"}, "ttl": "1h"})
	var together sync.WaitGroup
	for range 20 {
		together.Go(func() {
			s, err := c.Resolve(t.Context(), "", auth.ClientToken, all())
			if err != nil || s.Home() != "b" || s.Roams() {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
	together.Wait()
	if a, b, cc := r.served("a", lookupSelf), r.served("b", lookupSelf), r.served("c", lookupSelf); a != 1 || b != 1 || cc != 0 {
		t.Errorf("%d lookups on a, %d on b, %d on c; want 1, 1, 0", a, b, cc)
	}
	if home, ok := c.HomeOf(auth.Accessor); !ok || home != "b" {
		t.Errorf("its accessor lives on %q", home)
	}
	s, err := c.Resolve(t.Context(), "", auth.ClientToken, all())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), "a"); !errors.Is(err, ErrBound) {
		t.Errorf("%v, want bound", err)
	}
	if token(t, s, "b").Reveal() != auth.ClientToken || s.Rejected("b", s.Client()) {
		t.Error("at home it is itself, and nothing replaces it")
	}
	if c.Sessions() != 0 || c.Tokens("b") != 1 {
		t.Errorf("%d sessions, %d tokens on b", c.Sessions(), c.Tokens("b"))
	}
	if c.End(auth.ClientToken); c.Tokens("b") != 0 {
		t.Error("a revoked token is still known")
	}
}

func TestATokenKnownNowhereIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r})
	for range 5 {
		if _, err := c.Resolve(t.Context(), "", "hvs.nobodys", all()); !errors.Is(err, ErrNowhere) {
			t.Fatalf("%v, want nowhere", err)
		}
	}
	if n := r.served("a", lookupSelf) + r.served("b", lookupSelf) + r.served("c", lookupSelf); n != 3 {
		t.Errorf("%d lookups, want one on each cluster", n)
	}
	until, ok := c.unknown.Get(c.keyOf("\x00hvs.nobodys"))
	if left := time.Until(until); !ok || left > 10*time.Second || left < 5*time.Second {
		t.Errorf("remembered for %v, want 10s", left)
	}
	c.unknown.Add(c.keyOf("\x00hvs.nobodys"), time.Now().Add(-time.Second)) // they are over
	_, _ = c.Resolve(t.Context(), "", "hvs.nobodys", all())
	if n := r.served("a", lookupSelf); n != 2 {
		t.Errorf("%d lookups on a, want another", n)
	}
}

func TestWithAClusterDownTheSearchIsUndecided(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r})
	auth := r.create("b", nil)
	r.Cluster("b").Kill()
	if _, err := c.Resolve(t.Context(), "", auth.ClientToken, all()); !errors.Is(err, ErrUndecided) {
		t.Errorf("%v, want undecided", err)
	}
	if err := r.Cluster("b").Restart(); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Resolve(t.Context(), "", auth.ClientToken, all()); err != nil || s.Home() != "b" {
		t.Errorf("%v: an undecided search must not be remembered", err)
	}
	r.Cluster("c").Seal()
	if _, err := c.Resolve(t.Context(), "", "hvs.nobodys", all()); !errors.Is(err, ErrUndecided) {
		t.Errorf("%v, want undecided while c is sealed", err)
	}
}

func TestARequestThatIsGoneEndsItsWaiting(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r})
	auth := r.create("b", nil)
	r.Cluster("a").Stall()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Resolve(ctx, "", auth.ClientToken, all()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	r.Cluster("a").Resume()
	eventually(t, "the search goes on", func() bool { return c.Tokens("b") == 1 })
}

func TestValidTellsAPolicyFromADeadToken(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r})
	auth := r.create("b", map[string]any{"policies": []string{"default"}})
	for _, q := range []struct {
		home string
		want bool
	}{{"b", true}, {"a", false}} {
		if ok, err := c.Valid(t.Context(), "", q.home, NewToken(auth.ClientToken)); err != nil || ok != q.want {
			t.Errorf("%s: %v, %v", q.home, ok, err)
		}
	}
	r.Cluster("b").Seal()
	if ok, err := c.Valid(t.Context(), "", "b", NewToken(auth.ClientToken)); err == nil || ok {
		t.Error("a sealed cluster says nothing about a token")
	}
}

func TestFindHome(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true})
	s, _ := r.login(c, "a", "demo")
	onB := r.client("b", lab.RootToken)
	creds, err := onB.Logical().ReadWithContext(t.Context(), "database/creds/readonly")
	if err != nil {
		t.Fatal(err)
	}
	child := r.create("b", nil)
	for name, q := range map[string]struct {
		kind Kind
		id   string
	}{"a lease": {Lease, creds.LeaseID}, "an accessor": {Accessor, child.Accessor}} {
		home, err := c.FindHome(t.Context(), Thing{Kind: q.kind, Name: q.id, Value: q.id}, s, all())
		if remembered, ok := c.HomeOf(q.id); err != nil || home != "b" || !ok || remembered != "b" {
			t.Errorf("%s lives on %q (%q remembered), %v; want b", name, home, remembered, err)
		}
	}
	if _, err := c.FindHome(t.Context(), Thing{Kind: Lease, Name: "database/creds/readonly/nothing", Value: "database/creds/readonly/nothing"}, s, all()); !errors.Is(err, ErrNowhere) {
		t.Errorf("an unknown lease: %v", err)
	}
	if _, err := c.FindHome(t.Context(), Thing{Kind: Lease, Name: creds.LeaseID, Value: creds.LeaseID}, nil, all()); !errors.Is(err, ErrUndecided) {
		t.Errorf("without a session nobody can be asked: %v", err)
	}
	r.Cluster("b").Kill()
	if _, err := c.FindHome(t.Context(), Thing{Kind: Lease, Name: "database/creds/readonly/other", Value: "database/creds/readonly/other"}, s, all()); !errors.Is(err, ErrUndecided) {
		t.Errorf("with b down: %v", err)
	}
}

// TestFindingAWrappingTokenDoesNotUseItUp: it has one use.
func TestFindingAWrappingTokenDoesNotUseItUp(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r})
	onC := r.client("c", lab.RootToken)
	onC.SetWrappingLookupFunc(func(string, string) string { return "5m" })
	wrapped, err := onC.Logical().ReadWithContext(t.Context(), "secret/data/hello")
	if err != nil || wrapped.WrapInfo == nil {
		t.Fatalf("%+v, %v", wrapped, err)
	}
	name := wrapped.WrapInfo.Token
	if home, err := c.FindHome(t.Context(), Thing{Kind: Wrapping, Name: name, Value: name}, nil, all()); err != nil || home != "c" {
		t.Errorf("lives on %q, %v; want c", home, err)
	}
	if s, err := r.client("c", name).Logical().UnwrapWithContext(t.Context(), ""); err != nil || s.Data["data"] == nil {
		t.Errorf("unwrapping after the search: %+v, %v", s, err)
	}
	if _, err := c.FindHome(t.Context(), Thing{Kind: Wrapping, Name: "hvs.used", Value: "hvs.used"}, nil, all()); !errors.Is(err, ErrNowhere) {
		t.Errorf("a used one: %v", err)
	}
}

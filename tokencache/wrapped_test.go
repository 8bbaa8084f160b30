package tokencache

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/upstream"
)

// wrap writes with a root token and gives the wrapping token around the answer.
func (r *regions) wrap(home, path string, data map[string]any) string {
	r.t.Helper()
	client := r.client(home, lab.RootToken)
	client.SetWrappingLookupFunc(func(string, string) string { return "10m" })
	s, err := client.Logical().WriteWithContext(r.t.Context(), path, data)
	if err != nil || s == nil || s.WrapInfo == nil {
		r.t.Fatalf("wrapping %s: %v %v", path, s, err)
	}
	return s.WrapInfo.Token
}

func (r *regions) unwraps() int {
	n := 0
	for _, home := range []string{"a", "b", "c"} {
		n += r.served(home, "/v1/sys/wrapping/unwrap") + r.served(home, "sys/wrapping/unwrap")
	}
	return n
}

func abc() []string { return []string{"a", "b", "c"} }

func wrappedIn(file string) *IdentityConfig {
	return &IdentityConfig{Method: "approle", Homes: abc, Options: map[string]string{"role_id": "demo", "secret_id_file": file, "secret_id_wrapped": "true"}}
}

// TestAWrappedSecretIDIsUnwrappedOnce: the wrapping token lives on b only and can be
// used once; logins on all homes, at the same time, work with what was in it.
func TestAWrappedSecretIDIsUnwrappedOnce(t *testing.T) {
	t.Parallel()
	r := start(t)
	name := file(t, r.wrap("b", "auth/approle/role/demo/secret-id", nil))
	id := newCache(t, Config{Vault: r, Identity: wrappedIn(name)}).Identity()
	var wg sync.WaitGroup
	for _, home := range []string{"a", "b", "c", "a", "c"} {
		wg.Go(func() {
			eventually(t, "a token on "+home, func() bool { // the secret-id may have to arrive there first
				id.mu.Lock()
				id.refused = nil
				id.mu.Unlock()
				tok, err := id.Token(t.Context(), home)
				return err == nil && r.knows(home, tok)
			})
		})
	}
	wg.Wait()
	if n := r.unwraps(); n != 1 {
		t.Errorf("unwrapped %d times", n)
	}
	if !id.Rejected("a", token(t, id, "a")) || !r.knows("a", token(t, id, "a")) {
		t.Error("no second login")
	}
	next := r.wrap("a", "auth/approle/role/demo/secret-id", nil) // its owner rotated it
	if err := os.WriteFile(name, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	if !id.Rejected("a", token(t, id, "a")) || !r.knows("a", token(t, id, "a")) {
		t.Error("no login with the new one")
	}
	if n := r.unwraps(); n != 2 {
		t.Errorf("unwrapped %d times", n)
	}
}

func TestAWrappedSecretIDInPlace(t *testing.T) {
	t.Parallel()
	r := start(t)
	id := &IdentityConfig{Method: "approle", Homes: abc, Options: map[string]string{"role_id": "demo", "secret_id": "plain-and-wrong"},
		PerHome: map[string]IdentityOverride{"a": {Options: map[string]string{"secret_id": r.wrap("c", "auth/approle/role/demo/secret-id", nil), "secret_id_wrapped": "true"}}}}
	if c := newCache(t, Config{Vault: r, Identity: id}); !r.knows("a", token(t, c.Identity(), "a")) {
		t.Error("no login")
	}
}

// TestAnOverrideReplacesASecretAndItsFile: the file of the whole identity must not
// win over a secret that is given for one home.
func TestAnOverrideReplacesASecretAndItsFile(t *testing.T) {
	t.Parallel()
	r := start(t)
	cfg := wrappedIn("/nonexistent")
	cfg.PerHome = map[string]IdentityOverride{"b": {Options: map[string]string{"secret_id": "demo"}}}
	if c := newCache(t, Config{Vault: r, Identity: cfg}); !r.knows("b", token(t, c.Identity(), "b")) {
		t.Error("no login")
	}
}

func TestWrappingTokensThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	r := start(t)
	used := r.wrap("b", "auth/approle/role/demo/secret-id", nil)
	if _, err := r.client("b", "").Logical().UnwrapWithContext(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	swapped := r.wrap("b", "sys/wrapping/wrap", map[string]any{"secret_id": planted})
	before := r.unwraps()
	for _, c := range []struct {
		name, wrapping, says string
		homes                func() []string
		kind                 error
	}{
		{"used up", used, "issue a new one (vault write -f -wrap-ttl=10m auth/approle/role/ROLE/secret-id)", abc, ErrSessionLost},
		{"unknown", planted, "of no cluster here", abc, ErrSessionLost},
		{"swapped", swapped, "somebody may have put another in its place", abc, ErrSessionLost},
		{"empty", "", "is empty", abc, ErrUnavailable},
		{"a cluster is down", used, "could not be asked", func() []string { return []string{"a", "b", "c", "lost"} }, ErrUnavailable},
		{"no cluster", used, "could not be asked", nil, ErrUnavailable},
	} {
		cfg := wrappedIn(file(t, c.wrapping))
		cfg.Homes = c.homes
		_, err := newCache(t, Config{Vault: r, Identity: cfg}).Identity().Token(t.Context(), "a")
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || leaks(err.Error()) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if n := r.unwraps(); n != before {
		t.Errorf("%d of them were used", n-before)
	}
	if s, err := r.client("b", "").Logical().UnwrapWithContext(t.Context(), swapped); err != nil || s == nil {
		t.Errorf("the swapped one was used: %v", err)
	}
}

func TestPathsThatMakeSecretIDs(t *testing.T) {
	t.Parallel()
	c := newConfigured(IdentityConfig{Method: "approle", Namespace: "team/", PerHome: map[string]IdentityOverride{"b": {Mount: "approle-eu"}}}, nil)
	for _, p := range []struct {
		home, path string
		want       bool
	}{
		{"a", "auth/approle/role/app/secret-id", true},
		{"a", "team/auth/approle/role/app/secret-id", true},
		{"b", "auth/approle-eu/role/app/secret-id", true},
		{"b", "auth/approle/role/app/secret-id", false},
		{"a", "auth/approle/role/app/role-id", false},
		{"a", "auth/approle/role//secret-id", false},
		{"a", "auth/approle/role/a/b/secret-id", false},
		{"a", "auth/approle/role/secret-id", false},
		{"a", "other/auth/approle/role/app/secret-id", false},
		{"a", "sys/wrapping/wrap", false},
		{"a", "", false},
	} {
		if got := c.makesSecretIDs(p.home, p.path); got != p.want {
			t.Errorf("%s on %s: %v", p.path, p.home, got)
		}
	}
}

// TestAnEmptyAnswerIsNoWrappingToken: Vault answers 204 when the token goes while it
// is looked up.
func TestAnEmptyAnswerIsNoWrappingToken(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	pool := upstream.New(upstream.Config{Clusters: []upstream.Cluster{{Name: "one"}}})
	t.Cleanup(func() { pool.Close(); srv.Close() })
	cfg := wrappedIn(file(t, planted))
	cfg.Homes = func() []string { return []string{"one"} }
	_, err := newCache(t, Config{Vault: single{srv.URL, pool}, Identity: cfg}).Identity().Token(t.Context(), "one")
	if !errors.Is(err, ErrSessionLost) || !strings.Contains(err.Error(), "used up") {
		t.Errorf("%v", err)
	}
}

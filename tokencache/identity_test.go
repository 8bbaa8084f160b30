package tokencache

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/upstream"
)

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestIdentitiesLogIn(t *testing.T) {
	t.Parallel()
	r := start(t)
	for mount, kind := range map[string]string{"k8s-eu": "kubernetes", "ci": "jwt"} {
		r.write("a", lab.RootToken, "sys/auth/"+mount, map[string]any{"type": kind})
		r.everywhere("auth/"+mount+"/role/proxy", map[string]any{"bound_jwt": "the-jwt", "token_policies": "demo"})
	}
	r.everywhere("auth/approle/role/open", map[string]any{"bind_secret_id": false})
	open, err := r.client("b", lab.RootToken).Logical().ReadWithContext(t.Context(), "auth/approle/role/open/role-id")
	if err != nil {
		t.Fatal(err)
	}
	openID, _ := open.Data["role_id"].(string)
	onB := file(t, r.create("b", map[string]any{"policies": []string{"demo"}, "ttl": "1h"}).ClientToken)
	for _, c := range []struct {
		name string
		cfg  IdentityConfig
	}{
		{"approle", IdentityConfig{Method: "approle", Options: map[string]string{"role_id": "demo", "secret_id": "demo"}}},
		{"approle from files", IdentityConfig{Method: "approle", Options: map[string]string{"role_id_file": file(t, "demo"), "secret_id_file": file(t, "demo")}}},
		{"approle without secret-id", IdentityConfig{Method: "approle", Options: map[string]string{"role_id": openID}}},
		{"userpass", IdentityConfig{Method: "userpass", Options: map[string]string{"username": "demo", "password": "demo"}}},
		{"userpass from a file", IdentityConfig{Method: "userpass", Options: map[string]string{"username": "demo", "password_file": file(t, "demo")}}},
		{"kubernetes", IdentityConfig{Method: "kubernetes", Mount: "k8s-eu", Options: map[string]string{"role": "proxy", "token_path": file(t, "the-jwt")}}},
		{"jwt", IdentityConfig{Method: "jwt", Mount: "ci", Options: map[string]string{"role": "proxy", "path": file(t, "the-jwt")}}},
		{"a token file", IdentityConfig{Method: "token_file", Options: map[string]string{"path": onB}}},
		{"another mount on one home", IdentityConfig{Method: "jwt", Mount: "elsewhere", Options: map[string]string{"role": "wrong", "path": file(t, "the-jwt")},
			PerHome: map[string]IdentityOverride{"b": {Mount: "ci", Options: map[string]string{"role": "proxy"}}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := newCache(t, Config{Vault: r, Identity: &c.cfg})
			s := cache.Identity()
			if tok := token(t, s, "b"); !r.knows("b", tok) || token(t, s, "b") != tok {
				t.Error("not a lasting token of b")
			}
			if !s.Roams() || s.Home() != "" || !s.Client().IsZero() || cache.Sessions() != 0 {
				t.Errorf("roams %v, home %q", s.Roams(), s.Home())
			}
		})
	}
}

func TestAnIdentityOfANamespaceLogsInThere(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.write("a", lab.RootToken, "sys/namespaces/team", nil)
	team := r.client("a", lab.RootToken)
	team.SetNamespace("team")
	for path, data := range map[string]map[string]any{"sys/auth/userpass": {"type": "userpass"}} {
		if _, err := team.Logical().WriteWithContext(t.Context(), path, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := team.Logical().WriteWithContext(t.Context(), "auth/userpass/users/ann", map[string]any{"password": "pw"}); err != nil {
		t.Fatal(err)
	}
	root, here := "", "team"
	options := map[string]string{"username": "ann", "password": "pw"}
	c := newCache(t, Config{Vault: r, Identity: &IdentityConfig{Method: "userpass", Namespace: root, Options: options,
		PerHome: map[string]IdentityOverride{"a": {Namespace: &here}}}})
	token(t, c.Identity(), "a")
	if _, err := c.Identity().Token(t.Context(), "b"); !errors.Is(err, ErrSessionLost) {
		t.Errorf("%v: in the root namespace there is no ann", err)
	}
}

// TestBorrowedTokensAreNotGivenBack: the token in the file is somebody else's.
func TestBorrowedTokensAreNotGivenBack(t *testing.T) {
	t.Parallel()
	r := start(t)
	name := file(t, r.create("b", map[string]any{"ttl": "1h"}).ClientToken)
	c := newCache(t, Config{Vault: r, Idle: 1, Identity: &IdentityConfig{Method: "token_file", Options: map[string]string{"path": name}}})
	s := c.Identity()
	old := token(t, s, "b")
	if _, err := s.Token(t.Context(), "a"); !errors.Is(err, ErrSessionLost) {
		t.Errorf("%v: a knows nothing of it", err)
	}
	s.giveBack(s.used.Add(2))
	c.revokeDoomed(t.Context())
	if !r.knows("b", old) {
		t.Error("the token was revoked")
	}
	next := r.create("b", map[string]any{"ttl": "1h"}).ClientToken // its owner replaced it
	if err := os.WriteFile(name, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	if !s.Rejected("b", old) || token(t, s, "b").Reveal() != next {
		t.Error("the new token in the file is not used")
	}
}

// TestMethodsThatTheLaboratoryLacks looks at what is sent.
func TestMethodsThatTheLaboratoryLacks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg        IdentityConfig
		path, body string
	}{
		{IdentityConfig{Method: "ldap", Mount: "corp", Options: map[string]string{"username": "ann", "password": "pw"}}, "/v1/auth/corp/login/ann", `"password":"pw"`},
		{IdentityConfig{Method: "cert", Options: map[string]string{"name": "proxy"}}, "/v1/auth/cert/login", `"name":"proxy"`},
		{IdentityConfig{Method: "cert"}, "/v1/auth/cert/login", `{}`},
		{IdentityConfig{Method: "jwt", Options: map[string]string{"jwt_file": file(t, "j")}}, "/v1/auth/jwt/login", `"jwt":"j"`},
	} {
		var path, body string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			b := make([]byte, 1000)
			n, _ := q.Body.Read(b)
			path, body = q.URL.Path, string(b[:n])
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"auth":{"client_token":"hvs.x"}}`))
		}))
		pool := upstream.New(upstream.Config{Clusters: []upstream.Cluster{{Name: "one"}}})
		tok := token(t, newCache(t, Config{Vault: single{srv.URL, pool}, Identity: &c.cfg}).Identity(), "one")
		if tok.Reveal() != "hvs.x" || path != c.path || !strings.Contains(body, c.body) {
			t.Errorf("%s: %s with %s", c.cfg.Method, path, body)
		}
		pool.Close()
		srv.Close()
	}
}

type single struct {
	url  string
	pool *upstream.Pool
}

func (s single) Client(string) (*api.Client, error) { return s.pool.Client("one", s.url) }

func TestAnIdentityThatIsNotReadyMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	r := start(t)
	missing := filepath.Join(t.TempDir(), "missing")
	for name, cfg := range map[string]IdentityConfig{
		"approle role":   {Method: "approle", Options: map[string]string{"role_id_file": missing}},
		"approle secret": {Method: "approle", Options: map[string]string{"role_id": "demo", "secret_id_file": missing}},
		"userpass":       {Method: "userpass", Options: map[string]string{"username": "demo", "password_file": missing}},
		"ldap":           {Method: "ldap", Options: map[string]string{"username": "demo", "password_file": missing}},
		"kubernetes":     {Method: "kubernetes", Options: map[string]string{"role": "demo", "token_path": missing}},
		"jwt":            {Method: "jwt", Options: map[string]string{"path": missing}},
		"token file":     {Method: "token_file", Options: map[string]string{"path": missing}},
	} {
		_, err := newCache(t, Config{Vault: r, Identity: &cfg}).Identity().Token(t.Context(), "b")
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := newCache(t, Config{Vault: r, Identity: &IdentityConfig{Method: "magic"}}).Identity().Token(t.Context(), "b")
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "magic") {
		t.Errorf("%v", err)
	}
}

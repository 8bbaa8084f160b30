package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vrproxy/vrproxy/e2e/postgres"
)

// TestApplication is an application's day with everything up.
func TestApplication(t *testing.T) {
	w := newWorld(t, "")
	t.Run("userpass", func(t *testing.T) { w.in(t).userpass() })
	t.Run("kv", func(t *testing.T) { w.in(t).kv() })
	t.Run("replicated", func(t *testing.T) { w.in(t).replicated() })
	t.Run("approle", func(t *testing.T) { w.in(t).approle() })
	t.Run("one token everywhere", func(t *testing.T) { w.in(t).everywhere() })
	t.Run("database", func(t *testing.T) { w.in(t).database() })
	t.Run("wrapping", func(t *testing.T) { w.in(t).wrapping() })
	t.Run("refusals", func(t *testing.T) { w.in(t).refusals() })
}

// in is the same world for a subtest.
func (w *world) in(t *testing.T) *world {
	sub := *w
	sub.t = t
	return &sub
}

func (w *world) userpass() {
	token := w.login()
	got := w.vaultJSON(2, "token", "lookup")
	if got.text("data", "display_name") != "userpass-demo" || !strings.Contains(got.text("data", "policies"), "demo") {
		w.t.Errorf("lookup: %v", got.v)
	}
	if got.text("data", "id") != token {
		w.t.Error("lookup shows another token than the client's")
	}
	w.vault("token", "renew")
	if got := w.vault("token", "capabilities", "secret/data/x"); !strings.Contains(got, "create") {
		w.t.Errorf("capabilities %q", got)
	}
}

// kv waits for replication before it reads what it wrote: that is what a client
// of Vault Enterprise may expect of a secondary, and no more.
func (w *world) kv() {
	w.login()
	w.vault("kv", "put", "-mount=secret", "app/config", "color=blue")
	w.caughtUp()
	if got := w.vault("kv", "get", "-mount=secret", "-field=color", "app/config"); got != "blue" {
		w.t.Errorf("read %q after the first put", got)
	}
	w.vault("kv", "put", "-mount=secret", "app/config", "color=green")
	w.caughtUp()
	got := w.vaultJSON(2, "kv", "get", "-mount=secret", "app/config")
	if got.text("data", "data", "color") != "green" || got.text("data", "metadata", "version") != "2" {
		w.t.Errorf("read %v after the second put", got.v)
	}
	if got := w.vault("kv", "get", "-mount=secret", "-version=1", "-field=color", "app/config"); got != "blue" {
		w.t.Errorf("version 1 is %q", got)
	}
	w.vault("kv", "patch", "-mount=secret", "app/config", "size=3")
	if got := w.vault("kv", "list", "-mount=secret", "app"); !strings.Contains(got, "config") {
		w.t.Errorf("list %q", got)
	}
	w.vault("kv", "delete", "-mount=secret", "app/config")
	w.caughtUp()
	if out, err := w.cli("kv", "get", "-mount=secret", "app/config"); err == nil {
		if !strings.Contains(out, "deletion_time") {
			w.t.Errorf("read after delete: %s", out)
		}
	}
	w.vault("kv", "metadata", "delete", "-mount=secret", "app/config")
	w.caughtUp()
	if out, err := w.cli("kv", "get", "-mount=secret", "app/config"); err == nil {
		w.t.Errorf("read after all was deleted: %s", out)
	}
	w.vault("kv", "put", "-mount=kv", "plain", "a=1") // version 1
	w.caughtUp()
	if got := w.vault("kv", "get", "-mount=kv", "-field=a", "plain"); got != "1" {
		w.t.Errorf("kv v1: %q", got)
	}
}

// replicated reads at the nearest cluster what was written at the primary, once
// it has arrived there.
func (w *world) replicated() {
	token := w.login()
	if r := w.do(w.proxy, token, http.MethodPost, "secret/data/mine", `{"data":{"n":"1"}}`); r.status != 200 || r.cluster != "us-east" {
		w.t.Fatalf("the write: %+v", r)
	}
	w.caughtUp()
	if r := w.do(w.proxy, token, http.MethodGet, "secret/data/mine", ""); r.status != 200 || r.cluster != nearest || !strings.Contains(r.body, `"n":"1"`) {
		w.t.Errorf("the read: %+v", r)
	}
	if n := w.lab.Cluster("us-east").Applied("secret/data/mine"); n != 1 {
		w.t.Errorf("the write was applied %d times", n)
	}
}

// approle uses a role whose ids Vault has made up.
func (w *world) approle() {
	w.setUp([2]string{"auth/approle/role/app", `{"token_policies":["demo"],"token_ttl":"1h"}`})
	primary := w.parse(w.root("us-east", http.MethodGet, "auth/approle/role/app/role-id", "").body).text("data", "role_id")
	there := w.parse(w.root(nearest, http.MethodGet, "auth/approle/role/app/role-id", "").body).text("data", "role_id")
	if primary == "" || primary != there {
		w.t.Errorf("role ids differ: %q and %q", primary, there)
	}
	secret := w.parse(w.root("us-east", http.MethodPost, "auth/approle/role/app/secret-id", "{}").body).text("data", "secret_id")
	w.caughtUp()
	for _, ids := range [][2]string{{primary, secret}, {"demo", "demo"}} {
		got := w.vaultJSON(1, "write", "auth/approle/login", "role_id="+ids[0], "secret_id="+ids[1])
		out, err := w.cliWith([]string{"VAULT_TOKEN=" + got.text("auth", "client_token")}, "kv", "get", "-mount=secret", "-field=greeting", "hello")
		if err != nil || !strings.Contains(out, "hello") {
			w.t.Errorf("as %s: %q, %v", ids[0], out, err)
		}
	}
}

// everywhere reads at each cluster by name with the token of one login.
func (w *world) everywhere() {
	token := w.login()
	for _, c := range w.lab.Clusters() {
		r := w.do(w.proxy, token, http.MethodGet, "secret/data/hello", "", "X-Vrproxy-Cluster", c.Name())
		if r.status != 200 || r.cluster != c.Name() {
			w.t.Errorf("at %s: %+v", c.Name(), r)
		}
	}
}

// databaseEngine lets Vault make users of the private PostgreSQL.
func (w *world) databaseEngine() *postgres.Server {
	w.t.Helper()
	pg := &postgres.Server{Host: os.Getenv(envPostgres)}
	w.setUp(
		[2]string{"sys/mounts/database", `{"type":"database"}`},
		[2]string{"database/config/e2e", fmt.Sprintf(`{"plugin_name":"postgresql-database-plugin","allowed_roles":"*","connection_url":%q,"username":%q,"password":%q,"password_authentication":"scram-sha-256"}`,
			pg.URL("{{username}}", "{{password}}"), postgres.User, postgres.Password)},
		[2]string{"database/roles/readonly", `{"db_name":"e2e","default_ttl":"10m","max_ttl":"1h","creation_statements":["CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"]}`},
	)
	return pg
}

// database gets credentials, uses them, renews them and gives them back.
func (w *world) database() {
	pg := w.databaseEngine()
	w.login()
	got := w.vaultJSON(1, "read", "database/creds/readonly")
	user, password, lease := got.text("data", "username"), got.text("data", "password"), got.text("lease_id")
	if who, err := whoami(pg.URL(user, password)); err != nil || who != user {
		w.t.Fatalf("with the credentials of Vault: %q, %v", who, err)
	}
	if !strings.HasPrefix(lease, "database/creds/readonly/") {
		w.t.Errorf("lease %q", lease)
	}
	renewed := w.vaultJSON(2, "lease", "renew", "-increment=30m", lease)
	if ttl, _ := renewed.at("lease_duration").(float64); ttl < 25*60 {
		w.t.Errorf("renewed for %v s", ttl)
	}
	if looked := w.vaultJSON(2, "lease", "lookup", lease); looked.text("data", "id") != lease {
		w.t.Errorf("lookup: %v", looked.v)
	}
	w.vault("lease", "revoke", "-sync", lease)
	if who, err := whoami(pg.URL(user, password)); err == nil {
		w.t.Errorf("after the revocation %q can still log in", who)
	}
	if !w.served(nearest, "database/creds/readonly") {
		w.t.Error("the credentials were not made at the nearest cluster")
	}
}

// served reports whether a cluster executed a request to a path.
func (w *world) served(cluster, path string) bool {
	for _, s := range w.lab.Cluster(cluster).Served() {
		if s.Path == path && !s.Forwarded {
			return true
		}
	}
	return false
}

// whoami logs in to PostgreSQL.
func whoami(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }() // it was used for one question
	var who string
	err = conn.QueryRow(ctx, "SELECT current_user").Scan(&who)
	return who, err
}

// wrapping wraps at one cluster and unwraps there, wherever the client is.
func (w *world) wrapping() {
	w.login()
	token := w.parse(w.vault("kv", "get", "-mount=secret", "-wrap-ttl=1m", "-format=json", "hello")).text("wrap_info", "token")
	if got := w.parse(w.vault("unwrap", "-format=json", token)); got.text("data", "data", "greeting") == "<nil>" {
		w.t.Errorf("unwrapped %v", got.v)
	}
	if out, err := w.cli("unwrap", token); err == nil {
		w.t.Errorf("unwrapped twice: %s", out)
	}
}

// refusals are Vault's own, and untouched.
func (w *world) refusals() {
	token := w.login()
	for _, c := range []struct {
		method, path, body, token string
		status                    int
		want                      string
	}{
		{http.MethodGet, "secret/data/hello", "", "hvs.wrong", 403, "permission denied"},
		{http.MethodPost, "sys/policies/acl/mine", `{"policy":""}`, token, 403, "permission denied"},
		{http.MethodGet, "secret/data/nothing", "", token, 404, `{"errors":[]}`},
		{http.MethodPost, "auth/userpass/login/demo", `{"password":"wrong"}`, "", 400, "invalid username or password"},
		{http.MethodPost, "secret/data/x", `{"data":{},"options":{"cas":7}}`, token, 400, "check-and-set"},
	} {
		r := w.do(w.proxy, c.token, c.method, c.path, c.body)
		if r.status != c.status || !strings.Contains(r.body, c.want) || r.code != "" {
			w.t.Errorf("%s %s: %+v", c.method, c.path, r)
		}
	}
}

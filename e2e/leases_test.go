package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vrproxy/vrproxy/e2e/postgres"
)

// TestLeasesOutliveTheProxy makes credentials, starts the proxy anew, which has
// forgotten everything then, and wants them renewed and revoked all the same.
func TestLeasesOutliveTheProxy(t *testing.T) {
	w := newWorld(t, "")
	pg, token := w.databaseEngine(), w.session()
	near, far := w.credentials(pg, token, nearest), w.credentials(pg, token, "us-west")
	w.stop()
	w.startProxy("")
	began := time.Now()
	near.works()
	far.works()

	near.tend(t, "with the old token", token, nearest)
	// The old token is valid at the nearest cluster only, and nobody knows how to log in
	// for it any more. A new login is known everywhere.
	far.tend(t, "with a new token, at another cluster", w.session(), "us-west")
	summarise(t, "leases of the proxy's earlier life: 2 renewed, looked up and revoked after its restart, in %s", time.Since(began).Round(10*time.Millisecond))
}

// credential is a user of PostgreSQL that Vault has made.
type credential struct {
	w                     *world
	pg                    *postgres.Server
	user, password, lease string
}

// credentials has a user made at a cluster.
func (w *world) credentials(pg *postgres.Server, token, cluster string) credential {
	w.t.Helper()
	made := w.parse(w.via(token, http.MethodGet, "database/creds/readonly", "", http.StatusOK, cluster, pin(cluster)...).body)
	c := credential{w, pg, made.text("data", "username"), made.text("data", "password"), made.text("lease_id")}
	c.works()
	return c
}

func (c credential) works() {
	c.w.t.Helper()
	if who, err := whoami(c.pg.URL(c.user, c.password)); err != nil || who != c.user {
		c.w.t.Errorf("logging in to PostgreSQL: %q, %v", who, err)
	}
}

// tend does what an application does with a lease, and wants it done by its cluster.
func (c credential) tend(t *testing.T, name, token, cluster string) {
	t.Run(name, func(t *testing.T) {
		w := c.w.in(t)
		lease := fmt.Sprintf(`{"lease_id":%q,"increment":1800}`, c.lease)
		renewed := w.parse(w.via(token, http.MethodPut, "sys/leases/renew", lease, http.StatusOK, cluster).body)
		if ttl, _ := renewed.at("lease_duration").(float64); ttl != 1800 {
			t.Errorf("renewed for %v s", ttl)
		}
		looked := w.parse(w.via(token, http.MethodPut, "sys/leases/lookup", lease, http.StatusOK, cluster).body)
		if ttl, _ := looked.at("data", "ttl").(float64); looked.text("data", "id") != c.lease || ttl < 1700 {
			t.Errorf("looked up: %v", looked.v)
		}
		if n := c.users(t); n != 1 {
			t.Errorf("before the revocation PostgreSQL has %d such users", n)
		}
		w.via(token, http.MethodPut, "sys/leases/revoke", fmt.Sprintf(`{"lease_id":%q,"sync":true}`, c.lease), http.StatusNoContent, cluster)
		if n := c.users(t); n != 0 {
			t.Errorf("after the revocation PostgreSQL has %d such users", n)
		}
		w.want(w.root(cluster, http.MethodPut, "sys/leases/lookup", lease), http.StatusBadRequest, "invalid lease")
	})
}

// users counts what PostgreSQL itself knows.
func (c credential) users(t *testing.T) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.pg.URL(postgres.User, postgres.Password))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }() // it was used for one question
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_roles WHERE rolname = $1", c.user).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

package e2e

import (
	"net/http"
	"testing"
)

// TestBatchTokens: an orphan batch token is valid wherever the set's keys are, and
// needs no login of the proxy's; one with a parent lives with its parent.
func TestBatchTokens(t *testing.T) {
	w := newWorld(t, "")
	w.setUp(
		[2]string{"sys/policies/acl/minter", `{"policy":"path \"auth/token/create-orphan\" { capabilities = [\"update\", \"sudo\"] }\npath \"auth/token/create/batch\" { capabilities = [\"update\"] }"}`},
		[2]string{"auth/token/roles/batch", `{"token_type":"batch","orphan":true,"renewable":false,"allowed_policies":"demo"}`},
		[2]string{"auth/userpass/users/minter", `{"password":"minter","token_policies":["demo","minter"]}`},
	)
	minter := w.parse(w.via("", http.MethodPost, "auth/userpass/login/minter", `{"password":"minter"}`, http.StatusOK, nearest).body).text("auth", "client_token")
	w.eventually("the proxy has logged the minter in ahead of need", func() bool { return w.logins("us-east") == 1 })
	orphans := w.orphans(minter)
	kept := w.batch(minter, "auth/token/create", `{"type":"batch","policies":["demo"]}`)
	for name, token := range orphans {
		t.Run(name, func(t *testing.T) { w.in(t).servesEverywhere(token) })
	}
	w.via(kept, http.MethodGet, "secret/data/hello", "", http.StatusOK, nearest)
	w.via(kept, http.MethodGet, "secret/data/hello", "", http.StatusForbidden, "us-west", pin("us-west")...)

	w.kill(nearest)
	for name, token := range orphans {
		t.Run(name+", nearest cluster killed", func(t *testing.T) { w.in(t).servesAt(token, "us-east") })
	}
	r := w.do(w.proxy, kept, http.MethodGet, "secret/data/hello", "")
	if r.status != http.StatusServiceUnavailable || r.code != "owner-unavailable" {
		t.Errorf("a batch token whose parent is lost: %+v", r)
	}
	// The minter's session is logged in ahead of need, once where that is: at us-west after
	// the nearest is lost. Batch tokens need nothing.
	if east, west := w.logins("us-east"), w.logins("us-west"); east != 1 || west > 1 {
		t.Errorf("the proxy logged in %d times at us-east, %d times at us-west", east, west)
	}
	summarise(t, "%d orphan batch tokens served at 3 clusters, and on after the nearest was killed, with no login by the proxy", len(orphans))
}

// orphans are made through the proxy, and past it.
func (w *world) orphans(minter string) map[string]string {
	w.t.Helper()
	const orphan = `{"type":"batch","policies":["demo"],"ttl":"1h"}`
	past := w.root("us-west", http.MethodPost, "auth/token/create-orphan", orphan)
	return map[string]string{
		"made as an orphan": w.batch(minter, "auth/token/create-orphan", orphan),
		"made by a role":    w.batch(minter, "auth/token/create/batch", `{"policies":["demo"]}`),
		"never seen before": w.parse(past.body).text("auth", "client_token"),
	}
}

// batch makes a token through the proxy.
func (w *world) batch(minter, path, body string) string {
	w.t.Helper()
	made := w.parse(w.via(minter, http.MethodPost, path, body, http.StatusOK, nearest).body)
	if kind := made.text("auth", "token_type"); kind != "batch" {
		w.t.Errorf("%s made a token of type %s", path, kind)
	}
	return made.text("auth", "client_token")
}

func (w *world) servesEverywhere(token string) {
	w.servesAt(token, nearest)
	for _, c := range w.lab.Clusters() {
		w.via(token, http.MethodGet, "secret/data/hello", "", http.StatusOK, c.Name(), pin(c.Name())...)
	}
}

// servesAt reads and looks at the token at the cluster that is nearest now, and writes
// at the primary.
func (w *world) servesAt(token, cluster string) {
	w.via(token, http.MethodGet, "secret/data/hello", "", http.StatusOK, cluster)
	w.want(w.via(token, http.MethodGet, "auth/token/lookup-self", "", http.StatusOK, cluster), http.StatusOK, token)
	w.via(token, http.MethodPost, "secret/data/by-batch", `{"data":{}}`, http.StatusOK, "us-east")
}

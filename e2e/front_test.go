package e2e

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// TestFront is about the laboratory itself: what its front adds to real Vaults
// has to be as in Vault Enterprise, or the other tests would prove little.
func TestFront(t *testing.T) {
	configs := append(clusters(), lab.ClusterConfig{Name: "us-east-dr", Region: "us-west", Role: "dr", DROf: "us-east"})
	w := &world{t: t, http: &http.Client{Transport: &http.Transport{}, Timeout: patience}}
	t.Cleanup(w.http.CloseIdleConnections)
	w.lab = labtest.Start(t, lab.Config{VaultBin: os.Getenv(envVault), Clusters: configs})
	t.Run("forwarding", func(t *testing.T) { w.in(t).forwarding() })
	t.Run("rights are checked first", func(t *testing.T) { w.in(t).rightsFirst() })
	t.Run("tokens stay", func(t *testing.T) { w.in(t).tokensStay() })
	t.Run("batch tokens", func(t *testing.T) { w.in(t).batchTokensAnywhere() })
	t.Run("wrapped secret id", func(t *testing.T) { w.in(t).wrappedSecretID() })
	t.Run("local mounts", func(t *testing.T) { w.in(t).localMounts() })
	t.Run("index", func(t *testing.T) { w.in(t).requiredIndex() })
	t.Run("partition", func(t *testing.T) { w.in(t).partition() })
	t.Run("not to be replicated", func(t *testing.T) { w.in(t).notReplicated() })
	t.Run("health", func(t *testing.T) { w.in(t).healthCodes() })
	t.Run("change of primary", func(t *testing.T) { w.in(t).changeOfPrimary() })
}

// at sends a request to a cluster.
func (w *world) at(cluster, token, method, path, body string, header ...string) reply {
	w.t.Helper()
	r := w.do(w.lab.Cluster(cluster).Address(), token, method, path, body, header...)
	if r.err != nil {
		w.t.Fatal(r.err)
	}
	return r
}

// want checks a status and part of the body.
func (w *world) want(r reply, status int, text string) {
	w.t.Helper()
	if r.status != status || !strings.Contains(r.body, text) {
		w.t.Errorf("%d %s, want %d and %q", r.status, r.body, status, text)
	}
}

// loginAt logs in at a cluster.
func (w *world) loginAt(cluster string) string {
	w.t.Helper()
	r := w.at(cluster, "", http.MethodPost, "auth/userpass/login/demo", `{"password":"demo"}`)
	return w.parse(r.body).text("auth", "client_token")
}

func (w *world) forwarding() {
	token := w.loginAt(nearest)
	w.want(w.at(nearest, token, http.MethodPost, "secret/data/fwd", `{"data":{"a":"1"}}`), 200, `"version":1`)
	w.want(w.root("us-east", http.MethodGet, "secret/data/fwd", ""), 200, `"a":"1"`)
	if n := w.lab.Cluster("us-east").Applied("secret/data/fwd"); n != 1 {
		w.t.Errorf("applied %d times", n)
	}
	w.caughtUp()
	w.want(w.root("us-west", http.MethodGet, "secret/data/fwd", ""), 200, `"version":1`)
	w.want(w.at(nearest, token, http.MethodPatch, "secret/data/fwd", `{"data":{"b":"2"}}`, "Content-Type", "application/merge-patch+json"), 200, `"version":2`)
	w.want(w.at(nearest, token, http.MethodPost, "secret/data/fwd", `{"data":{},"options":{"cas":7}}`), 400, "check-and-set")
	w.caughtUp()
	w.want(w.root(nearest, http.MethodGet, "secret/data/fwd", ""), 200, `"version":2`)
}

func (w *world) rightsFirst() {
	token := w.loginAt(nearest)
	w.want(w.at(nearest, token, http.MethodPost, "sys/policies/acl/evil", `{"policy":""}`), 403, "permission denied")
	w.want(w.at(nearest, "hvs.wrong", http.MethodPost, "secret/data/x", `{"data":{}}`), 403, "invalid token")
	w.want(w.at(nearest, "", http.MethodPost, "secret/data/x", `{"data":{}}`), 403, "permission denied")
	if n := w.lab.Cluster("us-east").Applied("sys/policies/acl/evil"); n != 0 {
		w.t.Error("a denied write reached the primary")
	}
}

func (w *world) tokensStay() {
	token := w.loginAt(nearest)
	w.want(w.at(nearest, token, http.MethodGet, "auth/token/lookup-self", ""), 200, "userpass-demo")
	w.want(w.at("us-west", token, http.MethodGet, "auth/token/lookup-self", ""), 403, "invalid token")
}

// batchTokensAnywhere: of a batch token nothing is stored, so an orphan is valid
// wherever the keys are; one with a parent is not where its parent is not.
func (w *world) batchTokensAnywhere() {
	parent := w.loginAt(nearest)
	for _, c := range []struct {
		token, path string
		west        int // the status at another cluster
	}{
		{lab.RootToken, "auth/token/create-orphan", 200},
		{parent, "auth/token/create", 403},
	} {
		r := w.at(nearest, c.token, http.MethodPost, c.path, `{"type":"batch","policies":["demo"],"ttl":"1h"}`)
		token := w.parse(r.body).text("auth", "client_token")
		w.want(w.at(nearest, token, http.MethodGet, "secret/data/hello", ""), 200, "")
		w.want(w.at("us-west", token, http.MethodGet, "secret/data/hello", ""), c.west, "")
	}
}

func (w *world) wrappedSecretID() {
	role := w.at("us-west", lab.RootToken, http.MethodPost, "auth/approle/role/wrapped", `{"token_policies":["demo"]}`)
	w.want(role, 204, "")
	w.caughtUp()
	id := w.parse(w.root(nearest, http.MethodGet, "auth/approle/role/wrapped/role-id", "").body).text("data", "role_id")
	wrapped := w.at(nearest, lab.RootToken, http.MethodPost, "auth/approle/role/wrapped/secret-id", "{}", "X-Vault-Wrap-TTL", "60s")
	token := w.parse(wrapped.body).text("wrap_info", "token")
	secret := w.parse(w.at(nearest, token, http.MethodPost, "sys/wrapping/unwrap", "").body).text("data", "secret_id")
	w.caughtUp()
	for _, c := range []string{"us-east", "us-west", nearest} {
		w.want(w.at(c, "", http.MethodPost, "auth/approle/login", `{"role_id":"`+id+`","secret_id":"`+secret+`"}`), 200, "client_token")
	}
}

func (w *world) localMounts() {
	w.want(w.root(nearest, http.MethodPost, "sys/mounts/mine", `{"type":"kv","local":true}`), 204, "")
	w.want(w.root(nearest, http.MethodPost, "mine/a", `{"a":"1"}`), 204, "")
	w.want(w.root("us-east", http.MethodGet, "mine/a", ""), 404, "no handler for route")
}

// requiredIndex asks a secondary for a write that can't have come yet.
func (w *world) requiredIndex() {
	w.lab.Cluster(nearest).Partition()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.lab.Cluster("us-east").Address()+"/v1/secret/data/indexed", strings.NewReader(`{"data":{}}`))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", lab.RootToken)
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close() // only its header was wanted
	index := resp.Header.Get("X-Vault-Index")
	w.want(w.at(nearest, lab.RootToken, http.MethodGet, "secret/data/indexed", "", "X-Vault-Index", index), 412, "required index state not present")
	w.lab.Cluster(nearest).Heal()
	w.eventually("the write arrives", func() bool {
		return w.at(nearest, lab.RootToken, http.MethodGet, "secret/data/indexed", "", "X-Vault-Index", index).status == http.StatusOK
	})
	w.want(w.at(nearest, lab.RootToken, http.MethodGet, "secret/data/indexed", "", "X-Vault-Index", "nonsense"), 400, "index")
}

func (w *world) partition() {
	token := w.loginAt(nearest)
	w.lab.Cluster(nearest).Partition()
	w.want(w.root("us-east", http.MethodPost, "secret/data/apart", `{"data":{"a":"1"}}`), 200, "")
	w.want(w.at(nearest, token, http.MethodPost, "secret/data/apart", `{"data":{"a":"2"}}`), 500, "rpc error: code = Unavailable")
	w.want(w.at(nearest, token, http.MethodGet, "secret/data/apart", ""), 404, "")
	w.want(w.at(nearest, "", http.MethodGet, "sys/replication/performance/status", ""), 200, `"connection_state":"transient_failure"`)
	w.lab.Cluster(nearest).Heal()
	w.caughtUp()
	w.want(w.at(nearest, token, http.MethodGet, "secret/data/apart", ""), 200, `"a":"1"`)
	w.want(w.at(nearest, "", http.MethodGet, "sys/replication/performance/status", ""), 200, `"state":"stream-wals"`)
}

func (w *world) notReplicated() {
	w.setUp([2]string{"sys/mounts/transit", `{"type":"transit"}`})
	for _, c := range []string{"us-east", nearest} {
		w.want(w.root(c, http.MethodPost, "transit/keys/k", "{}"), 400, "can't agree on transit/keys/k")
	}
	if err := w.lab.Do("us-east-dr", "promote"); err == nil || !strings.Contains(err.Error(), "tokens and leases") {
		w.t.Errorf("promoting a DR copy: %v", err)
	}
}

func (w *world) healthCodes() {
	w.want(w.root("us-east", http.MethodGet, "sys/health", ""), 200, `"replication_performance_mode":"primary","replication_dr_mode":"primary"`)
	w.want(w.root(nearest, http.MethodGet, "sys/health", ""), 200, `"replication_performance_mode":"secondary"`)
	w.want(w.root("us-east-dr", http.MethodGet, "sys/health", ""), 472, `"replication_dr_mode":"secondary"`)
	w.want(w.root("us-east-dr", http.MethodGet, "secret/data/hello", ""), 400, "path disabled in replication DR secondary mode")
	w.want(w.root("us-west", http.MethodPut, "sys/seal", ""), 204, "")
	w.want(w.root("us-west", http.MethodGet, "sys/health", ""), 503, `"sealed":true`)
	w.want(w.root("us-west", http.MethodGet, "secret/data/hello", ""), 503, "Vault is sealed")
	w.lab.Cluster("us-west").Unseal()
	w.want(w.root("us-west", http.MethodGet, "secret/data/hello", ""), 200, "hello")
}

// changeOfPrimary comes last: afterwards the roles are others.
func (w *world) changeOfPrimary() {
	w.caughtUp()
	for _, step := range [][2]string{{"us-west", "promote"}, {"us-east", "demote"}} {
		if err := w.lab.Do(step[0], step[1]); err != nil {
			w.t.Fatal(err)
		}
	}
	w.want(w.root(nearest, http.MethodPost, "secret/data/moved", `{"data":{"a":"1"}}`), 200, `"version":1`)
	if n := w.lab.Cluster("us-west").Applied("secret/data/moved"); n != 1 {
		w.t.Errorf("applied %d times at the new primary", n)
	}
	w.eventually("the old primary follows", func() bool {
		return w.root("us-east", http.MethodGet, "secret/data/moved", "").status == http.StatusOK
	})
}

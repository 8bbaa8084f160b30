package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// validAt reports whether a file holds a token of a cluster.
func (w *world) validAt(cluster, file string) bool {
	b, err := os.ReadFile(file)
	if err != nil || len(b) == 0 {
		return false
	}
	return w.direct(cluster, "GET", "auth/token/lookup-self", "", "X-Vault-Token", string(b)).status == http.StatusOK
}

// wrappingToken is one around a new secret-id of the role demo, of one cluster.
func (w *world) wrappingToken(cluster string) string {
	w.tb.Helper()
	r := w.direct(cluster, "POST", "auth/approle/role/demo/secret-id", "", "X-Vault-Wrap-TTL", "10m")
	info, _ := r.whole["wrap_info"].(map[string]any)
	token, _ := info["token"].(string)
	if token == "" {
		w.tb.Fatalf("no wrapping token in %s", r.body)
	}
	return token
}

// TestSinksFollowTheNearestCluster: one sink is for whichever cluster is nearest, the
// other for one alone.
func TestSinksFollowTheNearestCluster(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	nearest, fixed := filepath.Join(folder, "nearest"), filepath.Join(folder, "fixed")
	w := newWorld(t, fmt.Sprintf("identity: {method: userpass, options: {username: demo, password: demo}, sinks: [{path: %s}, {path: %s, mode: \"0640\", cluster: us-east}]}", nearest, fixed))
	eventually(t, "both files", func() bool { return w.validAt("eu-west", nearest) && w.validAt("us-east", fixed) })
	for file, want := range map[string]os.FileMode{nearest: 0o600, fixed: 0o640} {
		if info, err := os.Stat(file); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v", file, info.Mode(), err)
		}
	}
	w.lab.Cluster("eu-west").Kill()
	w.state("eu-west", health.StateDown)
	eventually(t, "the file follows the failover", func() bool {
		return !w.validAt("eu-west", nearest) && (w.validAt("us-east", nearest) || w.validAt("us-west", nearest))
	})
	if err := w.lab.Cluster("eu-west").Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file comes back", func() bool { return w.validAt("eu-west", nearest) })
	b, _ := os.ReadFile(nearest)
	if strings.Contains(w.logs.String(), string(b)) {
		t.Error("the token was logged")
	}
}

// TestAWrappedSecretIDServesEveryCluster: the wrapping token lives on one cluster
// only; what was in it logs in on all of them.
func TestAWrappedSecretIDServesEveryCluster(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "wrapped")
	w := newWorld(t, fmt.Sprintf("identity: {method: approle, options: {role_id: demo, secret_id_file: %s, secret_id_wrapped: true}}", file))
	wrapping := w.wrappingToken("us-east")
	secretIDs := func(cluster string) int {
		keys, _ := w.direct(cluster, "LIST", "auth/approle/role/demo/secret-id", "").data["keys"].([]any)
		return len(keys)
	}
	eventually(t, "the secret-id is replicated", func() bool { return secretIDs("eu-west") == secretIDs("us-east") })
	if err := os.WriteFile(file, []byte(wrapping), 0o600); err != nil {
		t.Fatal(err)
	}
	w.token = ""
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	w.want(w.do("POST", "secret/data/mine", `{"data":{"a":"1"}}`), 200, "us-east")
}

// TestCheckSparesTheWrappingToken: it can be used once, and the proxy needs it.
func TestCheckSparesTheWrappingToken(t *testing.T) {
	t.Parallel()
	w := &world{tb: t, lab: labtest.Start(t, lab.Config{Region: "eu-west"}), http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	wrapping := w.wrappingToken("eu-west")
	file := write(t, w.yaml("identity: {method: approle, options: {role_id: demo, secret_id: "+wrapping+", secret_id_wrapped: true}}"))
	c := start(nil, "check", "--connect", "-c", file)
	if code := <-c.exit; code != 0 || strings.Count(c.out.String(), "login not tried: it would use up the wrapping token") != 3 {
		t.Errorf("exit %d: %s%s", code, c.out.String(), c.errs.String())
	}
	if r := w.direct("eu-west", "PUT", "sys/wrapping/unwrap", "", "X-Vault-Token", wrapping); r.status != http.StatusOK {
		t.Errorf("unwrapping afterwards: %d %s", r.status, r.body)
	}
}

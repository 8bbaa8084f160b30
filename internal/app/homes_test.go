package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/explain"
	"github.com/vrproxy/vrproxy/internal/lab"
)

// direct asks a cluster itself, past the proxy, as root. header are name, value pairs.
func (w *world) direct(cluster, method, path, body string, header ...string) reply {
	w.tb.Helper()
	req, err := http.NewRequestWithContext(w.tb.Context(), method, w.lab.Cluster(cluster).Address()+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		w.tb.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", lab.RootToken)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return reply{} // the cluster is down
	}
	defer resp.Body.Close()
	r, err := decoded(resp)
	if err != nil {
		w.tb.Fatal(err)
	}
	return r
}

// issue makes a token on a cluster that the proxy does not see.
func (w *world) issue(cluster, settings string) string {
	w.tb.Helper()
	token, _ := w.direct(cluster, "POST", "auth/token/create", settings).auth["client_token"].(string)
	if token == "" {
		w.tb.Fatal("no token")
	}
	return token
}

// engine is what the proxy takes a path's mount for.
func (w *world) engine(path string) string {
	w.tb.Helper()
	a, err := w.app.explain("POST", "/v1/"+path, "")
	if err != nil {
		w.tb.Fatal(err)
	}
	return a.(explain.Answer).Engine
}

// A token with a use limit serves exactly that many requests, wherever it is from.
func TestALimitedTokenLosesNoUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, home := range []string{"eu-west", "us-west"} {
		w.token = w.issue(home, `{"policies":["demo"],"num_uses":3}`)
		for range 3 {
			w.want(w.do("GET", "secret/data/hello", ""), 200, home)
		}
		w.want(w.do("GET", "secret/data/hello", ""), 403, "")
	}
}

// A login whose tokens have a use limit is not repeated elsewhere: each login would
// bring new uses.
func TestALimitedLoginIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.direct("us-east", "POST", "auth/userpass/users/few", `{"password":"p","token_policies":"demo","token_num_uses":2}`)
	w.token = ""
	var r reply
	eventually(t, "the user is replicated", func() bool {
		r = w.do("POST", "auth/userpass/login/few", `{"password":"p"}`)
		return r.status == 200
	})
	w.token, _ = r.auth["client_token"].(string)
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "eu-west") // which forwards it
	w.want(w.do("GET", "secret/data/hello", ""), 403, "")
	if n := w.served("us-east", "auth/userpass/login/few") + w.served("us-west", "auth/userpass/login/few"); n != 0 {
		t.Errorf("%d logins elsewhere", n)
	}
}

func TestReplayCanBeSwitchedOffPerMethod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sessions: {replay_except: [userpass]}")
	w.want(w.direct("eu-west", "GET", "sys/health", ""), 200, "")
	w.token = lab.RootToken
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west") // the mounts are learned
	w.login()
	w.lab.Cluster("eu-west").Kill()
	w.state("eu-west", health.StateDown)
	r := w.do("GET", "secret/data/hello", "")
	w.want(r, 503, "")
	if r.code() != "owner-unavailable" {
		t.Errorf("%s: %s", r.code(), r.body)
	}
}

// A write with a token of another cluster goes there, and happens once.
func TestAForeignTokensWriteHappensOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.token = w.issue("us-west", `{"policies":["demo"]}`)
	w.want(w.do("POST", "secret/data/foreign", `{"data":{}}`), 200, "us-west")
	if n := w.lab.Cluster("us-east").Applied("secret/data/foreign"); n != 1 {
		t.Errorf("applied %d times", n)
	}
	if r := w.do("GET", "auth/token/lookup-self", ""); r.cluster() != "us-west" || r.header.Get("X-Vrproxy-Attempts") != "1" {
		t.Errorf("its home is not remembered: %s after %s attempts", r.cluster(), r.header.Get("X-Vrproxy-Attempts"))
	}
	// Once it is dead, that is found out once, and everywhere.
	w.lab.Cluster("us-west").RevokeToken(w.token)
	w.want(w.do("GET", "secret/data/hello", ""), 403, "")
	if r := w.do("GET", "secret/data/hello", ""); r.status != 403 || r.header.Get("X-Vrproxy-Attempts") != "1" {
		t.Errorf("%d after %s attempts", r.status, r.header.Get("X-Vrproxy-Attempts"))
	}
}

// leaseOn makes a lease on a cluster that the proxy does not see.
func (w *world) leaseOn(cluster string) string {
	w.tb.Helper()
	id, _ := w.direct(cluster, "GET", "database/creds/readonly", "").whole["lease_id"].(string)
	if id == "" {
		w.tb.Fatal("no lease")
	}
	return id
}

func (w *world) lives(cluster, lease string) bool {
	w.tb.Helper()
	return w.direct(cluster, "POST", "sys/leases/lookup", fmt.Sprintf(`{"lease_id":%q}`, lease)).status == 200
}

// Vault says 204 to the revocation of a lease that it does not know. So a revocation
// has to reach the cluster that does.
func TestARevocationReachesTheLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.boss()
	lease := w.leaseOn("us-west")
	w.want(w.do("PUT", "sys/leases/revoke", fmt.Sprintf(`{"lease_id":%q}`, lease)), 204, "us-west")
	if w.lives("us-west", lease) {
		t.Error("revoked, and alive")
	}
	// Known nowhere: each cluster is told.
	w.want(w.do("PUT", "sys/leases/revoke/database/creds/readonly/unknown", ""), 204, "eu-west")
	for _, c := range []string{"eu-west", "us-east", "us-west"} {
		if n := w.served(c, "sys/leases/revoke/database/creds/readonly/unknown"); n != 1 {
			t.Errorf("%s was told %d times", c, n)
		}
	}
	// A cluster that may have it can't be asked: no false yes.
	hidden := w.leaseOn("us-west")
	w.lab.Cluster("us-west").Kill()
	w.state("us-west", health.StateDown)
	for path, body := range map[string]string{
		"sys/leases/revoke":          fmt.Sprintf(`{"lease_id":%q}`, hidden),
		"sys/revoke/" + hidden:       "",
		"auth/token/revoke":          `{"token":"hvs.somebodys"}`,
		"auth/token/revoke-accessor": `{"accessor":"somebodys"}`,
	} {
		r := w.do("PUT", path, body)
		w.want(r, 503, "")
		if r.code() != "owner-unavailable" {
			t.Errorf("%s: %s %s", path, r.code(), r.body)
		}
	}
	if err := w.lab.Cluster("us-west").Restart(); err != nil {
		t.Fatal(err)
	}
	w.state("us-west", health.StateHealthy)
	w.want(w.do("PUT", "sys/leases/revoke", fmt.Sprintf(`{"lease_id":%q}`, hidden)), 204, "us-west")
}

// Who may revoke and not look has each cluster told.
func TestRevokingWithoutTheRightToLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.direct("us-east", "POST", "sys/policies/acl/revoker", `{"policy":"path \"sys/leases/revoke\" { capabilities = [\"update\"] }"}`)
	w.direct("us-east", "POST", "auth/userpass/users/revoker", `{"password":"p","token_policies":"revoker","token_no_default_policy":true}`)
	w.token = ""
	eventually(t, "the user is replicated", func() bool {
		r := w.do("POST", "auth/userpass/login/revoker", `{"password":"p"}`)
		w.token, _ = r.auth["client_token"].(string)
		return r.status == 200
	})
	lease := w.leaseOn("us-west")
	w.want(w.do("PUT", "sys/leases/revoke", fmt.Sprintf(`{"lease_id":%q}`, lease)), 204, "")
	if w.lives("us-west", lease) {
		t.Error("revoked, and alive")
	}
}

// A token of one cluster can end nothing on another, and is not told that it did.
func TestABoundTokensRevocationIsHonest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.token = lab.RootToken
	w.direct("us-east", "POST", "sys/policies/acl/all", `{"policy":"path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"] }"}`)
	lease := w.leaseOn("us-west")
	eventually(t, "the policy is replicated", func() bool { return w.direct("eu-west", "GET", "sys/policies/acl/all", "").status == 200 })
	w.token = w.issue("eu-west", `{"policies":["all"]}`)
	r := w.do("PUT", "sys/leases/revoke", fmt.Sprintf(`{"lease_id":%q}`, lease))
	w.want(r, 503, "")
	if !w.lives("us-west", lease) {
		t.Error("how?")
	}
	// Nor is it told that there is no such lease.
	w.want(w.do("PUT", "sys/leases/renew", fmt.Sprintf(`{"lease_id":%q}`, lease)), 503, "")
}

func TestRevokePrefixEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.boss()
	leases := map[string]string{}
	for _, c := range []string{"eu-west", "us-east", "us-west"} {
		leases[c] = w.leaseOn(c)
	}
	w.want(w.do("PUT", "sys/leases/revoke-prefix/database/creds", ""), 421, "")
	w.want(w.do("PUT", "sys/leases/revoke-prefix/database/creds", "", "X-Vrproxy-Cluster", "us-east"), 204, "us-east")
	if w.lives("us-east", leases["us-east"]) || !w.lives("us-west", leases["us-west"]) {
		t.Error("one cluster was named")
	}
	r := w.do("PUT", "sys/leases/revoke-prefix/database/creds", "", "X-Vrproxy-Cluster", "*")
	w.want(r, 200, "")
	clusters, _ := r.data["clusters"].(map[string]any)
	for c, lease := range leases {
		if said, _ := clusters[c].(map[string]any); said["status"] != float64(204) || w.lives(c, lease) {
			t.Errorf("%s: %v", c, said)
		}
	}
	w.lab.Cluster("us-west").Kill()
	w.state("us-west", health.StateDown)
	r = w.do("PUT", "sys/revoke-force/database/creds", "", "X-Vrproxy-Cluster", "*")
	w.want(r, 502, "")
	if r.code() != "partly-done" || !strings.Contains(r.body, "not done on us-west") || !strings.Contains(r.body, `"eu-west":{"status":204}`) {
		t.Errorf("%s: %s", r.code(), r.body)
	}
	w.want(w.do("PUT", "sys/seal", "", "X-Vrproxy-Cluster", "*"), 400, "")
}

// What the proxy did not see begin is found: a certificate by its serial number, a
// one-time password by asking.
func TestThingsOfOtherClustersAreFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.boss()
	w.want(w.do("GET", "pki/ca/pem", ""), 200, "eu-west") // pki is a known mount now
	serial, _ := w.direct("us-west", "POST", "pki/issue/demo", `{"common_name":"a.example.com"}`).data["serial_number"].(string)
	w.want(w.do("GET", "pki/cert/"+serial, ""), 200, "us-west")
	w.want(w.do("GET", "pki/cert/00:11", ""), 404, "eu-west")
	second, _ := w.direct("us-west", "POST", "pki/issue/demo", `{"common_name":"a.example.com"}`).data["serial_number"].(string)
	w.want(w.do("POST", "pki/revoke", fmt.Sprintf(`{"serial_number":%q}`, second)), 200, "us-west")
	w.want(w.do("POST", "sys/mounts/host", `{"type":"ssh"}`), 204, "us-east")
	w.want(w.do("POST", "host/roles/otp", `{"key_type":"otp","default_user":"ubuntu","cidr_list":"0.0.0.0/0"}`), 204, "us-east")
	var password string
	eventually(t, "the role is replicated", func() bool {
		password, _ = w.direct("us-west", "POST", "host/creds/otp", `{"ip":"10.0.0.1"}`).data["key"].(string)
		return password != "" && w.do("GET", "host/roles/otp", "").status == 200 && w.engine("host/verify") == "ssh"
	})
	w.token = "" // the host that is logged in to has none
	w.want(w.do("POST", "host/verify", fmt.Sprintf(`{"otp":%q}`, password)), 200, "us-west")
	w.want(w.do("POST", "host/verify", fmt.Sprintf(`{"otp":%q}`, password)), 400, "eu-west")
}

// Revoking the client's token by its accessor ends it on every cluster.
func TestRevokeByAccessorEndsTheSessionEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	client := w.login()
	accessor, _ := w.do("GET", "auth/token/lookup-self", "").data["accessor"].(string)
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "us-east") // a token at us-east
	w.boss()
	w.want(w.do("POST", "auth/token/lookup-accessor", fmt.Sprintf(`{"accessor":%q}`, accessor)), 200, "eu-west")
	w.want(w.do("POST", "auth/token/revoke-accessor", fmt.Sprintf(`{"accessor":%q}`, accessor)), 204, "eu-west")
	w.token = client
	w.want(w.do("GET", "secret/data/hello", ""), 403, "")
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 403, "")
	eventually(t, "the token at us-east is revoked", func() bool { return w.served("us-east", "auth/token/revoke-self") == 1 })
}

// The client is never shown more life than its session has: the token on another
// cluster may be younger.
func TestShownLifetimesHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sessions: {prewarm: false}")
	w.direct("us-east", "POST", "auth/userpass/users/short", `{"password":"p","token_policies":"demo","token_ttl":"1h","token_max_ttl":"2h"}`)
	w.token = ""
	var r reply
	eventually(t, "the user is replicated", func() bool {
		r = w.do("POST", "auth/userpass/login/short", `{"password":"p"}`)
		return r.status == 200
	})
	w.token, _ = r.auth["client_token"].(string)
	session, _ := w.app.shared.tokens.Known(w.token)
	session.Extend(10 * time.Minute) // as if fifty minutes had passed
	w.lab.Cluster("eu-west").Kill()
	w.state("eu-west", health.StateDown)
	r = w.do("GET", "auth/token/lookup-self", "")
	w.want(r, 200, "")
	if ttl, _ := r.data["ttl"].(float64); ttl > 600 || ttl < 500 || r.data["id"] != w.token {
		t.Errorf("shown ttl %v of token %v", r.data["ttl"], r.data["id"])
	}
	expires, err := time.Parse(time.RFC3339Nano, fmt.Sprint(r.data["expire_time"]))
	if err != nil || time.Until(expires) > 601*time.Second {
		t.Errorf("shown to expire at %v: %v", r.data["expire_time"], err)
	}
}

// A restarted proxy goes on where the one before ended.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("a key of more than sixteen bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	state := fmt.Sprintf("sessions: {state_file: %q, state_key_file: %q, persist_credentials: true}", filepath.Join(dir, "state"), filepath.Join(dir, "key"))
	w := newWorld(t, state)
	w.login()
	credential := w.do("GET", "database/creds/readonly", "", "X-Vrproxy-Cluster", "us-west")
	w.want(credential, 200, "us-west")
	eventually(t, "a token at us-east", func() bool { return w.served("us-east", "auth/userpass/login/demo") == 1 })
	w.stop()
	w.run(state)
	renew := fmt.Sprintf(`{"lease_id":%q}`, credential.whole["lease_id"])
	r := w.do("PUT", "sys/leases/renew", renew)
	w.want(r, 200, "us-west")
	if r.header.Get("X-Vrproxy-Attempts") != "1" || w.served("us-east", "sys/leases/lookup") != 0 {
		t.Error("its home was looked for")
	}
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "us-east")
	if n := w.served("us-east", "auth/userpass/login/demo"); n != 1 {
		t.Errorf("%d logins at us-east", n)
	}
	w.lab.Cluster("eu-west").Kill()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "")
	if r := w.do("GET", "auth/token/lookup-self", ""); r.data["id"] != w.token {
		t.Errorf("lookup-self shows %v", r.data["id"])
	}
}

// A thousand clients lose their nearest cluster at once: none of them notices, and none
// logs in, because each had a token ready.
func TestAThousandSessionsLoseTheirCluster(t *testing.T) {
	t.Parallel()
	const n = 1000
	w := newWorld(t, "sessions: {login_rate: 10000}\nlog: {level: warn}")
	tokens := make([]string, n)
	w.each(n, func(i int) {
		r := w.do("POST", "auth/userpass/login/demo", `{"password":"demo"}`, "X-Vault-Token", "")
		tokens[i], _ = r.auth["client_token"].(string)
	})
	logins := func() int { return w.served("us-east", "auth/userpass/login/demo") }
	eventually(t, "all are warm", func() bool { return logins() == n })
	w.lab.Cluster("eu-west").Kill()
	var failed atomic.Int64
	w.each(n, func(i int) {
		if r, err := w.try("GET", "secret/data/hello", "", "X-Vault-Token", tokens[i]); err != nil || r.status != 200 {
			failed.Add(1)
		}
	})
	if failed.Load() != 0 || logins() != n {
		t.Errorf("%d of %d reads failed; %d logins at us-east, %d before the loss", failed.Load(), n, logins(), n)
	}
	if m := w.served("us-west", "auth/userpass/login/demo"); m > n {
		t.Errorf("%d logins at us-west for %d sessions", m, n)
	}
}

// each calls f n times, sixteen at a time.
func (w *world) each(n int, f func(i int)) {
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error { f(i); return nil })
	}
	_ = g.Wait() // nobody returns an error
}

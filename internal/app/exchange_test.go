package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/health"
)

func TestReadsNearestWritesPrimary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	w.want(w.do("POST", "secret/data/mine", `{"data":{"a":"1"}}`), 200, "us-east")
	w.want(w.do("GET", "database/creds/readonly", ""), 200, "eu-west")
	w.want(w.do("POST", "transit/encrypt/demo", `{"plaintext":"aGk="}`), 200, "eu-west")
	w.want(w.do("POST", "pki/issue/demo", `{"common_name":"a.example.com"}`), 200, "eu-west")
	w.want(w.do("LIST", "secret/metadata/", ""), 200, "us-east") // it shows what was written
	w.want(w.do("LIST", "transit/keys", ""), 200, "eu-west")
	r := w.do("GET", "secret/data/hello", "")
	if r.header.Get("X-Vrproxy-Class") != "nearest" || r.header.Get("X-Vrproxy-Attempts") != "1" {
		t.Errorf("headers: %v", r.header)
	}
	if got := w.lab.Cluster("us-east").Applied("secret/data/mine"); got != 1 {
		t.Errorf("the write was applied %d times", got)
	}
}

// The main promise: the nearest cluster dies under a loop of reads and no read
// fails, with the token the client has had all along.
func TestNearestDiesUnderReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	var failed, moved atomic.Int64
	var slowest atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				r, err := w.try("GET", "secret/data/hello", "")
				slowest.Store(max(slowest.Load(), int64(time.Since(began))))
				if err != nil || r.status != 200 {
					failed.Add(1)
					t.Errorf("a read failed: %v %d %s", err, r.status, r.body)
				}
				if r.cluster() != "eu-west" {
					moved.Add(1)
				}
			}
		})
	}
	eventually(t, "reads run", func() bool { return w.served("eu-west", "secret/data/hello") > 50 })
	w.lab.Cluster("eu-west").Kill()
	eventually(t, "reads moved", func() bool { return moved.Load() > 200 })
	w.state("eu-west", health.StateDown)
	if err := w.lab.Cluster("eu-west").Restart(); err != nil {
		t.Fatal(err)
	}
	w.state("eu-west", health.StateHealthy)
	eventually(t, "reads come back", func() bool {
		r, err := w.try("GET", "secret/data/hello", "")
		return err == nil && r.cluster() == "eu-west"
	})
	close(stop)
	wg.Wait()
	t.Logf("failed reads: %d, slowest read: %v", failed.Load(), time.Duration(slowest.Load()))
}

func TestHangingClusterIsLeft(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"stall", "blackhole", "seal"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			w.login()
			w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
			if err := w.lab.Do("eu-west", fault); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if r := w.do("GET", "secret/data/hello", ""); r.status != 200 || r.cluster() == "eu-west" {
					t.Fatalf("%d from %q: %s", r.status, r.cluster(), r.body)
				}
			}
			w.state("eu-west", health.StateDown)
		})
	}
}

// A write whose answer is lost is reported as unknown and never sent again.
func TestLostAnswerOfAWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "us-east")
	w.lab.Cluster("us-east").ResetAfter(1)
	r := w.do("POST", "secret/data/x", `{"data":{"n":"2"}}`)
	w.want(r, 502, "")
	if r.code() != "outcome-unknown" || !strings.Contains(r.body, `"errors":["vrproxy: `) {
		t.Errorf("%s %s", r.code(), r.body)
	}
	if got := w.lab.Cluster("us-east").Applied("secret/data/x"); got != 2 {
		t.Errorf("applied %d times, want 2", got)
	}
}

// A client's idempotency header must not make the HTTP library repeat a write.
func TestIdempotencyHeaderIsNoLeaveToRepeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "us-east")
	w.lab.Cluster("us-east").ResetAfter(1)
	w.want(w.do("POST", "secret/data/x", `{"data":{"n":"2"}}`, "Idempotency-Key", "k"), 502, "")
	if got := w.lab.Cluster("us-east").Applied("secret/data/x"); got != 2 {
		t.Errorf("applied %d times, want 2", got)
	}
}

// A dynamic credential whose answer is lost must not be made a second time, though
// it is a GET.
func TestLostAnswerOfACredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	w.want(w.do("GET", "database/creds/readonly", ""), 200, "eu-west")
	w.lab.Cluster("eu-west").ResetAfter(1)
	r := w.do("GET", "database/creds/readonly", "")
	w.want(r, 502, "")
	total := w.served("eu-west", "database/creds/readonly") + w.served("us-east", "database/creds/readonly") + w.served("us-west", "database/creds/readonly")
	if total != 2 {
		t.Errorf("credentials made %d times, want 2", total)
	}
}

func TestLostAnswerOfAReadGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	w.lab.Cluster("eu-west").ResetAfter(3)
	w.want(w.do("GET", "secret/data/hello", ""), 200, "")
}

func TestPrimaryLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "routing: {primary_wait: 700ms}")
	w.login()
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "us-east")
	w.lab.Cluster("us-east").Kill()
	w.state("us-east", health.StateDown)
	eventually(t, "the secondaries miss their primary", func() bool {
		for _, c := range w.app.Topology().Clusters {
			if c.Role == health.RoleSecondary && c.Linked {
				return false
			}
		}
		return true
	})
	began := time.Now()
	r := w.do("POST", "secret/data/x", `{"data":{"n":"2"}}`)
	w.want(r, 503, "")
	if r.code() != "no-primary" || time.Since(began) > 5*time.Second {
		t.Errorf("%s after %v: %s", r.code(), time.Since(began), r.body)
	}
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
}

// A write that waits is sent once, as soon as the DR copy is promoted; the token
// and its leases go on, because the pair is one home.
func TestDRPromotionServesTheWaitingWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "routing: {primary_wait: 10s}")
	w.login()
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "us-east")
	logins := func() int { return w.served("us-east-dr", "auth/userpass/login/demo") }
	w.copied("us-east", "us-east-dr")
	w.lab.Cluster("us-east").Kill()
	// From the first sign on: the secondaries may still think they are linked, and
	// the promoted copy may be seen before the old primary is found to be down.
	eventually(t, "a sign that us-east is gone", func() bool {
		c, _ := w.app.Topology().Cluster("us-east")
		return c.State != health.StateHealthy
	})
	answer := make(chan reply, 1)
	go func() {
		r, _ := w.try("POST", "secret/data/x", `{"data":{"n":"2"}}`)
		answer <- r
	}()
	if err := w.lab.Do("us-east-dr", "promote"); err != nil {
		t.Fatal(err)
	}
	w.want(<-answer, 200, "") // directly, or through a secondary that was first to follow the new primary
	if n := w.lab.Cluster("us-east-dr").Applied("secret/data/x"); n != 1 {
		t.Errorf("applied %d times at the promoted cluster", n)
	}
	if n := logins(); n != 0 {
		t.Errorf("%d logins at the promoted cluster; its tokens are those of us-east", n)
	}
}

// The old primary comes back and still calls itself primary: it is not believed, and
// nothing goes there, until it is demoted.
func TestTheOldPrimaryComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	w.want(w.do("POST", "secret/data/x", `{"data":{"n":"1"}}`), 200, "us-east")
	w.copied("us-east", "us-east-dr")
	w.lab.Cluster("us-east").Kill()
	w.state("us-east", health.StateDown)
	if err := w.lab.Do("us-east-dr", "promote"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "writes go on", func() bool { return w.do("POST", "secret/data/x", `{"data":{"n":"2"}}`).cluster() == "us-east-dr" })
	if err := w.lab.Cluster("us-east").Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is back", func() bool {
		c, _ := w.app.Topology().Cluster("us-east")
		return c.Disbelieved
	})
	before := w.lab.Cluster("us-east").Applied("secret/data/x")
	for range 20 {
		w.want(w.do("POST", "secret/data/x", `{"data":{"n":"3"}}`), 200, "us-east-dr")
		w.want(w.do("GET", "auth/token/lookup-self", ""), 200, "")
	}
	if n := w.lab.Cluster("us-east").Applied("secret/data/x"); n != before {
		t.Errorf("%d writes went to the old primary", n-before)
	}
}

func TestSplitBrainRefusesWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "routing: {primary_down: fail}")
	w.login()
	if err := w.lab.Do("us-east-dr", "promote"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "split brain seen", func() bool { return w.app.Topology().SplitBrain })
	r := w.do("POST", "secret/data/x", `{"data":{}}`)
	w.want(r, 503, "")
	if r.code() != "split-brain" || !strings.Contains(r.body, "us-east and us-east-dr") {
		t.Errorf("%s: %s", r.code(), r.body)
	}
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
}

func TestEverythingDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "routing: {primary_wait: 300ms}")
	w.login()
	for _, c := range w.lab.Clusters() {
		c.Kill()
	}
	for path, code := range map[string]string{"secret/data/hello": "no-healthy-cluster"} {
		began := time.Now()
		r := w.do("GET", path, "")
		if r.status != 503 || r.code() != code || time.Since(began) > 5*time.Second {
			t.Errorf("GET: %d %s after %v: %s", r.status, r.code(), time.Since(began), r.body)
		}
	}
	r := w.do("POST", "secret/data/x", `{"data":{}}`)
	if r.status != 503 || r.code() != "no-primary" {
		t.Errorf("POST: %d %s: %s", r.status, r.code(), r.body)
	}
	eventually(t, "not ready, with no cluster alive", func() bool { return w.app.Ready() != nil })
}

// Another cluster needs a token of its own: one login, however many ask.
func TestOneLoginPerClusterUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sessions: {prewarm: false}")
	w.login()
	w.lab.Cluster("eu-west").Kill()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if r, err := w.try("GET", "secret/data/hello", ""); err != nil || r.status != 200 {
				t.Errorf("%v %d %s", err, r.status, r.body)
			}
		})
	}
	wg.Wait()
	for _, c := range []string{"us-east", "us-west"} {
		if n := w.served(c, "auth/userpass/login/demo"); n > 1 {
			t.Errorf("%d logins at %s", n, c)
		}
	}
}

func TestPrewarmedTokensCostNoLoginLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "routing: {failover: [us-west, us-east]}")
	w.login()
	logins := func() [2]int {
		const path = "auth/userpass/login/demo"
		return [2]int{w.served("us-east", path), w.served("us-west", path)}
	}
	ahead := [2]int{1, 1}
	eventually(t, "prewarmed at the primary and at the next", func() bool { return logins() == ahead })
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "us-east")
	if after := logins(); after != ahead {
		t.Errorf("%v logins after the write, %v ahead of it", after, ahead)
	}
}

// A token that Vault has forgotten is replaced by one new login, unseen.
func TestForgottenTokenIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	token := w.login()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	w.lab.Cluster("eu-west").RevokeToken(token)
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	r := w.do("GET", "auth/token/lookup-self", "")
	w.want(r, 200, "eu-west")
	if r.data["id"] != token {
		t.Errorf("lookup-self shows %v, not the client's token", r.data["id"])
	}
}

func TestPolicyDenialIsAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	r := w.do("GET", "sys/policies/acl/root-only", "")
	w.want(r, 403, "eu-west")
	if r.header.Get("X-Vrproxy-Attempts") != "1" || r.code() != "" {
		t.Errorf("attempts %s, code %q", r.header.Get("X-Vrproxy-Attempts"), r.code())
	}
	if n := w.served("eu-west", "auth/userpass/login/demo"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// A mount that a paths filter keeps from a secondary, or that is local to the primary,
// is read where it is; what is mounted nowhere is Vault's own 404, from the nearest.
func TestMountsThatTheNearestDoesNotHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.want(w.direct("us-east", "POST", "sys/mounts/only-east", `{"type":"kv","local":true}`), 204, "")
	w.boss()
	w.want(w.do("POST", "only-east/a", `{"b":"c"}`), 204, "us-east")
	w.boss() // who wrote it would ask the primary at once
	r := w.do("GET", "only-east/a", "")
	w.want(r, 200, "us-east")
	if r.data["b"] != "c" || r.header.Get("X-Vrproxy-Attempts") != "2" {
		t.Errorf("%v after %s attempts", r.data, r.header.Get("X-Vrproxy-Attempts"))
	}
	w.want(w.do("GET", "nowhere/a", ""), 404, "us-east")
	w.lab.Cluster("us-east").Kill()
	w.state("us-east", health.StateDown)
	w.want(w.do("GET", "nowhere/a", ""), 404, "eu-west")
	w.want(w.do("GET", "only-east/a", "", "X-Vrproxy-Cluster", "eu-west"), 404, "eu-west")
	if strings.Contains(w.logs.String(), "failed over") {
		t.Error("asking the primary for a mount was taken for a failover")
	}
}

func TestUnknownTokenGetsVaultsAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.token = "hvs.nobody-knows-this"
	r := w.do("GET", "secret/data/hello", "")
	w.want(r, 403, "eu-west")
	if r.code() != "" || !strings.Contains(r.body, "permission denied") {
		t.Errorf("%s: %s", r.code(), r.body)
	}
}

// A lease is renewed where it lives, whichever cluster is nearest, and nowhere else
// while that cluster is lost.
func TestLeaseGoesHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "routing: {failover: [us-east, us-west]}")
	w.login()
	r := w.do("GET", "database/creds/readonly", "")
	w.want(r, 200, "eu-west")
	lease, _ := r.whole["lease_id"].(string)
	renew := func() reply { return w.do("PUT", "sys/leases/renew", fmt.Sprintf(`{"lease_id":%q}`, lease)) }
	drainer := drainer{&w.app.cores}
	if err := drainer.Drain("eu-west"); err != nil {
		t.Fatal(err)
	}
	w.want(w.do("GET", "secret/data/hello", ""), 200, "us-east")
	w.want(renew(), 200, "eu-west") // drained: nothing new goes there, but what lives there is served
	if err := drainer.Undrain("eu-west"); err != nil {
		t.Fatal(err)
	}
	w.lab.Cluster("eu-west").Kill()
	for range 2 {
		r = renew()
		w.want(r, 503, "")
		if r.code() != "owner-unavailable" {
			t.Errorf("%s: %s", r.code(), r.body)
		}
		w.state("eu-west", health.StateDown)
	}
}

// A client must not get a token out of the certificate with which the proxy shows
// itself to Vault.
func TestProxysCertificateIsNotLent(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		use, path, body string
		status          int
	}{
		{"never", "auth/cert/login", "", 403},
		{"never", "auth/other/login", `{"name":"web"}`, 403},
		{"never", "auth/userpass/login/demo", `{"password":"demo"}`, 200},
		{"fallback", "auth/cert/login", "", 403}, // Vault's own answer: no such mount
	} {
		w := newWorld(t, "identity: {method: userpass, options: {username: demo, password: demo}}\nlisteners: [{address: \"127.0.0.1:0\", identity: "+tc.use+"}]")
		core := w.app.cores.p.Load()
		core.proxy = core.exchanges(w.app.shared, true)
		w.token = ""
		r := w.do("POST", tc.path, tc.body)
		if r.status != tc.status || (r.code() == "identity-not-lent") != (tc.use == "never" && tc.status == 403) {
			t.Errorf("%s %s: %d %s %s", tc.use, tc.path, r.status, r.code(), r.body)
		}
	}
}

func TestLeaseOfAnotherProxyIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	r := w.do("GET", "database/creds/readonly", "", "X-Vrproxy-Cluster", "us-west")
	w.want(r, 200, "us-west")
	lease, _ := r.whole["lease_id"].(string)
	w.app.shared.tokens.ForgetLease(lease) // as after a restart
	w.want(w.do("PUT", "sys/leases/renew", fmt.Sprintf(`{"lease_id":%q}`, lease)), 200, "us-west")
}

func TestWrappingTokenGoesHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	r := w.do("GET", "secret/data/hello", "", "X-Vault-Wrap-TTL", "60s", "X-Vrproxy-Cluster", "us-west")
	w.want(r, 200, "us-west")
	info, _ := r.whole["wrap_info"].(map[string]any)
	token, _ := info["token"].(string)
	w.want(w.do("POST", "sys/wrapping/unwrap", fmt.Sprintf(`{"token":%q}`, token)), 200, "us-west")
	w.token = token
	if r := w.do("POST", "sys/wrapping/unwrap", ""); r.status < 400 {
		t.Errorf("unwrapped twice: %s", r.body)
	}
}

// The same wrapping token as the token of the request and in the body: Vault's clients
// send it so. Looking at it leaves it its one use.
func TestAWrappingTokenSentTwiceIsNotSpent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	info, _ := w.direct("us-west", "GET", "secret/data/hello", "", "X-Vault-Wrap-TTL", "60s").whole["wrap_info"].(map[string]any)
	w.token, _ = info["token"].(string)
	both := fmt.Sprintf(`{"token":%q}`, w.token)
	w.want(w.do("POST", "sys/wrapping/lookup", both), 200, "us-west")
	w.want(w.do("POST", "sys/wrapping/lookup", both), 200, "us-west")
	w.want(w.do("POST", "sys/wrapping/unwrap", both), 200, "us-west")
}

func TestRevokeSelfEndsTheSessionEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.login()
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "us-east") // a token at us-east
	w.want(w.do("POST", "auth/token/revoke-self", ""), 204, "eu-west")
	w.want(w.do("GET", "secret/data/hello", ""), 403, "")
	w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 403, "")
	eventually(t, "the token at us-east is revoked", func() bool { return w.served("us-east", "auth/token/revoke-self") == 1 })
}

func TestOperatorRequestsNameTheirCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	r := w.do("PUT", "sys/seal", "")
	w.want(r, 421, "")
	if r.code() != "operator-request" || r.header.Get("X-Vrproxy-Class") != "operator" {
		t.Errorf("%s %v", r.code(), r.header)
	}
	w.want(w.do("GET", "sys/leases/lookup/database/creds/readonly?list=true", "", "X-Vrproxy-Cluster", "us-west"), 404, "us-west")
	r = w.do("GET", "sys/metrics", "", "X-Vrproxy-Cluster", "atlantis")
	w.want(r, 400, "")
	if !strings.Contains(r.body, "us-west") {
		t.Errorf("the configured names are not told: %s", r.body)
	}
	w.want(w.do("GET", "sys/seal-status", ""), 200, "eu-west")
	w.lab.Cluster("us-west").Kill()
	w.state("us-west", health.StateDown)
	w.want(w.do("PUT", "sys/step-down", "", "X-Vrproxy-Cluster", "us-west"), 503, "") // and goes nowhere else
	for _, c := range []string{"eu-west", "us-east", "us-east-dr"} {
		if n := w.served(c, "sys/step-down"); n != 0 {
			t.Errorf("%s was asked to step down", c)
		}
	}
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "listeners: [{address: \"127.0.0.1:0\", require_request_header: true}]")
	r := w.do("GET", "secret/data/hello", "")
	w.want(r, 412, "")
	if r.code() != "missing-request-header" {
		t.Errorf("%s", r.code())
	}
	w.want(w.do("GET", "secret/data/hello", "", "X-Vault-Request", "true"), 200, "eu-west")
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+w.app.Addresses()[0]+"/ui/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Request", "true")
	resp, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 400 || resp.Header.Get("X-Vrproxy-Error") != "bad-request" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

func TestMalformedHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for request, status := range map[string]string{
		"GET /v1/%zz HTTP/1.1\r\nHost: h\r\n\r\n":                                              "400 Bad Request",
		"nonsense\r\n\r\n":                                                                     "400 Bad Request",
		"GET /v1/x HTTP/1.1\r\n\r\n":                                                           "400 Bad Request",
		"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: rot13\r\n\r\n":                   "501 Not Implemented",
		"GET /v1/x HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 64<<10+8192) + "\r\n\r\n": "431 Request Header Fields Too Large",
	} {
		d := net.Dialer{Timeout: 5 * time.Second}
		c, err := d.DialContext(t.Context(), "tcp", w.app.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, request) // a refusal may come before all of it is sent
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%.30q: %v", request, err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = c.Close()
		if !strings.HasPrefix(resp.Status, status) || !strings.Contains(string(body), `{"errors":["vrproxy: `) {
			t.Errorf("%.30q: %s %s", request, resp.Status, body)
		}
	}
}

func TestIdentityIsLentAsTheListenerSays(t *testing.T) {
	t.Parallel()
	id := "identity: {method: userpass, options: {username: demo, password: demo}}\n"
	for _, tc := range []struct {
		use, token string
		status     int
		user       any
	}{
		{"fallback", "", 200, "userpass-demo"},
		{"fallback", "root", 200, "token"},
		{"force", "root", 200, "userpass-demo"},
		{"never", "", 403, nil},
	} {
		t.Run(tc.use+" with token "+tc.token, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, id+"listeners: [{address: \"127.0.0.1:0\", identity: "+tc.use+"}]")
			w.token = tc.token
			r := w.do("GET", "auth/token/lookup-self", "")
			w.want(r, tc.status, "")
			if name := r.data["display_name"]; tc.user == "userpass-demo" && name != tc.user {
				t.Errorf("served as %v, want %v", name, tc.user)
			}
			if tc.user == "userpass-demo" && r.data["id"] != "" {
				t.Errorf("the proxy's own token is shown")
			}
		})
	}
}

// TestNoSecretInAnyOutput greps all that the process can say for what passed through it:
// logs, each page of the admin listener, events, error texts, the state file, explain.
func TestNoSecretInAnyOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("s3cr3t-key-of-the-state"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, fmt.Sprintf("admin: {address: \"127.0.0.1:0\", pprof: true}\nidentity: {method: approle, options: {role_id: demo, secret_id: demo}}\nsessions: {state_file: %q, state_key_file: %q, persist_credentials: true}",
		filepath.Join(dir, "state"), filepath.Join(dir, "key")))
	secrets := map[string]string{"value": "s3cr3t-value", "password": "s3cr3t-password", "state key": "s3cr3t-key-of-the-state"}
	secrets["token"] = w.login()
	w.do("POST", "auth/userpass/login/demo", `{"password":"s3cr3t-password"}`)
	w.do("POST", "secret/data/x", `{"data":{"planted":"s3cr3t-value"}}`)
	r := w.do("GET", "database/creds/readonly", "")
	secrets["lease"], _ = r.whole["lease_id"].(string)
	secrets["credential"], _ = r.data["password"].(string)
	secrets["accessor"], _ = w.do("GET", "auth/token/lookup-self", "").data["accessor"].(string)
	info, _ := w.do("GET", "secret/data/hello", "", "X-Vault-Wrap-TTL", "60s").whole["wrap_info"].(map[string]any)
	secrets["wrapping token"], _ = info["token"].(string)
	secrets["token of the identity"] = w.identityToken()
	w.lab.Cluster("eu-west").Kill()
	w.do("GET", "secret/data/x", "")
	w.do("PUT", "sys/leases/revoke", fmt.Sprintf(`{"lease_id":%q}`, secrets["lease"])) // its home is lost: an error of the proxy's own
	outputs := map[string]string{}
	for _, page := range []string{
		"metrics", "status", "ui", "readiness", "startup", "liveness", "explain?path=/v1/secret/data/x", "explain?path=/v1/" + secrets["lease"], "debug/pprof/cmdline", "debug/pprof/goroutine?debug=2",
	} {
		outputs[page] = w.admin(page)
	}
	w.stop()
	raw, err := os.ReadFile(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	outputs["state file"], outputs["log"] = string(raw), w.logs.String()
	for name, secret := range secrets {
		if secret == "" {
			t.Fatalf("no %s was seen", name)
		}
		for where, text := range outputs {
			if strings.Contains(text, secret) && where != "explain?path=/v1/"+secret {
				t.Errorf("a %s is in %s", name, where)
			}
		}
	}
}

// identityToken is the token that the proxy lent to a request without one.
func (w *world) identityToken() string {
	w.tb.Helper()
	w.want(w.do("GET", "secret/data/hello", "", "X-Vault-Token", ""), 200, "eu-west")
	token, err := w.app.shared.tokens.Identity().Token(context.Background(), "eu-west")
	if err != nil {
		w.tb.Fatal(err)
	}
	return token.Reveal()
}

// admin reads a page of the admin listener, head and body.
func (w *world) admin(page string) string {
	w.tb.Helper()
	resp, err := w.http.Get("http://" + w.app.AdminAddress() + "/" + page)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if err := resp.Write(&text); err != nil {
		w.tb.Fatal(err)
	}
	return text.String()
}

// A token that cannot be logged in for, but is valid on another cluster as well
// (here: the laboratory's root token), goes on when its home is lost.
func TestForeignTokenMovesWhenItsHomeIsLost(t *testing.T) {
	t.Parallel()
	for fault, remedy := range map[string]string{"kill": "restart", "stall": "resume", "blackhole": "heal"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
			if err := w.lab.Do("eu-west", fault); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if r := w.do("GET", "secret/data/hello", ""); r.status != 200 || r.cluster() == "eu-west" {
					t.Fatalf("%d from %q: %s", r.status, r.cluster(), r.body)
				}
			}
			w.state("eu-west", health.StateDown)
			w.want(w.do("POST", "secret/data/x", `{"data":{}}`), 200, "")
			if err := w.lab.Do("eu-west", remedy); err != nil {
				t.Fatal(err)
			}
			w.state("eu-west", health.StateHealthy)
			w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
		})
	}
}

func TestForeignTokenOfALostHomeIsRefusedHonestly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	r := w.do("POST", "auth/token/create", `{"policies":["demo"]}`, "X-Vrproxy-Cluster", "us-west")
	w.want(r, 200, "us-west")
	w.token, _ = r.auth["client_token"].(string)
	w.want(w.do("GET", "secret/data/hello", ""), 200, "us-west")
	w.lab.Cluster("us-west").Kill()
	r = w.do("GET", "secret/data/hello", "")
	w.want(r, 503, "")
	if r.code() != "owner-unavailable" {
		t.Errorf("%s: %s", r.code(), r.body)
	}
}

// What hangs on a token the proxy made must not die because the session rests.
func TestIdleSessionKeepsWhatItsLeasesHangOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sessions: {idle: 200ms}")
	w.login()
	r := w.do("GET", "database/creds/readonly", "", "X-Vrproxy-Cluster", "us-west")
	w.want(r, 200, "us-west")
	lease, _ := r.whole["lease_id"].(string)
	eventually(t, "the idle token at us-east is given back", func() bool { return w.served("us-east", "auth/token/revoke-self") == 1 })
	w.want(w.do("PUT", "sys/leases/renew", fmt.Sprintf(`{"lease_id":%q}`, lease)), 200, "us-west")
	if n := w.served("us-west", "auth/token/revoke-self"); n != 0 {
		t.Errorf("%d revocations at us-west", n)
	}
}

// A region in routing.never gets nothing of a session: no login ahead of need, no
// search for the home of a token, no rule and no pin.
func TestForbiddenRegionsGetNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `routing: {never: [us-east], rules: [{path: "secret/data/east", to: "cluster:us-east"}]}`)
	w.login()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	r := w.do("POST", "secret/data/x", `{"data":{"a":"1"}}`)
	w.want(r, 200, "")
	if r.cluster() == "us-east" {
		t.Error("a write went to a forbidden region directly")
	}
	eventually(t, "prewarmed elsewhere", func() bool { return w.served("us-west", "auth/userpass/login/demo") > 0 })
	w.want(w.do("GET", "secret/data/east", ""), 503, "")
	w.want(w.do("GET", "secret/data/x", "", "X-Vrproxy-Cluster", "us-east"), 503, "")
	w.token = "hvs.nobody-knows-this"
	w.want(w.do("GET", "secret/data/hello", ""), 403, "eu-west")
	for _, path := range []string{"auth/userpass/login/demo", "auth/token/lookup-self", "secret/data/hello", "secret/data/east"} {
		if n := w.served("us-east", path); n != 0 {
			t.Errorf("%d requests for %s in a forbidden region", n, path)
		}
	}
}

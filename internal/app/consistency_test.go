package app

import (
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
)

// pairs is how many pairs TestNoPairIsStale makes for each kind of set.
var pairs = flag.Int("pairs", 480, "pairs of a write and a read of it, for each kind of set") //nolint:gochecknoglobals // a flag

const (
	lag = 600 * time.Millisecond
	// patient probes do not fail on a busy machine: which cluster is read from matters here.
	patient = "health: {interval: 1s, timeout: 1s}\n"
)

// sets are replicated sets by what their clusters say of their state.
func sets() map[string]lab.Config {
	return map[string]lab.Config{
		"index compared between clusters": {Lag: lag},
		"index of the own cluster only":   {Lag: lag, OwnIndex: true},
		"no index":                        {Lag: lag, NoIndex: true},
	}
}

// TestAClientReadsItsOwnWrites: at once, through the nearest cluster, which is a secondary
// that lags.
func TestAClientReadsItsOwnWrites(t *testing.T) {
	t.Parallel()
	for name, cfg := range sets() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, cfg, patient)
			w.boss()
			write := func(method, path, body string) reply {
				t.Helper()
				r := w.do(method, path, body)
				if r.status >= 300 {
					t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
				}
				return r
			}
			value := func(r reply) any {
				inner, _ := r.data["data"].(map[string]any)
				return inner["v"]
			}

			for i := range 3 {
				v := fmt.Sprint(i)
				write("POST", "secret/data/own/a", `{"data":{"v":"`+v+`"}}`)
				if r := w.do("GET", "secret/data/own/a", ""); r.status != 200 || value(r) != v {
					t.Errorf("a read shows %v, not %v: %d from %s", value(r), v, r.status, r.cluster())
				}
			}
			if r := w.do("LIST", "secret/metadata/own", ""); !strings.Contains(r.body, `"a"`) {
				t.Errorf("a list does not show it: %s", r.body)
			}
			if r := w.do("GET", "secret/metadata/own/a", ""); r.data["current_version"] != 3.0 {
				t.Errorf("its metadata: %s", r.body)
			}
			write("DELETE", "secret/data/own/a", "")
			if r := w.do("GET", "secret/data/own/a", ""); r.status != 404 {
				t.Errorf("it is deleted, and read: %d from %s", r.status, r.cluster())
			}
			write("POST", "secret/undelete/own/a", `{"versions":[3]}`)
			w.want(w.do("GET", "secret/data/own/a", ""), 200, "")

			w.token = lab.RootToken
			write("PUT", "sys/policies/acl/own", `{"policy":"path \"secret/data/own/*\" { capabilities = [\"read\"] }"}`)
			child := write("POST", "auth/token/create", `{"policies":["own"]}`)
			token, _ := child.auth["client_token"].(string)
			w.want(w.do("GET", "secret/data/own/a", "", "X-Vault-Token", token), 200, "")

			write("POST", "auth/userpass/users/own", `{"password":"own","policies":"own"}`)
			login := w.do("POST", "auth/userpass/login/own", `{"password":"own"}`, "X-Vault-Token", "")
			w.want(login, 200, "")
			token, _ = login.auth["client_token"].(string)
			w.want(w.do("GET", "secret/data/own/a", "", "X-Vault-Token", token), 200, "")

			write("POST", "sys/mounts/own", `{"type":"kv","options":{"version":"1"}}`)
			write("POST", "own/x", `{"v":"1"}`)
			if r := w.do("GET", "own/x", ""); r.status != 200 || r.data["v"] != "1" {
				t.Errorf("of a new mount: %d %s", r.status, r.body)
			}
			write("POST", "transit/keys/own", "")
			w.want(w.do("POST", "transit/encrypt/own", `{"plaintext":"aGk="}`), 200, "")
		})
	}
}

// TestWhatOthersReadStaysNear: only what the session wrote is read elsewhere.
func TestWhatOthersReadStaysNear(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, lab.Config{Lag: lag, NoIndex: true}, patient)
	w.boss()
	w.settled()
	w.want(w.do("POST", "secret/data/near", `{"data":{"v":"1"}}`), 200, "us-east")
	w.want(w.do("GET", "secret/data/near", ""), 200, "us-east")
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	boss := w.token
	w.login()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	w.token = boss
	eventually(t, "it is read near again", func() bool { return w.do("GET", "secret/data/near", "").cluster() == "eu-west" })
}

// settled waits until a new session depends on nothing that was written before.
func (w *world) settled() {
	w.tb.Helper()
	eventually(w.tb, "new sessions read near", func() bool {
		r := w.do("POST", "auth/userpass/login/boss", `{"password":"boss"}`, "X-Vault-Token", "")
		token, _ := r.auth["client_token"].(string)
		return w.do("GET", "secret/data/hello", "", "X-Vault-Token", token).cluster() == "eu-west"
	})
}

// pairs has sixteen clients write and read n times each, and read something else, and
// tells how many reads were stale, and how many reads the nearest cluster served.
func (w *world) pairs(n int) (stale, failed, near, reads int64) {
	var all sync.WaitGroup
	var staleN, failedN, nearN, readN atomic.Int64
	for client := range 16 {
		all.Go(func() {
			token, err := w.try("POST", "auth/userpass/login/boss", `{"password":"boss"}`, "X-Vault-Token", "")
			if err != nil {
				failedN.Add(1)
				return
			}
			mine, _ := token.auth["client_token"].(string)
			read := func(path string) reply {
				r, err := w.try("GET", path, "", "X-Vault-Token", mine)
				if err != nil || r.status != 200 && r.status != 404 {
					failedN.Add(1)
				}
				readN.Add(1)
				if r.header != nil && r.cluster() == "eu-west" {
					nearN.Add(1)
				}
				return r
			}
			for i := range n {
				path := fmt.Sprintf("secret/data/pairs/%d-%d", client, i%20)
				want := fmt.Sprint(i)
				if r, err := w.try("POST", path, `{"data":{"v":"`+want+`"}}`, "X-Vault-Token", mine); err != nil || r.status != 200 {
					failedN.Add(1)
					continue
				}
				r := read(path)
				inner, _ := r.data["data"].(map[string]any)
				if r.status == 200 && inner["v"] != want || r.status == 404 {
					staleN.Add(1)
				}
				read("secret/data/hello")
			}
		})
	}
	all.Wait()
	return staleN.Load(), failedN.Load(), nearN.Load(), readN.Load()
}

// TestNoPairIsStale: many times a write and a read of it, and the same without the
// guarantee.
func TestNoPairIsStale(t *testing.T) {
	t.Parallel()
	for name, cfg := range sets() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, cfg, patient+"log: {level: warn}")
			w.boss()
			w.settled()
			stale, failed, near, reads := w.pairs(*pairs / 16)
			t.Logf("%d of %d reads served by the nearest cluster", near, reads)
			if stale != 0 || failed != 0 || near < reads*2/5 {
				t.Errorf("%d stale, %d failed, %d of %d near", stale, failed, near, reads)
			}
		})
	}
	t.Run("without the guarantee", func(t *testing.T) {
		t.Parallel()
		w := newWorldOn(t, lab.Config{Lag: lag}, patient+"log: {level: warn}\nrouting: {consistency: none}")
		w.boss()
		stale, failed, _, _ := w.pairs(10)
		if stale == 0 || failed != 0 {
			t.Errorf("%d stale, %d failed: the test proves nothing", stale, failed)
		}
	})
}

// TestASessionDoesNotGoBackInTime: what it read at a fresher cluster it does not read older
// at another; who has not read it does.
func TestASessionDoesNotGoBackInTime(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, lab.Config{}, patient)
	w.boss()
	version := func(token string) (reply, any) {
		r := w.do("GET", "secret/data/hello", "", "X-Vault-Token", token)
		metadata, _ := r.data["metadata"].(map[string]any)
		return r, metadata["version"]
	}
	reader := w.login()
	stranger := w.login()
	for _, token := range []string{reader, stranger} { // a cut off cluster logs nobody in
		w.want(w.do("GET", "secret/data/demo", "", "X-Vault-Token", token, "X-Vrproxy-Cluster", "us-west"), 404, "us-west")
	}
	w.lab.Cluster("us-west").Partition()
	w.want(w.do("POST", "secret/data/hello", `{"data":{"v":"new"}}`, "X-Vault-Token", lab.RootToken, "X-Vrproxy-Cluster", "us-east"), 200, "")
	eventually(t, "the new version is near", func() bool { _, v := version(reader); return v == 2.0 })
	w.lab.Cluster("eu-west").Kill()
	if r, v := version(reader); r.status != 200 || v != 2.0 {
		t.Errorf("after the loss of its cluster: %d, version %v from %s", r.status, v, r.cluster())
	}
	w.lab.Cluster("us-east").Kill()
	if r, v := version(stranger); r.status != 200 || v != 1.0 || r.cluster() != "us-west" {
		t.Errorf("who never read it gets %d, version %v from %s", r.status, v, r.cluster())
	}
	if r, v := version(reader); r.status != 412 || r.code() != "stale" {
		t.Errorf("who has read the new one gets %d %s, version %v from %s", r.status, r.code(), v, r.cluster())
	}
}

// TestApplicationsBehindOneIdentity have a guarantee each, if they give their names.
func TestApplicationsBehindOneIdentity(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, lab.Config{Lag: lag, NoIndex: true}, patient+"identity: {method: userpass, options: {username: boss, password: boss}}\n")
	w.boss()
	w.settled()
	w.token = ""
	eventually(t, "the identity reads near", func() bool {
		return w.do("GET", "secret/data/hello", "", "X-Vrproxy-Session", "two").cluster() == "eu-west"
	})
	w.want(w.do("POST", "secret/data/apart", `{"data":{"v":"1"}}`, "X-Vrproxy-Session", "one"), 200, "us-east")
	w.want(w.do("GET", "secret/data/apart", "", "X-Vrproxy-Session", "one"), 200, "us-east")
	w.want(w.do("GET", "secret/data/apart", "", "X-Vrproxy-Session", "two"), 404, "eu-west")
	w.want(w.do("GET", "secret/data/apart", ""), 404, "eu-west")
}

// TestAClientThatAsksForItselfIsLeftAlone: by Vault's own headers.
func TestAClientThatAsksForItselfIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, lab.Config{Lag: lag, OwnIndex: true}, patient)
	w.boss()
	w.settled()
	round := 0
	eventually(t, "asked before it has arrived", func() bool {
		began := time.Now()
		round++
		path := fmt.Sprintf("secret/data/alone%d", round)
		written := w.do("POST", path, `{"data":{"v":"1"}}`)
		w.want(written, 200, "us-east")
		withIndex := w.do("GET", path, "", "X-Vault-Index", written.header.Get("X-Vault-Index"))
		withMode := w.do("GET", path, "", "X-Vault-Inconsistent", "fail")
		without := w.do("GET", path, "")
		if time.Since(began) >= lag {
			return false // a busy machine
		}
		w.want(withIndex, 404, "eu-west")
		w.want(withMode, 404, "eu-west")
		w.want(without, 200, "us-east")
		return true
	})
}

// TestTheMechanismInUseIsShown: it is found out by the reads of clients.
func TestTheMechanismInUseIsShown(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]lab.Config{"index": {Lag: lag}, "keys": {Lag: lag, OwnIndex: true}} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, cfg, patient)
			w.boss()
			w.settled()
			eventually(t, "it is known", func() bool {
				w.want(w.do("POST", "secret/data/which", `{"data":{"v":"1"}}`), 200, "")
				w.want(w.do("GET", "secret/data/which", ""), 200, "")
				s := w.consistency()
				return s["compares"] != "unknown" && s["mechanism"] == want
			})
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "routing: {consistency: none}")
		if s := w.consistency(); s["level"] != "none" || s["mechanism"] != "none" {
			t.Errorf("%v", s)
		}
	})
}

// consistency is what /status says of it.
func (w *world) consistency() map[string]any {
	w.tb.Helper()
	var status struct {
		Consistency map[string]any `json:"consistency"`
	}
	if err := json.Unmarshal([]byte(w.ask("/status")), &status); err != nil {
		w.tb.Fatal(err)
	}
	return status.Consistency
}

// TestTheLossOfThePrimaryAfterAPolicyWasWritten: what reads depend on then is gone, and
// they are answered all the same, by those who may lack it.
func TestTheLossOfThePrimaryAfterAPolicyWasWritten(t *testing.T) {
	t.Parallel()
	for name, cfg := range sets() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, cfg, patient)
			w.boss()
			w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west") // it has a token there
			w.want(w.do("PUT", "sys/policies/acl/some", `{"policy":"path \"x\" { capabilities = [\"read\"] }"}`), 204, "us-east")
			w.want(w.do("GET", "secret/data/hello", ""), 200, "us-east")
			w.lab.Cluster("us-east").Kill()
			w.want(w.do("GET", "secret/data/hello", ""), 200, "")
			w.want(w.do("GET", "nowhere/a", ""), 404, "")
		})
	}
}

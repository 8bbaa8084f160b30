package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	readers    = 4
	readsEach  = 150 // of which about half happen before the kill
	writers    = 2
	writesEach = 15
)

// sample is one read as a client saw it.
type sample struct {
	began, ended time.Time
	reply
}

func (s sample) failed() bool { return s.err != nil || s.status != http.StatusOK }

// TestNearestKilled kills the nearest Vault with SIGKILL while clients read and
// write, and wants nobody to notice.
func TestNearestKilled(t *testing.T) {
	w := newWorld(t, "")
	token := w.login()
	w.setUp([2]string{"secret/data/count", `{"data":{"n":"0"}}`})
	first := w.version("us-east")

	var reads readings
	stop := reads.start(w, token)
	w.eventually("clients read at the nearest cluster", func() bool { return reads.count() >= readers*readsEach/2 })
	killed := time.Now()
	w.kill(nearest)
	acknowledged := w.writeAll(token)
	w.eventually("clients read elsewhere", func() bool { return reads.count() >= readers*readsEach })
	all := stop()

	w.report(all, killed)
	if got := w.version("us-east") - first; got != acknowledged || acknowledged != writers*writesEach {
		t.Errorf("%d of %d writes were acknowledged, %d happened", acknowledged, writers*writesEach, got)
	}
	summarise(t, "writes while the nearest cluster is gone: %d sent, %d acknowledged, %d versions made at the primary", writers*writesEach, acknowledged, w.version("us-east")-first)
	w.sameToken(token)
	w.comesBack(token)
}

// readings collects what many clients read.
type readings struct {
	mu  sync.Mutex
	all []sample
}

func (r *readings) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// start lets clients read until the function it returns is called, which returns
// all that was read.
func (r *readings) start(w *world, token string) (stop func() []sample) {
	var work sync.WaitGroup
	var over atomic.Bool
	for range readers {
		work.Go(func() {
			for !over.Load() {
				s := sample{began: time.Now()}
				s.reply = w.do(w.proxy, token, http.MethodGet, "secret/data/hello", "")
				s.ended = time.Now()
				r.mu.Lock()
				r.all = append(r.all, s)
				r.mu.Unlock()
			}
		})
	}
	end := func() []sample {
		over.Store(true)
		work.Wait()
		return r.all
	}
	w.t.Cleanup(func() { end() }) // also when the test gives up
	return end
}

// writeAll sends writes from several clients and counts those that succeeded.
func (w *world) writeAll(token string) int {
	var work sync.WaitGroup
	var acknowledged atomic.Int64
	for k := range writers {
		work.Go(func() {
			for i := range writesEach {
				r := w.do(w.proxy, token, http.MethodPost, "secret/data/count", fmt.Sprintf(`{"data":{"n":"%d-%d"}}`, k, i))
				if r.err != nil || r.status != http.StatusOK {
					w.t.Errorf("write %d-%d: %+v", k, i, r)
					continue
				}
				acknowledged.Add(1)
			}
		})
	}
	work.Wait()
	return int(acknowledged.Load())
}

// version is the number of writes to secret/count that a cluster has seen.
func (w *world) version(cluster string) int {
	w.t.Helper()
	n, _ := w.parse(w.root(cluster, http.MethodGet, "secret/metadata/count", "").body).at("data", "current_version").(float64)
	return int(n)
}

// report wants no failed read and tells how long the change took.
func (w *world) report(all []sample, killed time.Time) {
	w.t.Helper()
	failed, after := 0, 0
	var slowest, elsewhere time.Duration
	for _, s := range all {
		if s.failed() {
			failed++
			w.t.Errorf("a read failed %s after the kill: %+v", s.ended.Sub(killed), s.reply)
		}
		slowest = max(slowest, s.ended.Sub(s.began))
		if since := s.ended.Sub(killed); since > 0 && s.cluster != nearest {
			after++
			if elsewhere == 0 || since < elsewhere {
				elsewhere = since
			}
		}
	}
	if after == 0 {
		w.t.Error("no read was answered by another cluster")
	}
	summarise(w.t, "nearest cluster killed (SIGKILL): %d reads by %d clients, %d failed, slowest %s, first answer elsewhere after %s (round trip there %s)",
		len(all), readers, failed, slowest.Round(time.Millisecond), elsewhere.Round(time.Millisecond), w.lab.Cluster("us-east").RTT())
}

// sameToken uses the CLI with the token it has had all along.
func (w *world) sameToken(token string) {
	w.t.Helper()
	if got := w.vault("kv", "get", "-mount=secret", "-field=greeting", "hello"); !strings.Contains(got, "hello") {
		w.t.Errorf("read %q", got)
	}
	w.vault("kv", "put", "-mount=secret", "after", "a=1")
	if got := w.vaultJSON(2, "token", "lookup"); got.text("data", "id") != token {
		w.t.Error("lookup shows another token than the client's")
	}
}

// comesBack restarts the cluster: it takes reads again, with all that was
// written meanwhile.
func (w *world) comesBack(token string) {
	w.t.Helper()
	began := time.Now()
	if err := w.lab.Cluster(nearest).Restart(); err != nil {
		w.t.Fatal(err)
	}
	up := time.Now()
	w.eventually("the nearest cluster takes reads again", func() bool {
		r := w.do(w.proxy, token, http.MethodGet, "secret/data/hello", "")
		if r.status != http.StatusOK {
			w.t.Fatalf("a read failed while the cluster came back: %+v", r)
		}
		return r.cluster == nearest
	})
	summarise(w.t, "nearest cluster back: up %s after its start, reads there %s later", up.Sub(began).Round(10*time.Millisecond), time.Since(up).Round(10*time.Millisecond))
	w.caughtUp()
	if here, there := w.version(nearest), w.version("us-east"); here != there {
		w.t.Errorf("%d versions here, %d at the primary", here, there)
	}
}

// TestNearestStalled stops the nearest Vault without closing anything: the
// connections stand and no answer comes.
func TestNearestStalled(t *testing.T) {
	w := newWorld(t, "")
	token := w.login()
	w.read(token, nearest)
	w.lab.Cluster(nearest).Stall()
	began := time.Now()
	w.read(token, "us-east")
	summarise(t, "nearest cluster stalled (SIGSTOP): the read on the way took %s", time.Since(began).Round(time.Millisecond))
	w.lab.Cluster(nearest).Resume()
	w.eventually("the nearest cluster takes reads again", func() bool {
		return w.do(w.proxy, token, http.MethodGet, "secret/data/hello", "").cluster == nearest
	})
}

// read wants an answer of one cluster.
func (w *world) read(token, cluster string) {
	w.t.Helper()
	if r := w.do(w.proxy, token, http.MethodGet, "secret/data/hello", ""); r.status != http.StatusOK || r.cluster != cluster {
		w.t.Errorf("read: %+v", r)
	}
}

// TestPrimaryKilled wants reads and logins to go on, and a write to be refused
// honestly within the configured time.
func TestPrimaryKilled(t *testing.T) {
	const wait = 2 * time.Second
	w := newWorld(t, "routing: {primary_wait: 2s}")
	token := w.login()
	w.setUp([2]string{"secret/data/count", `{"data":{"n":"0"}}`})
	before := w.version("us-east")
	w.lab.Cluster("us-east").Kill()

	w.read(token, nearest)
	other := w.parse(w.do(w.proxy, "", http.MethodPost, "auth/userpass/login/demo", `{"password":"demo"}`).body).text("auth", "client_token")
	w.read(other, nearest)

	began := time.Now()
	r := w.do(w.proxy, token, http.MethodPost, "secret/data/count", `{"data":{"n":"1"}}`)
	took := time.Since(began)
	if r.status != http.StatusServiceUnavailable || r.code != "no-primary" || !strings.Contains(r.body, `{"errors":["vrproxy: `) {
		t.Errorf("a write without a primary: %+v", r)
	}
	if took < wait/2 || took > wait+3*time.Second {
		t.Errorf("it took %s, configured are %s", took, wait)
	}
	w.read(token, nearest)
	summarise(t, "primary killed: reads go on, a write got %d %s after %s (primary_wait %s)", r.status, r.code, took.Round(10*time.Millisecond), wait)

	if err := w.lab.Cluster("us-east").Restart(); err != nil {
		t.Fatal(err)
	}
	w.eventually("writes work again", func() bool {
		return w.do(w.proxy, token, http.MethodPost, "secret/data/count", `{"data":{"n":"2"}}`).status == http.StatusOK
	})
	if got := w.version("us-east") - before; got != 1 {
		t.Errorf("%d writes happened, 1 was acknowledged", got)
	}
}

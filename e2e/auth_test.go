package e2e

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestLoginMethods logs in by each method at the nearest cluster and kills it: the
// tokens serve on, whether the proxy had logged in elsewhere before or not.
func TestLoginMethods(t *testing.T) {
	for _, c := range []struct {
		name, extra string
		ahead       int // logins by the proxy before the kill, per client: the next-nearest cluster is the primary
	}{
		{"ahead of need", "sessions: {prewarm: true}", 1},
		{"when needed", "sessions: {prewarm: false}", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, reviewer := newWorld(t, c.extra), newTokenReview(t)
			clients := w.logInByAll(w.methods(reviewer))
			w.eventually("the proxy has logged in ahead of need", func() bool {
				return w.logins("us-east", "us-west") == c.ahead*len(clients)
			})
			w.kill(nearest)
			reads := w.readOn(clients)
			for _, m := range clients {
				w.stillItself(m)
				w.loggedInOnce(m)
			}
			if n := reviewer.reviews.Load(); n > 3 {
				t.Errorf("kubernetes was asked for %d reviews by 3 clusters", n)
			}
			summarise(t, "%d methods, logged in %s, nearest cluster killed: %d reads went on with the clients' tokens; logins by the proxy: us-east %d, us-west %d",
				len(clients), c.name, reads, w.logins("us-east"), w.logins("us-west"))
		})
	}
}

// client is someone who has logged in.
type client struct {
	method
	token, accessor string
}

// logInByAll logs in through the proxy and reads, all at the nearest cluster.
func (w *world) logInByAll(methods []method) []client {
	w.t.Helper()
	var out []client
	for _, m := range methods {
		w.setUp(m.setUp...)
		r := w.do(w.proxy, "", http.MethodPost, m.path, m.body)
		if r.status != http.StatusOK || r.cluster != nearest {
			w.t.Fatalf("logging in by %s: %+v", m.name, r)
		}
		auth := w.parse(r.body)
		c := client{m, auth.text("auth", "client_token"), auth.text("auth", "accessor")}
		w.read(c.token, nearest)
		out = append(out, c)
	}
	return out
}

// kill ends a cluster's process with SIGKILL.
func (w *world) kill(cluster string) {
	w.t.Helper()
	if err := syscall.Kill(w.lab.Cluster(cluster).PID(), syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
}

// readOn lets all clients read at once, several times each, and returns how many
// reads that were.
func (w *world) readOn(clients []client) int {
	w.t.Helper()
	const each = 8
	var work sync.WaitGroup
	for _, c := range clients {
		for range each {
			work.Go(func() {
				r := w.do(w.proxy, c.token, http.MethodGet, "secret/data/hello", "")
				if r.status != http.StatusOK || r.cluster == nearest || !strings.Contains(r.body, "hello") {
					w.t.Errorf("reading with a token of %s: %+v", c.name, r)
				}
			})
		}
	}
	work.Wait()
	return each * len(clients)
}

// stillItself wants the client's own token and accessor in what is now another
// cluster's answer, and a write to work.
func (w *world) stillItself(c client) {
	w.t.Helper()
	r := w.do(w.proxy, c.token, http.MethodGet, "auth/token/lookup-self", "")
	self := w.parse(r.body)
	if r.status != http.StatusOK || r.cluster == nearest {
		w.t.Errorf("%s: lookup-self: %+v", c.name, r)
	}
	if self.text("data", "id") != c.token || self.text("data", "accessor") != c.accessor {
		w.t.Errorf("%s: lookup-self shows another token or accessor than the client's", c.name)
	}
	if got := self.text("data", "display_name"); got != c.shows {
		w.t.Errorf("%s: the display name is %q", c.name, got)
	}
	if r := w.do(w.proxy, c.token, http.MethodPost, "secret/data/by-"+c.name, `{"data":{}}`); r.status != http.StatusOK || r.cluster != "us-east" {
		w.t.Errorf("%s: writing: %+v", c.name, r)
	}
}

// loggedInOnce counts what the clusters have seen of a client.
func (w *world) loggedInOnce(c client) {
	w.t.Helper()
	for _, cluster := range w.lab.Clusters() {
		n := 0
		for _, s := range cluster.Served() {
			if s.Path == c.path {
				n++
			}
		}
		if n > 1 || n == 0 && cluster.Name() != "us-west" { // us-west need not be asked
			w.t.Errorf("%s: %d logins at %s", c.name, n, cluster.Name())
		}
	}
}

// logins is how often the proxy has logged in on clusters. One that did not succeed
// is an error.
func (w *world) logins(clusters ...string) int {
	w.t.Helper()
	sum := 0
	for _, found := range regexp.MustCompile(`(?m)^vrproxy_logins_total\{cluster="(.*)",outcome="(.*)"\} (.*)$`).FindAllStringSubmatch(w.metrics(), -1) {
		n, err := strconv.Atoi(found[3])
		if err != nil || found[2] != "ok" && n > 0 {
			w.t.Errorf("%s, %v", found[0], err)
		}
		if slices.Contains(clusters, found[1]) {
			sum += n
		}
	}
	return sum
}

// metrics are those of the admin listener.
func (w *world) metrics() string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.said.Admin+"/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("metrics: %d, %v", resp.StatusCode, err)
	}
	return string(raw)
}

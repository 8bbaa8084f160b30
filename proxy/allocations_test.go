package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/consistency"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// warm is a proxy that has everything it needs to know of a read, and its clients.
type warm struct {
	noMounts
	table  *routing.Table
	proxy  *Proxy
	tokens *tokencache.Cache
}

func (w warm) Table() *routing.Table { return w.table }

// The kinds of tokens that requests come with.
const (
	ownLogin  = "hvs.own-login" + tail  // its login passed through the proxy
	issuedBy  = "hvs.issued-by" + tail  // known to be that of the nearest cluster, and good there only
	noSession = "hvs.no-session" + tail // not seen before

	tail = "-CAESIBh2bsGyOCviG90dzc8JNEG6q81Mtgw90K1oq3-dWc77Gh4KHGh2cy56M2wxUlpBMzBrOTdhY1hUM" // which makes it as long as Vault's
)

func newWarm(tb testing.TB, sessions, mounts int) *warm {
	tb.Helper()
	topology := &health.Topology{Generation: 7, Region: "here", Primary: "one"}
	for _, name := range []string{"one", "two", "three"} {
		c := health.Cluster{Name: name, Region: "there", Role: health.RoleSecondary, State: health.StateHealthy, Linked: true, Lag: -1}
		for _, node := range []string{"a", "b", "c"} {
			c.Nodes = append(c.Nodes, health.Node{Address: "https://" + name + "-" + node + ":8200", State: health.StateHealthy, Serves: true, Active: node == "a"})
		}
		switch name {
		case "one":
			c.Role = health.RolePrimary
		case "two":
			c.Region = "here"
		}
		topology.Clusters = append(topology.Clusters, c)
	}
	w := &warm{table: (&routing.Table{}).With("", crowd(mounts))}
	var err error
	if w.tokens, err = tokencache.New(tokencache.Config{Vault: unreachable{}, Replay: true, Max: sessions + 10}); err != nil {
		tb.Fatal(err)
	}
	login := func(token string) {
		w.tokens.Adopt(tokencache.Login{Home: "two", Method: "PUT", Path: "/v1/auth/userpass/login/x", Body: []byte(`{}`), Auth: &api.SecretAuth{ClientToken: token, LeaseDuration: 3600}})
	}
	for i := range sessions {
		login(another(i))
	}
	login(ownLogin)
	w.tokens.Settle("two", issuedBy)
	memories, err := consistency.New(consistency.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	w.proxy = New(Config{Health: fixed{topology}, Mounts: w, Router: routing.New(nil), Planner: routing.NewPlanner(routing.Preferences{}), Tokens: w.tokens, Memories: memories})
	return w
}

// another is the token of one of the other sessions.
func another(session int) string { return fmt.Sprintf("hvs.another-%06d%s", session, tail) }

func crowd(n int) []routing.Mount {
	out := []routing.Mount{{Path: "secret/", Type: "kv-v2"}}
	for i := range n {
		out = append(out, routing.Mount{Path: fmt.Sprintf("mount-%05d/", i), Type: "kv-v2"})
	}
	return out
}

// read is a request that went through the guard.
func (w *warm) read(tb testing.TB, token string) *exchange {
	tb.Helper()
	r := httptest.NewRequest(http.MethodGet, "/v1/secret/data/app/database", nil)
	r.Header.Set("X-Vault-Token", token)
	r.Header.Set("X-Vault-Request", "true")
	r.Header.Set("X-Request-Id", "b7ad6b71-69203331")
	x := &exchange{p: w.proxy, policy: Policy{Lend: LendNever}, w: httptest.NewRecorder(), r: r, began: time.Now()}
	if f := x.guard(); f != nil {
		tb.Fatal(f.text)
	}
	return x
}

// decided is read, up to and with authorise.
func (w *warm) decided(tb testing.TB, token string) *exchange {
	tb.Helper()
	x := w.read(tb, token)
	for _, step := range []func() *failure{x.classify, x.authorise} {
		if f := step(); f != nil {
			tb.Fatal(f.text)
		}
	}
	x.recall()
	return x
}

type step struct {
	name string
	take func(*exchange) error
}

// steps are those that a warm read takes between its bytes and those of Vault.
func steps() []step {
	failed := func(f *failure) error {
		if f != nil {
			return fmt.Errorf("%s: %s", f.code, f.text)
		}
		return nil
	}
	return []step{
		{"watch", func(x *exchange) error { x.watch(); return nil }},
		{"classify", func(x *exchange) error { return failed(x.classify()) }},
		{"authorise", func(x *exchange) error {
			x.session, x.wanders, x.limits = nil, false, routing.Constraint{} // as if for the first time
			return failed(x.authorise())
		}},
		{"recall", func(x *exchange) error { x.recall(); return nil }},
		{"plan", func(x *exchange) error {
			plan, err := x.p.cfg.Planner.Plan(x.plans(x.p.cfg.Health.Topology()), x.decision, x.limits)
			if err != nil {
				return err
			}
			if plan.Candidates[0].Name != "two" {
				return fmt.Errorf("the first candidate is %s", plan.Candidates[0].Name)
			}
			_, f := x.freshest(plan)
			return failed(f)
		}},
		{"token", func(x *exchange) error {
			c, _ := x.p.cfg.Health.Topology().Cluster("two")
			_, giveBack, f := x.admit(c, false)
			if giveBack != nil {
				giveBack()
			}
			return failed(f)
		}},
		{"observe", func(x *exchange) error {
			x.p.budget.Earn(extraShare)
			x.p.cfg.Metrics.attempt("two", done)
			x.observe("two", http.StatusOK)
			return nil
		}},
	}
}

// A warm read costs what its bytes cost: what is decided about it allocates nothing.
func TestAWarmReadHasNoAllocationsButForItsBytes(t *testing.T) {
	if raced {
		t.Log("not counted: under the race detector, pools forget at random; make test counts without it, too")
	}
	w := newWarm(t, 100, 100)
	for _, token := range []string{ownLogin, issuedBy, noSession} {
		for _, s := range steps() {
			x := w.decided(t, token)
			n := testing.AllocsPerRun(500, func() {
				if err := s.take(x); err != nil {
					t.Fatalf("%s with %s: %v", s.name, token[:14], err)
				}
			})
			if n != 0 && !raced {
				t.Errorf("%s with %s: %v allocations, want none", s.name, token[:14], n)
			}
		}
	}
}

// BenchmarkStep is what each step costs a warm read.
func BenchmarkStep(b *testing.B) {
	for _, s := range steps() {
		b.Run(s.name, func(b *testing.B) {
			x := newWarm(b, 1000, 100).decided(b, ownLogin)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.take(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCrowd is how much slower all decisions about a read are with 10,000 sessions and
// mounts than with 10: for one client, and for all of them in turn, which finds little in
// the processor's caches.
func BenchmarkCrowd(b *testing.B) {
	const few, many, clients = 10, 10_000, 1000
	for name, step := range map[string]int{"one": 0, "all": 7} { // 7: not the next in memory
		b.Run(name, func(b *testing.B) {
			ofFew, ofMany := newCrowd(b, few), newCrowd(b, many)
			var times [2]time.Duration
			for b.Loop() { // in turn, so that what else the machine does hits both
				for i, c := range []*clientele{ofFew, ofMany} {
					began := time.Now()
					for range clients {
						c.serve(b)
						c.next = (c.next + step) % len(c.tokens)
					}
					times[i] += time.Since(began)
				}
			}
			b.ReportMetric(float64(times[0].Nanoseconds())/float64(b.N*clients), "ns/few")
			b.ReportMetric(float64(times[1].Nanoseconds())/float64(b.N*clients), "ns/many")
			b.ReportMetric(times[1].Seconds()/times[0].Seconds(), "ratio")
		})
	}
}

// clientele are clients of one proxy, each with a session and a mount of its own.
type clientele struct {
	x             *exchange
	steps         []step
	tokens, paths []string
	next          int
}

func newCrowd(b *testing.B, n int) *clientele {
	b.Helper()
	c := &clientele{x: newWarm(b, n, n).read(b, another(0)), steps: steps()}
	for i := range n {
		c.tokens, c.paths = append(c.tokens, another(i)), append(c.paths, fmt.Sprintf("/v1/mount-%05d/data/app/database", i))
	}
	return c
}

func (c *clientele) serve(b *testing.B) {
	x := c.x
	x.r.Header["X-Vault-Token"][0], x.target.path = c.tokens[c.next], c.paths[c.next]
	for _, s := range c.steps {
		if err := s.take(x); err != nil {
			b.Fatal(err)
		}
	}
}

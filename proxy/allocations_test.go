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
	ownLogin  = "hvs.own-login"  // its login passed through the proxy
	issuedBy  = "hvs.issued-by"  // known to be that of the nearest cluster, and good there only
	noSession = "hvs.no-session" // not seen before
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
		login(fmt.Sprintf("hvs.another-%06d", i))
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

// afresh undoes what authorise did.
func (x *exchange) afresh() { x.session, x.wanders, x.limits = nil, false, routing.Constraint{} }

// The steps that a warm read takes between its bytes and those of Vault, but for sending
// it.
func steps() map[string]func(*exchange) error {
	failed := func(f *failure) error {
		if f != nil {
			return fmt.Errorf("%s: %s", f.code, f.text)
		}
		return nil
	}
	return map[string]func(*exchange) error{
		"watch":    func(x *exchange) error { x.watch(); return nil },
		"classify": func(x *exchange) error { return failed(x.classify()) },
		"authorise": func(x *exchange) error {
			x.afresh()
			return failed(x.authorise())
		},
		"recall": func(x *exchange) error { x.recall(); return nil },
		"plan": func(x *exchange) error {
			plan, err := x.p.cfg.Planner.Plan(x.plans(x.p.cfg.Health.Topology()), x.decision, x.limits)
			if err != nil {
				return err
			}
			if plan.Candidates[0].Name != "two" {
				return fmt.Errorf("the first candidate is %s", plan.Candidates[0].Name)
			}
			_, f := x.freshest(plan)
			return failed(f)
		},
		"token": func(x *exchange) error {
			c, _ := x.p.cfg.Health.Topology().Cluster("two")
			_, giveBack, f := x.admit(c, false)
			if giveBack != nil {
				giveBack()
			}
			return failed(f)
		},
		"observe": func(x *exchange) error {
			x.p.budget.Earn(extraShare)
			x.p.cfg.Metrics.attempt("two", done)
			x.observe("two", http.StatusOK)
			return nil
		},
	}
}

// A warm read costs what its bytes cost: what is decided about it allocates nothing.
func TestAWarmReadHasNoAllocationsButForItsBytes(t *testing.T) {
	if raced {
		t.Log("not counted: under the race detector, pools forget at random; make test counts without it, too")
	}
	w := newWarm(t, 100, 100)
	for _, token := range []string{ownLogin, issuedBy, noSession} {
		for name, step := range steps() {
			x := w.decided(t, token)
			n := testing.AllocsPerRun(500, func() {
				if err := step(x); err != nil {
					t.Fatalf("%s with %s: %v", name, token, err)
				}
			})
			if n != 0 && !raced {
				t.Errorf("%s with %s: %v allocations, want none", name, token, n)
			}
		}
	}
}

// BenchmarkStep is what each step costs a warm read.
func BenchmarkStep(b *testing.B) {
	for name, step := range steps() {
		b.Run(name, func(b *testing.B) {
			x := newWarm(b, 1000, 100).decided(b, ownLogin)
			b.ReportAllocs()
			for b.Loop() {
				if err := step(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

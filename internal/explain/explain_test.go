package explain

import (
	"errors"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/routing"
)

func TestMounts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ raw, engine, problem string }{
		"the data":            {`{"secret":{"s/":{"type":"kv","options":{"version":"2"}}}}`, "kv-v2", ""},
		"the whole answer":    {`{"data":{"secret":{"s/":{"type":"transit"}},"auth":{}}}`, "transit", ""},
		"a namespace":         {`{"namespaces":{"team":{"secret":{"s/":{"type":"pki"}}}}}`, "", ""},
		"neither":             {`{"mounts":{}}`, "", "neither"},
		"no JSON":             {`secret/`, "", "not the JSON"},
		"a list in its place": {`{"secret":["s/"]}`, "", "not the JSON"},
	} {
		table, err := Mounts([]byte(c.raw))
		if c.problem != "" {
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%s: %v, want %q", name, err, c.problem)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d, err := routing.New(nil).Classify(table, routing.Request{Method: "GET", Path: "/v1/s/x"})
		if err != nil || d.Engine != c.engine {
			t.Errorf("%s: %q, %v; want %q", name, d.Engine, err, c.engine)
		}
		if name == "a namespace" && !table.Knows("team/") {
			t.Error("the namespace is not known")
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	topology := &health.Topology{Region: "eu", Primary: "us", Clusters: []health.Cluster{
		{Name: "us", Region: "us", Role: health.RolePrimary, State: health.StateHealthy, RTT: 80e6},
		{Name: "eu", Region: "eu", Role: health.RoleSecondary, State: health.StateHealthy, Linked: true},
	}}
	e := Explainer{
		Router: routing.New([]routing.Rule{{Path: "secret/never/*", To: "refuse"}}), Table: &routing.Table{}, Planner: routing.NewPlanner(routing.Preferences{}), Topology: topology,
		Token: func(home string, _ routing.Decision) string { return "the token of " + home },
	}
	for _, c := range []struct {
		req  routing.Request
		pin  string
		want string // class, candidates, refusal
	}{
		{routing.Request{Method: "GET", Path: "/v1/secret/data/x"}, "", "nearest eu us"},
		{routing.Request{Method: "PUT", Path: "/v1/sys/policies/acl/x"}, "", "primary us eu*"},
		{routing.Request{Method: "PUT", Path: "/v1/sys/seal"}, "", "operator refused"},
		{routing.Request{Method: "PUT", Path: "/v1/sys/seal"}, "eu", "operator eu"},
		{routing.Request{Method: "GET", Path: "/v1/secret/never/x"}, "", "nearest refused"},
	} {
		a, err := e.Explain(c.req, c.pin)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{a.Class}
		for _, cand := range a.Candidates {
			name := cand.Cluster
			if cand.WayRound {
				name += "*"
			}
			if cand.Token != "the token of "+cand.Cluster {
				t.Errorf("token %q", cand.Token)
			}
			got = append(got, name)
		}
		if a.Refusal != "" {
			got = append(got, "refused")
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s %s: %s, want %s", c.req.Method, c.req.Path, text, c.want)
		}
	}
	if _, err := e.Explain(routing.Request{Method: "GET", Path: "/ui/"}, ""); !errors.Is(err, routing.ErrNotAPI) {
		t.Errorf("%v", err)
	}
	if a, _ := e.Explain(routing.Request{Method: "POST", Path: "/v1/auth/people/login/ann"}, ""); a.Candidates[0].Token != "none: a login" || a.Candidates[1].RTT == nil || a.Candidates[0].RTT != nil {
		t.Errorf("%+v", a)
	}
}

// What Vault decoded before it wrote its log means the same path again.
func TestAuditPathsMeanThemselves(t *testing.T) {
	t.Parallel()
	table := (&routing.Table{}).With("", []routing.Mount{{Path: "secret/", Type: "kv-v1"}})
	for _, path := range []string{"secret/a b", "secret/100%", "secret/a%2Fb", "secret/a?b", "secret/..", "secret/../x", "secret//x", "secret/.hidden", "secret/ü"} {
		d, err := routing.New(nil).Classify(table, routing.Request{Method: "GET", Path: "/v1/" + escape(path)})
		if err != nil || d.Mount+d.Path != path {
			t.Errorf("%q became %q, %v", path, d.Mount+d.Path, err)
		}
	}
}

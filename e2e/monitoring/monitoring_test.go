package monitoring

import (
	"encoding/json"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/vrproxy/vrproxy/health"
)

const (
	rulesFile     = "deploy/prometheus/vrproxy.rules.yaml"
	dashboardFile = "deploy/grafana/vrproxy.json"
)

// rules are the alerts, as Prometheus itself reads them.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse(file(t, rulesFile), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.Default())
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil || len(groups.Groups) != 1 {
		t.Fatal("no rules")
	}
	return groups.Groups[0].Rules
}

// expressions are those of a dashboard: everything called expr, with the variables of
// Grafana filled in.
func expressions(t *testing.T) []string {
	t.Helper()
	var whole any
	if err := json.Unmarshal(file(t, dashboardFile), &whole); err != nil {
		t.Fatal(err)
	}
	var out []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if expr, ok := v["expr"].(string); ok {
				out = append(out, strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(expr))
			}
			for _, member := range v {
				walk(member)
			}
		case []any:
			for _, member := range v {
				walk(member)
			}
		}
	}
	walk(whole)
	return out
}

// metrics are the names in an expression.
func metrics(t *testing.T, expr string) []string {
	t.Helper()
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	var out []string
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			out = append(out, s.Name)
		}
		return nil
	})
	return out
}

// busy lets everything happen once that is counted.
func (w *world) busy() {
	w.t.Helper()
	w.send("GET", "secret/data/hello", "")
	w.send("POST", "secret/data/mine", `{"data":{"a":"b"}}`)
	w.send("POST", "sys/seal", "") // refused
}

func TestEveryMetricThatIsUsedExists(t *testing.T) {
	w := newWorld(t, "dns: {address: \"127.0.0.1:0\", forward: [\"127.0.0.1:1\"]}")
	for range 2 {
		w.busy()
		w.lookUp()
		w.scrape()
	}
	used := map[string]string{}
	for _, r := range rules(t) {
		for _, name := range metrics(t, r.Expr) {
			used[name] = "alert " + r.Alert
		}
	}
	panels := expressions(t)
	if len(panels) < 15 {
		t.Errorf("%d expressions in the dashboard", len(panels))
	}
	for _, expr := range panels {
		for _, name := range metrics(t, expr) {
			used[name] = expr
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !w.names[name] {
			t.Errorf("%s does not exist, but is used by %s", name, used[name])
		}
	}
	for _, expr := range panels {
		if !strings.HasSuffix(expr, "> 0") && len(w.ask(expr)) == 0 {
			t.Errorf("the dashboard shows nothing for %s", expr)
		}
	}
	t.Logf("%d metrics are used by %d alerts and %d expressions of the dashboard", len(used), len(rules(t)), len(panels))
}

// TestEachAlertHasItsRunbook: the link of an alert leads to a section of its own.
func TestEachAlertHasItsRunbook(t *testing.T) {
	page := string(file(t, "docs/operations.md"))
	for _, r := range rules(t) {
		anchor := strings.ToLower(r.Alert)
		if want := "https://github.com/vrproxy/vrproxy/blob/main/docs/operations.md#" + anchor; r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %s, want %s", r.Alert, r.Annotations["runbook_url"], want)
		}
		section := regexp.MustCompile(`(?s)\n#### ` + r.Alert + `\n(.*?)\n#`).FindStringSubmatch(page + "\n#")
		if section == nil || len(section[1]) < 100 {
			t.Errorf("docs/operations.md has no section %s, or nothing in it", r.Alert)
		}
		if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s has no severity, summary or description", r.Alert)
		}
	}
}

// firing are the alerts whose expression is true now, however long they are to be.
func (w *world) firing(all []rulefmt.Rule) []string {
	w.t.Helper()
	var out []string
	for _, r := range all {
		if len(w.ask(r.Expr)) > 0 {
			out = append(out, r.Alert)
		}
	}
	return out
}

func (w *world) state(cluster string, s health.State) {
	w.t.Helper()
	w.eventually(cluster+" "+string(s), func() bool {
		c, ok := w.app.Topology().Cluster(cluster)
		return ok && c.State == s
	})
}

// TestAlertsFire breaks the laboratory and looks which alerts come, and that none does
// while all is well.
func TestAlertsFire(t *testing.T) {
	all := rules(t)
	for _, c := range []struct {
		name, extra string
		fault       func(w *world)
		want        []string
	}{
		{"all is well", "", func(w *world) { w.busy() }, nil},
		{"a secondary is lost under load", "", func(w *world) {
			w.do("eu-west", "kill")
			w.send("GET", "secret/data/hello", "")
			w.state("eu-west", health.StateDown)
		}, []string{"VrproxyClusterDown", "VrproxyFailover"}},
		{"the primary is lost", "", func(w *world) {
			w.do("us-east", "kill")
			w.state("us-east", health.StateDown)
		}, []string{"VrproxyNoPrimary", "VrproxyClusterDown"}},
		{"everything is lost", "routing: {primary_down: fail}", func(w *world) {
			for _, cluster := range []string{"us-east", "us-west", "eu-west"} {
				w.do(cluster, "kill")
				w.state(cluster, health.StateDown)
			}
			for range 2 { // the first value of a counter counts for nothing
				for range 20 {
					w.send("GET", "secret/data/hello", "")
				}
				w.scrape()
			}
		}, []string{"VrproxyNoHealthyCluster", "VrproxyNoPrimary", "VrproxyClusterDown", "VrproxyErrors"}},
		{"two primaries", "", func(w *world) {
			w.do("eu-west", "partition")
			w.do("eu-west", "promote")
			w.eventually("split brain", func() bool { return w.app.Topology().SplitBrain })
		}, []string{"VrproxySplitBrain"}},
		{"a secondary that lags", "routing: {max_staleness: 500ms}", func(w *world) {
			w.do("eu-west", "deafen")
			w.eventually("it is stale", func() bool {
				c, _ := w.app.Topology().Cluster("eu-west")
				return c.Lag.Milliseconds() > 600
			})
		}, []string{"VrproxyStaleCluster"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.extra)
			w.busy()
			w.scrape()
			w.scrape()
			c.fault(w)
			w.scrape()
			got := w.firing(all)
			for _, want := range c.want {
				if !slices.Contains(got, want) {
					t.Errorf("%s does not fire; firing: %v", want, got)
				}
			}
			if len(c.want) == 0 && len(got) > 0 {
				t.Errorf("firing: %v", got)
			}
			t.Logf("firing: %v", got)
		})
	}
}

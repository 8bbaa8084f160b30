package manifests

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const chartDir = "../helm/vrproxy"

// rendered renders the chart as helm install does, and gives its notes as well.
func rendered(c *chart.Chart, values map[string]any) (manifests, notes string, err error) {
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return "", "", err
	}
	release := chartutil.ReleaseOptions{Name: "vrproxy", Namespace: "vault", IsInstall: true}
	capabilities := *chartutil.DefaultCapabilities
	capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), "monitoring.coreos.com/v1")
	all, err := chartutil.ToRenderValues(c, values, release, &capabilities)
	if err != nil {
		return "", "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return "", "", err
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			notes += files[name]
			continue
		}
		b.WriteString("\n---\n" + files[name])
	}
	return b.String(), notes, nil
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// values reads the ones of ci/, with changes in YAML on top.
func values(t *testing.T, mode, changes string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "ci", mode+"-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var v, top map[string]any
	if err := yaml.UnmarshalStrict(text, &v); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(changes), &top); err != nil {
		t.Fatal(err)
	}
	return chartutil.CoalesceTables(top, v)
}

func charted(t *testing.T, mode, changes string) ([]runtime.Object, string) {
	t.Helper()
	manifests, notes, err := rendered(load(t), values(t, mode, changes))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, []byte(manifests)), notes
}

func TestChart(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"sidecar", "daemonset", "resolver"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			for _, m := range lint.All(chartDir, values(t, mode, ""), "vault", true).Messages {
				if m.Severity >= support.WarningSev {
					t.Errorf("lint: %s", m)
				}
			}
			all, notes := charted(t, mode, "")
			holds(t, all)
			if len(workloads(all)) != 1 || len(of[*networking.NetworkPolicy](all)) != 1 {
				t.Errorf("%d workloads, %d policies", len(workloads(all)), len(of[*networking.NetworkPolicy](all)))
			}
			if len(of[*monitoring.ServiceMonitor](all))+len(of[*monitoring.PodMonitor](all)) != 1 {
				t.Error("it is not monitored")
			}
			if !strings.Contains(notes, mode) || !strings.Contains(notes, "VAULT_ADDR") && mode != "resolver" {
				t.Errorf("notes: %s", notes)
			}
		})
	}
}

// The two ways to deploy must not drift apart.
func TestTheChartGivesWhatTheOverlaysGive(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"daemonset", "resolver"} {
		plain, _ := proxyOf(t, workloads(kustomized(t, "../kubernetes/overlays/"+mode))[0])
		all, _ := charted(t, mode, "")
		charted, _ := proxyOf(t, workloads(all)[0])
		for what, pair := range map[string][2]any{
			"resources": {plain.Resources, charted.Resources}, "ports": {plain.Ports, charted.Ports}, "env": {plain.Env, charted.Env}, "args": {plain.Args, charted.Args},
			"startup": {plain.StartupProbe, charted.StartupProbe}, "readiness": {plain.ReadinessProbe, charted.ReadinessProbe}, "liveness": {plain.LivenessProbe, charted.LivenessProbe},
			"security": {plain.SecurityContext, charted.SecurityContext},
		} {
			a, errA := yaml.Marshal(pair[0])
			b, errB := yaml.Marshal(pair[1])
			if errA != nil || errB != nil || string(a) != string(b) {
				t.Errorf("%s: %s differ:\n%s\n%s", mode, what, a, b)
			}
		}
	}
}

// What a user changes is in the configuration; what must not be changed is refused.
func TestChartValues(t *testing.T) {
	t.Parallel()
	all, _ := charted(t, "daemonset", "{config: {sessions: {max: 7}, routing: {writes: nearest}}, podLabels: {team: a}}")
	w := workloads(all)[0]
	if text := configMap(all, w.pod.Spec.Volumes[0].ConfigMap.Name).Data["vrproxy.yaml"]; !strings.Contains(text, "max: 7") || !strings.Contains(text, "writes: nearest") || w.pod.Labels["team"] != "a" {
		t.Errorf("%v:\n%s", w.pod.Labels, text)
	}
	holds(t, all)
	for changes, want := range map[string]string{
		"mode: cluster":             "mode",
		"replicas: 3":               "replicas",
		"config: {clusters: []}":    "clusters",
		"config: {region: ''}":      "region",
		"image: {tag: ''}":          "tag",
		"metrics: {enabled: maybe}": "metrics",
		"config: {identity: {method: kubernetes, options: {role: x}}}":              "an identity would be everybody's",
		"config: {listeners: [{address: \"0.0.0.0:8200\", allow_plaintext: true}]}": "identity: never",
	} {
		if _, _, err := rendered(load(t), values(t, "daemonset", changes)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", changes, err, want)
		}
	}
}

// A chart of an application takes the sidecar from this one.
func TestTheSidecarOfAnotherChart(t *testing.T) {
	t.Parallel()
	c, err := loader.LoadDir("testdata/app")
	if err != nil {
		t.Fatal(err)
	}
	sub := load(t)
	c.AddDependency(sub)
	manifests, _, err := rendered(c, map[string]any{"vrproxy": values(t, "sidecar", "sidecar: {image: ''}")})
	if err != nil {
		t.Fatal(err)
	}
	all := decode(t, []byte(manifests))
	if len(workloads(all)) != 1 || workloads(all)[0].name != "app" {
		t.Fatalf("%d workloads, want the application's own", len(workloads(all)))
	}
	w := workloads(all)[0]
	isRestricted(t, w)
	isWellKept(t, w)
	hasItsFiles(t, w, all)
	isConfigured(t, w, all)
}

package manifests

import (
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func kustomized(t *testing.T, dir string) []runtime.Object {
	t.Helper()
	found, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := found.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, manifests)
}

func TestOverlays(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ deployments, daemonSets, jobs, services, monitors, budgets int }{
		"sidecar":   {deployments: 1, jobs: 1, monitors: 1, budgets: 1},
		"daemonset": {daemonSets: 1, services: 2, monitors: 1},
		"resolver":  {daemonSets: 1, services: 2, monitors: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := kustomized(t, "../kubernetes/overlays/"+name)
			holds(t, all)
			got := want
			got.deployments, got.daemonSets, got.jobs = len(of[*appsv1.Deployment](all)), len(of[*appsv1.DaemonSet](all)), len(of[*batchv1.Job](all))
			got.services, got.budgets = len(of[*corev1.Service](all)), len(of[*policyv1.PodDisruptionBudget](all))
			got.monitors = len(of[*monitoring.ServiceMonitor](all)) + len(of[*monitoring.PodMonitor](all))
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			space := of[*corev1.Namespace](all)
			if len(space) != 1 || space[0].Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
				t.Error("the namespace does not refuse what is not restricted")
			}
			for _, w := range workloads(all) {
				if c, _ := proxyOf(t, w); c.Image != "registry.example.com/vrproxy:dev" {
					t.Errorf("%s: image %s", w.name, c.Image)
				}
			}
		})
	}
}

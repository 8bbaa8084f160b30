package manifests

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/vrproxy/vrproxy/configs"
)

// holds judges a rendered set by all rules.
func holds(t *testing.T, all []runtime.Object) {
	t.Helper()
	pods := workloads(all)
	for _, w := range pods {
		isRestricted(t, w)
		isWellKept(t, w)
		hasItsFiles(t, w, all)
		isConfigured(t, w, all)
	}
	selectSomething(t, pods, all)
}

// isRestricted asks the admission of Kubernetes.
func isRestricted(t *testing.T, w workload) {
	t.Helper()
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	if said := policy.AggregateCheckResults(judge.EvaluatePod(restricted, &w.pod.ObjectMeta, &w.pod.Spec)); !said.Allowed {
		t.Errorf("%s is not restricted: %s", w.name, said.ForbiddenDetail())
	}
}

// isWellKept is what restricted does not ask for.
func isWellKept(t *testing.T, w workload) {
	t.Helper()
	spec := w.pod.Spec
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		t.Errorf("%s: the token of the API server is mounted", w.name)
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			t.Errorf("%s: %s can write to its root", w.name, c.Name)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: %s has no resources", w.name, c.Name)
		}
	}
	c, sidecar := proxyOf(t, w)
	if sidecar && (c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways) {
		t.Errorf("%s: the sidecar is no native one", w.name)
	}
	probes := map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe}
	for what, p := range probes {
		if p == nil && sidecar && what == "readiness" {
			continue // the application would be out of service with every cluster down
		}
		if p == nil || p.Exec == nil || !slices.Equal(p.Exec.Command, []string{"/usr/bin/vrproxy", "probe", what}) {
			t.Errorf("%s: no %s probe by the proxy itself: %v", w.name, what, p)
		}
	}
	region := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "VRPROXY_REGION" })
	if region < 0 || c.Env[region].ValueFrom == nil || c.Env[region].ValueFrom.FieldRef == nil || c.Env[region].ValueFrom.FieldRef.FieldPath != "metadata.labels['topology.kubernetes.io/region']" {
		t.Errorf("%s: the region is not the node's", w.name)
	}
}

// hasItsFiles: each ConfigMap that a pod mounts is part of the set; each mount has its volume.
func hasItsFiles(t *testing.T, w workload, all []runtime.Object) {
	t.Helper()
	c, _ := proxyOf(t, w)
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(w.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 || !m.ReadOnly {
			t.Errorf("%s: %s is no read-only mount of a volume", w.name, m.MountPath)
			continue
		}
		if v := w.pod.Spec.Volumes[i]; v.ConfigMap != nil && configMap(all, v.ConfigMap.Name) == nil {
			t.Errorf("%s: there is no ConfigMap %s", w.name, v.ConfigMap.Name)
		}
	}
	app := w.pod.Spec.Containers[0]
	if app.Name != "vrproxy" && slices.ContainsFunc(app.VolumeMounts, func(m corev1.VolumeMount) bool { return strings.HasPrefix(m.Name, "vrproxy") }) {
		t.Errorf("%s: the application sees the proxy's files", w.name)
	}
}

func configMap(all []runtime.Object, name string) *corev1.ConfigMap {
	for _, m := range of[*corev1.ConfigMap](all) {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// isConfigured: the configuration that is mounted is sound, and agrees with the pod.
func isConfigured(t *testing.T, w workload, all []runtime.Object) {
	t.Helper()
	c, sidecar := proxyOf(t, w)
	var text string
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(w.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if v := w.pod.Spec.Volumes[i]; v.ConfigMap != nil && m.MountPath == "/etc/vrproxy" {
			text = configMap(all, v.ConfigMap.Name).Data["vrproxy.yaml"]
		}
	}
	check(t, text)
	cfg, err := configs.Parse("vrproxy.yaml", []byte(text), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if stop := cfg.Shutdown.DrainDelay + cfg.Shutdown.DrainTimeout + 10*time.Second; w.pod.Spec.TerminationGracePeriodSeconds == nil || time.Duration(*w.pod.Spec.TerminationGracePeriodSeconds)*time.Second < stop {
		t.Errorf("%s: it is killed before it has stopped, which takes up to %s", w.name, stop)
	}
	if !sidecar {
		isShared(t, w, cfg)
	}
	for _, p := range c.Ports {
		if !slices.Contains(boundPorts(cfg), p.ContainerPort) {
			t.Errorf("%s: nobody listens at %s %d", w.name, p.Name, p.ContainerPort)
		}
	}
	for name, a := range map[string]string{"token": tokenPath(cfg)} {
		if a == "" {
			continue
		}
		if !projected(w, path.Dir(a), path.Base(a)) {
			t.Errorf("%s: %s is not a projected %s for Vault", w.name, a, name)
		}
	}
}

// isShared: a proxy of many tenants lends nothing, and speaks TLS.
func isShared(t *testing.T, w workload, cfg *configs.Config) {
	t.Helper()
	if cfg.Identity != nil {
		t.Errorf("%s: it has an identity", w.name)
	}
	for _, l := range cfg.Listeners {
		if l.Identity != configs.UseNever {
			t.Errorf("%s: %s may lend an identity", w.name, l.Address)
		}
		if !strings.HasPrefix(l.Address, "127.") && l.TLS == nil {
			t.Errorf("%s: %s is plain", w.name, l.Address)
		}
	}
}

func boundPorts(cfg *configs.Config) []int32 {
	addresses := []string{cfg.Admin.Address}
	for _, l := range cfg.Listeners {
		addresses = append(addresses, l.Address)
	}
	if cfg.DNS != nil {
		addresses = append(addresses, cfg.DNS.Address)
	}
	var ports []int32
	for _, a := range addresses {
		var port int32
		for _, digit := range a[strings.LastIndex(a, ":")+1:] {
			port = port*10 + digit - '0'
		}
		if !strings.HasPrefix(a, "127.") {
			ports = append(ports, port)
		}
	}
	return ports
}

func tokenPath(cfg *configs.Config) string {
	if cfg.Identity == nil {
		return ""
	}
	return cfg.Identity.Options.TokenPath
}

// projected reports whether a file is a service account token for Vault alone.
func projected(w workload, dir, file string) bool {
	c := slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers)
	for _, m := range c[0].VolumeMounts {
		if m.MountPath != dir {
			continue
		}
		for _, v := range w.pod.Spec.Volumes {
			if v.Name == m.Name && v.Projected != nil && len(v.Projected.Sources) == 1 {
				s := v.Projected.Sources[0].ServiceAccountToken
				return s != nil && s.Path == file && s.Audience == "vault" && s.ExpirationSeconds != nil && *s.ExpirationSeconds <= 3600
			}
		}
	}
	return false
}

// selectSomething: whatever selects pods or services selects some of the set, and names
// ports that they have.
func selectSomething(t *testing.T, pods []workload, all []runtime.Object) {
	t.Helper()
	selected := func(kind, name string, s map[string]string, exprs *metav1.LabelSelector) []workload {
		selector := labels.SelectorFromSet(s)
		if exprs != nil {
			var err error
			if selector, err = metav1.LabelSelectorAsSelector(exprs); err != nil {
				t.Fatal(err)
			}
		}
		var some []workload
		for _, w := range pods {
			if selector.Matches(labels.Set(w.pod.Labels)) {
				some = append(some, w)
			}
		}
		if len(some) == 0 {
			t.Errorf("%s %s selects no pod", kind, name)
		}
		return some
	}
	hasPort := func(kind, name, port string, some []workload) {
		for _, w := range some {
			c, _ := proxyOf(t, w)
			if !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port }) {
				t.Errorf("%s %s: %s has no port %s", kind, name, w.name, port)
			}
		}
	}
	for _, s := range of[*corev1.Service](all) {
		for _, p := range s.Spec.Ports {
			hasPort("Service", s.Name, p.TargetPort.StrVal, selected("Service", s.Name, s.Spec.Selector, nil))
		}
		if s.Spec.ClusterIP != corev1.ClusterIPNone && (s.Spec.InternalTrafficPolicy == nil || *s.Spec.InternalTrafficPolicy != corev1.ServiceInternalTrafficPolicyLocal) {
			t.Errorf("Service %s leaves the node", s.Name)
		}
	}
	policies := of[*networking.NetworkPolicy](all)
	if len(policies) == 0 && len(pods) > 0 {
		t.Error("no NetworkPolicy")
	}
	for _, n := range policies {
		some := selected("NetworkPolicy", n.Name, nil, &n.Spec.PodSelector)
		if len(some) != len(pods) || len(n.Spec.PolicyTypes) != 2 || len(n.Spec.Egress) == 0 {
			t.Errorf("NetworkPolicy %s does not hold for all pods and both ways", n.Name)
		}
		for _, in := range n.Spec.Ingress {
			if len(in.From) == 0 || len(in.Ports) == 0 {
				t.Errorf("NetworkPolicy %s lets anybody in", n.Name)
			}
			for _, p := range in.Ports {
				hasPort("NetworkPolicy", n.Name, p.Port.StrVal, some)
			}
		}
	}
	for _, b := range of[*policyv1.PodDisruptionBudget](all) {
		selected("PodDisruptionBudget", b.Name, nil, b.Spec.Selector)
	}
	for _, d := range of[*appsv1.DaemonSet](all) {
		if u := d.Spec.UpdateStrategy.RollingUpdate; u == nil || u.MaxSurge.IntValue() != 1 || u.MaxUnavailable.IntValue() != 0 {
			t.Errorf("DaemonSet %s leaves nodes without a proxy while it is updated", d.Name)
		}
	}
	for _, m := range of[*monitoring.ServiceMonitor](all) {
		selector, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(of[*corev1.Service](all), func(s *corev1.Service) bool {
			return selector.Matches(labels.Set(s.Labels)) && slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == m.Spec.Endpoints[0].Port })
		})
		if !found {
			t.Errorf("ServiceMonitor %s selects no Service", m.Name)
		}
	}
	for _, m := range of[*monitoring.PodMonitor](all) {
		some := selected("PodMonitor", m.Name, nil, &m.Spec.Selector)
		hasPort("PodMonitor", m.Name, *m.Spec.PodMetricsEndpoints[0].Port, some)
	}
}

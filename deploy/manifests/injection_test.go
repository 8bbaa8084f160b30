package manifests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/kustomize/kyaml/kio"
)

const service = "https://vrproxy.vault.svc:8200"

// The annotations are in a Deployment of Kubernetes' own types; what they mean is known to
// vault-k8s only, whose module can't be had from a module proxy.
func TestAgentInjector(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../injection/agent-injector.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := of[*appsv1.Deployment](decode(t, text))
	if len(found) != 1 || found[0].Spec.Template.Annotations["vault.hashicorp.com/service"] != service || found[0].Spec.Template.Annotations["vault.hashicorp.com/agent-inject"] != "true" {
		t.Errorf("%v", found)
	}
}

// The types of these operators can't be had from a module proxy either: they are read as
// objects of Kubernetes, which lead to the Service of the overlay.
func TestOperatorsLeadToTheProxy(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]struct {
		kinds string
		field []string
	}{
		"secrets-operator.yaml": {"VaultConnection VaultAuth VaultStaticSecret", []string{"spec", "address"}},
		"external-secrets.yaml": {"SecretStore ExternalSecret", []string{"spec", "provider", "vault", "server"}},
		"csi-provider.yaml":     {"SecretProviderClass", []string{"spec", "parameters", "vaultAddress"}},
	} {
		text, err := os.ReadFile(filepath.Join("../injection", file))
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := (&kio.ByteReader{Reader: strings.NewReader(string(text)), OmitReaderAnnotations: true}).Read()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var kinds []string
		for _, n := range nodes {
			kinds = append(kinds, n.GetKind())
			if n.GetName() == "" || n.GetApiVersion() == "" {
				t.Errorf("%s: an object without a name or version", file)
			}
		}
		address, err := nodes[0].GetString(strings.Join(want.field, "."))
		if err != nil || address != service || strings.Join(kinds, " ") != want.kinds {
			t.Errorf("%s: %v lead to %q, %v", file, kinds, address, err)
		}
	}
}

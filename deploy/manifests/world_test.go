package manifests

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	clientgo "k8s.io/client-go/kubernetes/scheme"
)

const envBinary = "VRPROXY_DEPLOY_RUN_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vrproxy-manifests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "vrproxy")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "./cmd/vrproxy")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "manifests: building vrproxy: %v\n%s", err, said)
		return 1
	}
	if err := os.Setenv(envBinary, binary); err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		return 1
	}
	return m.Run()
}

// decode reads manifests as the API server does that refuses unknown and doubled fields.
func decode(t *testing.T, manifests []byte) []runtime.Object {
	t.Helper()
	types := runtime.NewScheme()
	if err := clientgo.AddToScheme(types); err != nil {
		t.Fatal(err)
	}
	if err := monitoring.AddToScheme(types); err != nil {
		t.Fatal(err)
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, types, types, json.SerializerOptions{Yaml: true, Strict: true})
	var all []runtime.Object
	for _, one := range bytes.Split(append([]byte("\n"), manifests...), []byte("\n---")) {
		if len(bytes.TrimSpace(withoutComments(one))) == 0 {
			continue
		}
		object, _, err := strict.Decode(one, nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, one)
		}
		all = append(all, object)
	}
	return all
}

func withoutComments(yaml []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(yaml) {
		if !bytes.HasPrefix(line, []byte("#")) {
			b.Write(line)
		}
	}
	return b.Bytes()
}

// of gives the objects of one type.
func of[T runtime.Object](all []runtime.Object) []T {
	var some []T
	for _, o := range all {
		if one, ok := o.(T); ok {
			some = append(some, one)
		}
	}
	return some
}

// workload is what pods are made of.
type workload struct {
	name string
	pod  corev1.PodTemplateSpec
}

func workloads(all []runtime.Object) []workload {
	var some []workload
	for _, d := range of[*appsv1.Deployment](all) {
		some = append(some, workload{d.Name, d.Spec.Template})
	}
	for _, d := range of[*appsv1.DaemonSet](all) {
		some = append(some, workload{d.Name, d.Spec.Template})
	}
	for _, j := range of[*batchv1.Job](all) {
		some = append(some, workload{j.Name, j.Spec.Template})
	}
	return some
}

// proxyOf gives the container of vrproxy in a pod, and whether it is a sidecar.
func proxyOf(t *testing.T, w workload) (corev1.Container, bool) {
	t.Helper()
	for _, c := range w.pod.Spec.InitContainers {
		if c.Name == "vrproxy" {
			return c, true
		}
	}
	for _, c := range w.pod.Spec.Containers {
		if c.Name == "vrproxy" {
			return c, false
		}
	}
	t.Fatalf("%s has no container vrproxy", w.name)
	return corev1.Container{}, false
}

// files stand for what is mounted in a pod: a certificate for everything, and a token.
func files(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"vrproxy.vault.svc"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for name, data := range map[string][]byte{"ca.pem": public, "tls/tls.crt": public, "tls/ca.crt": public, "tls/tls.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), "token": []byte("ey.ey.sig")} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// check runs vrproxy check on a configuration, with the pod's files elsewhere.
func check(t *testing.T, text string) {
	t.Helper()
	dir := files(t)
	file := filepath.Join(dir, "vrproxy.yaml")
	text = strings.NewReplacer("/etc/vrproxy", dir, "/var/run/secrets/vrproxy", dir).Replace(text)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), os.Getenv(envBinary), "check", "-c", file).CombinedOutput(); err != nil {
		t.Errorf("vrproxy check: %v\n%s\n%s", err, said, text)
	}
}

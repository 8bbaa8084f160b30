package configs_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/configs"
)

const smallest = `region: eu-west
clusters:
  - name: us-east
    region: us-east
    addresses: ["https://vault.example.com:8200"]
`

func noEnv(string) string { return "" }

func environment(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func parse(t *testing.T, text string) *configs.Config {
	t.Helper()
	c, err := configs.Parse("dir/v.yaml", []byte(text), noEnv)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := parse(t, smallest+"dns: {}\nidentity: { method: approle, options: { role_id: r } }\n")
	equal(t, "listeners", c.Listeners, []configs.Listener{{Address: "127.0.0.1:8200", Identity: configs.UseFallback}})
	equal(t, "sessions", c.Sessions, configs.Sessions{Replay: true, Max: 10000, Prewarm: true, LoginRate: 100, Idle: time.Hour})
	equal(t, "routing", c.Routing, configs.Routing{
		Writes: "primary", LatencyWindow: 15 * time.Millisecond, PrimaryDown: "wait",
		PrimaryWait: 10 * time.Second, MaxInFlight: 1024, Consistency: "session", ConsistencyMechanism: "auto",
	})
	equal(t, "limits", c.Limits, configs.Limits{
		Connections: 10000, InFlight: 4096, RepeatBody: 65536, HeaderBytes: 65536, HeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute,
	})
	equal(t, "connections", c.Connections, configs.Connections{PerNode: 1024, IdlePerNode: 256, IdleTimeout: 90 * time.Second, Lifetime: 5 * time.Minute, HTTP2: true})
	equal(t, "health", c.Health, configs.Health{Interval: 2 * time.Second, Timeout: time.Second, Fall: 3, Rise: 2})
	equal(t, "dns", *c.DNS, configs.DNS{
		Address: "127.0.0.1:5353", Zone: "vault.internal.", TTL: 5 * time.Second, NegativeTTL: 5 * time.Second,
		Forward: []string{"/etc/resolv.conf"}, CacheSize: 4096, ServeStale: time.Hour, RateLimit: 1000,
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	})
	equal(t, "identity", *c.Identity, configs.Identity{
		Method: "approle", Mount: "approle", Use: "fallback", Options: configs.Options{RoleID: "r"},
	})
	equal(t, "admin", c.Admin, configs.Admin{Address: "127.0.0.1:8210"})
	equal(t, "shutdown", c.Shutdown, configs.Shutdown{DrainTimeout: 30 * time.Second})
	equal(t, "log", c.Log, configs.Log{Level: "info", Format: "json"})
}

func TestOffUnlessGiven(t *testing.T) {
	t.Parallel()
	c := parse(t, smallest)
	if c.DNS != nil || c.Identity != nil {
		t.Errorf("dns %v and identity %v should be off", c.DNS, c.Identity)
	}
	equal(t, "listener", c.Listeners[0].Identity, configs.UseNever)
}

func TestValues(t *testing.T) {
	t.Parallel()
	c := parse(t, smallest+`
listeners:
  - { address: "unix:///run/v.sock" }
  - { address: "unix:///run/w.sock", mode: "0600" }
  - { address: "0.0.0.0:8243", tls: { cert_file: a.pem, key_file: /etc/b.pem } }
dns: { zone: vault.corp, forward: [], allow: [10.1.2.3/8] }
health: { interval: 500ms }
routing:
  rules:
    - { path: "secret/+/x*", methods: [SCAN], to: "cluster:us-east" }
`)
	equal(t, "default mode", c.Listeners[0].Mode, fs.FileMode(0o660))
	equal(t, "mode", c.Listeners[1].Mode, fs.FileMode(0o600))
	equal(t, "relative file", c.Listeners[2].TLS.CertFile, filepath.Join("dir", "a.pem"))
	equal(t, "absolute file", c.Listeners[2].TLS.KeyFile, "/etc/b.pem")
	equal(t, "zone", c.DNS.Zone, "vault.corp.")
	equal(t, "forward", len(c.DNS.Forward), 0)
	equal(t, "allow", c.DNS.Allow, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	equal(t, "timeout follows a shorter interval", c.Health.Timeout, 500*time.Millisecond)
	equal(t, "target", c.Routing.Rules[0].To, configs.Target{Kind: configs.TargetCluster, Cluster: "us-east"})
	network, address := c.Listeners[0].Endpoint()
	equal(t, "endpoint", network+" "+address, "unix /run/v.sock")
}

func TestIdentityFor(t *testing.T) {
	t.Parallel()
	c := parse(t, smallest+`
identity:
  method: jwt
  namespace: team
  options: { role: app, jwt_file: token }
  per_cluster: { us-east: { mount: jwt-us, namespace: "", options: { path: /other } } }
`)
	equal(t, "elsewhere", c.Identity.For("eu-west").Options, configs.Options{Role: "app", Path: "dir/token"})
	us := c.Identity.For("us-east")
	equal(t, "mount", us.Mount, "jwt-us")
	equal(t, "namespace", us.Namespace, "")
	equal(t, "options", us.Options, configs.Options{Role: "app", Path: "/other"})
}

func TestIdentitiesOfClouds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]configs.Options{
		"aws, options: { role: r }":                                                 {Role: "r", Type: "iam"},
		"gcp, options: { role: r }":                                                 {Role: "r", Type: "gce"},
		"azure, options: { role: r }":                                               {Role: "r"},
		"aws, options: { role: r, type: ec2, nonce: n, signature: rsa2048 }":        {Role: "r", Type: "ec2", Nonce: configs.NewSecret("n"), Signature: "rsa2048"},
		"aws, options: { role: r, region: eu-west-1, header_value: vault.example }": {Role: "r", Type: "iam", Region: "eu-west-1", HeaderValue: "vault.example"},
		"gcp, options: { role: r, type: iam, service_account: a@b }":                {Role: "r", Type: "iam", ServiceAccount: "a@b"},
		"azure, options: { role: r, resource: https://vault }":                      {Role: "r", Resource: "https://vault"},
	} {
		equal(t, text, parse(t, smallest+"identity: { method: "+text+" }\n").Identity.Options, want)
	}
	c := parse(t, smallest+`
identity:
  method: aws
  options: { role: r }
  per_cluster: { us-east: { options: { type: ec2, nonce: n, signature: identity } } }
`)
	equal(t, "overridden", c.Identity.For("us-east").Options, configs.Options{Role: "r", Type: "ec2", Nonce: configs.NewSecret("n"), Signature: "identity"})
}

func TestWrappedSecretIDs(t *testing.T) {
	t.Parallel()
	c := parse(t, smallest+`
identity:
  method: approle
  options: { role_id: r, secret_id_file: wrapped, secret_id_wrapped: true }
  per_cluster: { us-east: { options: { secret_id_file: /plain } } }
`)
	equal(t, "wrapped", c.Identity.Options, configs.Options{RoleID: "r", SecretIDFile: "dir/wrapped", SecretIDWrapped: true})
	equal(t, "overridden", c.Identity.For("us-east").Options, configs.Options{RoleID: "r", SecretIDFile: "/plain"})
}

func TestSinks(t *testing.T) {
	t.Parallel()
	c := parse(t, smallest+`
identity:
  method: approle
  options: { role_id: r }
  sinks: [{ path: token }, { path: /run/token, mode: "0640", cluster: us-east }]
`)
	equal(t, "sinks", c.Identity.Sinks, []configs.Sink{{Path: "dir/token", Mode: 0o600}, {Path: "/run/token", Mode: 0o640, Cluster: "us-east"}})
}

func TestExpansion(t *testing.T) {
	t.Parallel()
	env := environment(map[string]string{
		"REGION": "eu", "PORT": "8300", "WAIT": "3s", "ON": "false", "N": "7",
		"EVIL": "x\nlog: {level: debug} ${REGION}",
	})
	c, err := configs.Parse("v.yaml", []byte(`
region: "${REGION}-west"
listeners: [{ address: "127.0.0.1:${PORT}" }]
clusters:
  - { name: a, region: "${EVIL}", addresses: ["https://h"] }
sessions: { max: "${N}", replay: "${ON}" }
health:
  interval: ${WAIT}
routing: { primary_wait: "${WAIT}", rules: [{ path: "a/$${REGION}/$x", to: nearest }] }
`), env)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "in the middle", c.Region, "eu-west")
	equal(t, "port", c.Listeners[0].Address, "127.0.0.1:8300")
	equal(t, "not expanded twice, not YAML", c.Clusters[0].Region, "x\nlog: {level: debug} ${REGION}")
	equal(t, "number", c.Sessions.Max, 7)
	equal(t, "switch", c.Sessions.Replay, false)
	equal(t, "duration", c.Routing.PrimaryWait, 3*time.Second)
	equal(t, "without quotes", c.Health.Interval, 3*time.Second)
	equal(t, "escape", c.Routing.Rules[0].Path, "a/${REGION}/$x")
}

func TestLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "v.yaml")
	if err := os.WriteFile(path, []byte(strings.TrimPrefix(smallest, "region: eu-west\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := configs.Load(path, environment(map[string]string{"VRPROXY_REGION": "mars", "VRPROXY_LOG_LEVEL": "debug"}))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "region", c.Region, "mars")
	equal(t, "level", c.Log.Level, configs.LogDebug)
	equal(t, "problem", c.Problem("clusters[0].tls.ca_file", "unreadable").String(), path+":2: clusters[0].tls.ca_file: unreadable")

	_, err = configs.Load(path, environment(map[string]string{"VRPROXY_LOG_LEVEL": "loud", "VRPROXY_REGION": "x"}))
	if err == nil || !strings.Contains(err.Error(), "VRPROXY_LOG_LEVEL") {
		t.Errorf("a wrong VRPROXY_LOG_LEVEL: %v", err)
	}
	_, err = configs.Load(path+".not", noEnv)
	var problems *configs.Problems
	if !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), path+".not:1: ") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestExamplesLoad(t *testing.T) {
	t.Parallel()
	credentials := func(name string) string {
		return map[string]string{"CREDENTIALS_DIRECTORY": "/run/credentials/vrproxy.service"}[name]
	}
	names, err := fs.Glob(configs.Examples, "examples/*.yaml")
	if err != nil || len(names) < 8 {
		t.Fatalf("examples: %v, %v", names, err)
	}
	for _, name := range names {
		data, err := configs.Examples.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := configs.Parse(name, data, credentials); err != nil {
			t.Error(err)
		}
	}
}

// TestReferenceNamesEveryKey walks the types: a new key must be taught in
// examples/vrproxy.yaml before it can be merged.
func TestReferenceNamesEveryKey(t *testing.T) {
	t.Parallel()
	data, err := configs.Examples.ReadFile("examples/vrproxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keysOf(reflect.TypeFor[configs.Config]()) {
		if !regexp.MustCompile(`\b` + key + `\b`).Match(data) {
			t.Errorf("examples/vrproxy.yaml does not name the key %s", key)
		}
	}
}

func keysOf(t reflect.Type) []string {
	var keys []string
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keysOf(t.Elem())
	case reflect.Struct:
		for _, field := range reflect.VisibleFields(t) {
			if key := field.Tag.Get("yaml"); key != "" {
				keys = append(keys, key)
				keys = append(keys, keysOf(field.Type)...)
			}
		}
	}
	return keys
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

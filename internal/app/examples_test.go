package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// example is one of configs/examples, run before a laboratory that is made as it says.
// Addresses and files are others; everything else is as it is written.
type example struct {
	*world
	authority *authority
	cfg       *configs.Config
	shown     atomic.Int64 // connections to clusters with a good certificate
}

// runExample runs an example with a primary of that name.
func runExample(t *testing.T, name, primary string) *example {
	t.Helper()
	dir, err := os.MkdirTemp("", "vrx") // short: it is part of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e := &example{authority: newAuthority(t)}
	e.files(t, dir)
	data, err := configs.Examples.ReadFile("examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("/etc/vrproxy", dir, "/run/vrproxy", dir, "/var/lib/vrproxy", dir).Replace(string(data))
	e.cfg, err = configs.Parse(name, []byte(text), func(name string) string { return map[string]string{"CREDENTIALS_DIRECTORY": dir}[name] })
	if err != nil {
		t.Fatal(err)
	}
	e.world = &world{tb: t, logs: &syncBuffer{}, token: lab.RootToken, http: &http.Client{Timeout: 20 * time.Second, Transport: e.authority.client().Transport}}
	e.clusters(t, dir, primary)
	e.here(dir)
	e.runConfig(e.cfg)
	for _, c := range e.cfg.Clusters {
		e.state(c.Name, health.StateHealthy)
	}
	return e
}

// files writes what the examples name.
func (e *example) files(t *testing.T, dir string) {
	t.Helper()
	e.authority.issue("server", 2)
	e.authority.issue("client", 3)
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(e.authority.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, text := range map[string]string{
		"ca.pem": read("ca.pem"), "server.pem": read("server.pem"), "server.key": read("server.key"), "client.pem": read("client.pem"), "client.key": read("client.key"),
		"tls/tls.crt": read("server.pem"), "tls/tls.key": read("server.key"), "tls/ca.crt": read("ca.pem"),
		"vrproxy_role_id": "demo", "vrproxy_secret_id": "demo", "vrproxy_state.key": strings.Repeat("k", 32), "password": "demo",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// clusters makes the laboratory, with TLS before each address.
func (e *example) clusters(t *testing.T, dir, primary string) {
	t.Helper()
	made := lab.Config{Region: e.cfg.Region, Latency: true}
	for _, c := range e.cfg.Clusters {
		cc := lab.ClusterConfig{Name: c.Name, Region: c.Region, Role: "secondary", DROf: c.DROf, RTT: time.Millisecond}
		switch {
		case c.DROf != "":
			cc.Role = "dr"
		case c.Name == primary:
			cc.Role = "primary"
		}
		if c.Region != e.cfg.Region {
			cc.RTT = 40 * time.Millisecond
		}
		made.Clusters, made.Bare = append(made.Clusters, cc), made.Bare || c.Role != ""
	}
	e.lab = labtest.Start(t, made)
	if made.Bare {
		e.furnish(t)
	}
	for i := range e.cfg.Clusters {
		c := &e.cfg.Clusters[i]
		if c.TLS == nil {
			c.TLS = &configs.ClientTLS{CAFile: filepath.Join(dir, "ca.pem")} // the system's authorities
		}
		if c.TLS.ServerName != "" {
			c.TLS.ServerName = "127.0.0.1"
		}
		for j := range c.Addresses {
			c.Addresses[j] = e.front(t, e.lab.Cluster(c.Name).Address(), c.TLS.CertFile != "")
		}
	}
}

// furnish gives each of the independent clusters what the others get by replication.
func (e *example) furnish(t *testing.T) {
	t.Helper()
	for _, c := range e.lab.Clusters() {
		for _, r := range [][2]string{
			{"sys/mounts/secret", `{"type":"kv","options":{"version":"2"}}`}, {"sys/auth/userpass", `{"type":"userpass"}`},
			{"sys/policies/acl/demo", `{"policy":"path \"secret/*\" { capabilities = [\"create\", \"read\", \"update\"] }"}`},
			{"auth/userpass/users/demo", `{"password":"demo","policies":"demo"}`}, {"secret/data/hello", `{"data":{"a":"b"}}`},
		} {
			got, err := e.via(e.http, c.Address(), "POST", r[0], r[1], lab.RootToken)
			if err != nil || got.status >= 300 && !strings.Contains(got.body, "already in use") { // the first has it
				t.Fatalf("%s at %s: %d %s, %v", r[0], c.Name(), got.status, got.body, err)
			}
		}
	}
}

// front is TLS before a cluster. Where there is no cluster, nobody answers.
func (e *example) front(t *testing.T, address string, mutual bool) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(e.authority.dir, "server.pem"), filepath.Join(e.authority.dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if mutual {
		conf.ClientCAs, conf.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		conf.ClientCAs.AddCert(e.authority.cert)
		conf.VerifyConnection = func(c tls.ConnectionState) error {
			if len(c.VerifiedChains) > 0 {
				e.shown.Add(1)
			}
			return nil
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(c, strings.TrimPrefix(address, "http://"), conf) })
		}
	})
	return "https://" + l.Addr().String()
}

// pass carries one connection to a cluster.
func pass(c net.Conn, to string, conf *tls.Config) {
	defer c.Close()
	back, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer back.Close()
	client := tls.Server(c, conf)
	var out sync.WaitGroup
	out.Go(func() {
		_, _ = io.Copy(back, client) // ends with the connection
		_ = back.Close()
	})
	_, _ = io.Copy(client, back)
	_ = c.Close()
	out.Wait()
}

// here puts what the proxy binds to free ports, and the login to one that the laboratory
// knows.
func (e *example) here(dir string) {
	for i := range e.cfg.Listeners {
		if l := &e.cfg.Listeners[i]; !l.IsUnix() {
			l.Address = "127.0.0.1:0"
		}
	}
	e.cfg.Admin.Address = "127.0.0.1:0"
	if e.cfg.DNS != nil {
		e.cfg.DNS.Address = "127.0.0.1:0"
	}
	if id := e.cfg.Identity; id != nil && id.Method == configs.MethodKubernetes {
		id.Method, id.Mount, id.PerCluster = configs.MethodUserpass, "userpass", nil
		id.Options = configs.Options{Username: "demo", PasswordFile: filepath.Join(dir, "password")}
	}
	e.cfg.Health.Interval, e.cfg.Health.Timeout = 2*time.Second, 2*time.Second
	e.cfg.Shutdown = configs.Shutdown{DrainTimeout: 5 * time.Second}
}

// via sends a request to a listener by its scheme, with or without a token.
func (e *example) via(client *http.Client, base, method, path, body, token string) (reply, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, base+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("X-Vault-Request", "true")
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	return decoded(resp)
}

// demo is a login through a listener.
func (e *example) demo(client *http.Client, base string) string {
	e.tb.Helper()
	r, err := e.via(client, base, "POST", "auth/userpass/login/demo", `{"password":"demo"}`, "")
	if err != nil {
		e.tb.Fatal(err)
	}
	e.want(r, 200, "")
	token, _ := r.auth["client_token"].(string)
	return token
}

// serves wants reads at one cluster and writes at another, with a token or the proxy's own
// login. On a busy machine a cluster may look slow for a moment, and then others answer.
func (e *example) serves(client *http.Client, base, token, near, primary string) {
	e.tb.Helper()
	for _, c := range []struct{ method, path, body, cluster string }{
		{"GET", "secret/data/hello", "", near}, {"POST", "secret/data/mine", `{"data":{"a":"1"}}`, primary},
	} {
		eventually(e.tb, c.method+" at "+c.cluster, func() bool {
			r, err := e.via(client, base, c.method, c.path, c.body, token)
			return err == nil && r.status == 200 && r.cluster() == c.cluster
		})
	}
}

func (e *example) socket(path string) *http.Client {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	e.tb.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// TestExamplesRun runs each example but the reference, which shows keys that exclude each
// other. Not in parallel with other tests: a cluster that is slow for a moment is held back
// for longer than the waits here.
func TestExamplesRun(t *testing.T) {
	plain := func(e *example) string { return "http://" + e.app.Addresses()[0] }
	tests := map[string]func(t *testing.T){
		"minimal.yaml": func(t *testing.T) {
			e := runExample(t, "minimal.yaml", "us-east")
			e.serves(e.http, plain(e), e.demo(e.http, plain(e)), "eu-west", "us-east")
		},
		"sidecar.yaml": func(t *testing.T) {
			e := runExample(t, "sidecar.yaml", "us-east")
			e.serves(e.http, plain(e), "", "eu-west", "us-east") // with the proxy's login
			bare, err := e.http.Get(plain(e) + "/v1/secret/data/hello")
			if err != nil || bare.StatusCode != http.StatusPreconditionFailed {
				t.Fatalf("without the header: %v, %v", bare, err)
			}
			_ = bare.Body.Close()
		},
		"daemonset.yaml": func(t *testing.T) {
			e := runExample(t, "daemonset.yaml", "us-east")
			base := "https://" + e.app.Addresses()[0]
			e.serves(e.http, base, e.demo(e.http, base), "eu-west", "us-east")
			if r, err := e.via(e.http, base, "GET", "secret/data/hello", "", ""); err != nil || r.status != 403 {
				t.Errorf("without a token: %d, %v; want nobody's rights", r.status, err)
			}
		},
		"resolver.yaml": resolverExample,
		"independent.yaml": func(t *testing.T) {
			e := runExample(t, "independent.yaml", "us-east")
			e.serves(e.http, plain(e), e.demo(e.http, plain(e)), "eu-west", "us-east")
			if r, err := e.via(e.http, plain(e), "GET", "secret/data/global/x", "", e.demo(e.http, plain(e))); err != nil || r.cluster() != "us-east" {
				t.Errorf("what is kept in one place: %q, %v", r.cluster(), err)
			}
		},
		"three-regions.yaml": threeRegionsExample,
		"on-premises.yaml":   onPremisesExample,
	}
	names, err := fs.Glob(configs.Examples, "examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		name = strings.TrimPrefix(name, "examples/")
		if name == "vrproxy.yaml" {
			continue
		}
		test, ok := tests[name]
		if !ok {
			t.Errorf("%s is not run by any test", name)
			continue
		}
		t.Run(name, test) // one after the other: each is a world of its own
	}
}

func resolverExample(t *testing.T) {
	e := runExample(t, "resolver.yaml", "us-east")
	ask := func(name string, kind uint16) *dns.Msg {
		m, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion(name, kind), e.app.DNSAddress())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	ports := func(name string) []string {
		var out []string
		for _, rr := range ask("_vault._tcp."+name, dns.TypeSRV).Answer {
			if s := rr.(*dns.SRV); s.Priority == 0 { // the others are for later
				out = append(out, fmt.Sprint(s.Port))
			}
		}
		slices.Sort(out)
		return out
	}
	of := func(cluster string) []string {
		var out []string
		for _, c := range e.cfg.Clusters {
			for _, a := range c.Addresses {
				if c.Name == cluster {
					out = append(out, a[strings.LastIndex(a, ":")+1:])
				}
			}
		}
		slices.Sort(out)
		return out
	}
	for name, cluster := range map[string]string{"nearest.vault.internal.": "eu-west", "primary.vault.internal.": "us-east"} {
		eventually(t, name+" is "+cluster, func() bool { return slices.Equal(ports(name), of(cluster)) })
		if m := ask(name, dns.TypeA); len(m.Answer) == 0 || m.Answer[0].(*dns.A).Hdr.Ttl != 5 {
			t.Errorf("%s: %v", name, m)
		}
	}
	e.lab.Cluster("eu-west").Kill()
	eventually(t, "the next region is the nearest", func() bool { return slices.Equal(ports("nearest.vault.internal."), of("us-east")) })
}

// threeRegionsExample: the own region is lost, then the primary, and its copy is promoted.
func threeRegionsExample(t *testing.T) {
	e := runExample(t, "three-regions.yaml", "us-east")
	base := "http://" + e.app.Addresses()[0]
	e.token = e.demo(e.http, base)
	e.serves(e.http, base, e.token, "eu-west", "us-east")
	e.copied("us-east", "us-east-dr")
	e.lab.Cluster("eu-west").Kill()
	r, err := e.via(e.http, base, "GET", "secret/data/hello", "", e.token)
	if err != nil {
		t.Fatal(err)
	}
	e.want(r, 200, "us-east") // first in failover, though us-west is as near
	e.lab.Cluster("us-east").Kill()
	if err := e.lab.Do("us-east-dr", "promote"); err != nil {
		t.Fatal(err)
	}
	e.state("us-east", health.StateDown)
	eventually(t, "the copy is the primary", func() bool {
		c, ok := e.app.Topology().Cluster("us-east-dr")
		return ok && c.Role == health.RolePrimary && c.Usable()
	})
	r, err = e.via(e.http, base, "POST", "secret/data/mine", `{"data":{"a":"2"}}`, e.token)
	if err != nil {
		t.Fatal(err)
	}
	e.want(r, 200, "us-east-dr")
}

func onPremisesExample(t *testing.T) {
	e := runExample(t, "on-premises.yaml", "north")
	e.serves(e.socket(e.app.Addresses()[0]), "http://vault", "", "north", "north") // with the proxy's login
	base := "https://" + e.app.Addresses()[1]
	if r, err := e.via(e.http, base, "GET", "secret/data/hello", "", lab.RootToken); err == nil {
		t.Errorf("without a certificate: %d", r.status)
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(e.authority.dir, "client.pem"), filepath.Join(e.authority.dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	client := e.authority.client(own)
	e.serves(client, base, e.demo(client, base), "north", "north")
	if r, err := e.via(client, base, "GET", "secret/data/hello", "", ""); err != nil || r.status != 403 {
		t.Errorf("without a token: %d, %v; want nobody's rights", r.status, err)
	}
	if e.shown.Load() == 0 {
		t.Error("no cluster was shown a certificate")
	}
	eventually(t, "the state file is written", func() bool { _, err := os.Stat(e.cfg.Sessions.StateFile); return err == nil })
}

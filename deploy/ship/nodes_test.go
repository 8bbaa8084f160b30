package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// machine is a network namespace that stands for a node, with one for a pod behind it. The
// laboratory is outside of all.
//
//	laboratory 10.231.N.1 --- 10.231.N.2 node 10.232.N.1 --- 10.232.N.2 pod
type machine struct {
	t         *testing.T
	number    int
	node, pod string
}

func newMachine(t *testing.T, number int) *machine {
	t.Helper()
	m := &machine{t: t, number: number, node: fmt.Sprintf("vrp-n%d-%d", number, os.Getpid()), pod: fmt.Sprintf("vrp-p%d-%d", number, os.Getpid())}
	ip := tool(t, "ip", "iproute2")
	outer, inner := fmt.Sprintf("vo%d-%d", number, os.Getpid()), "pods"
	t.Cleanup(func() { // with the namespaces the links go
		for _, name := range []string{m.pod, m.node} {
			_ = exec.Command(ip, "netns", "del", name).Run()
		}
		_ = exec.Command(ip, "link", "del", outer).Run() // it is gone, or was never there
	})
	for _, line := range []string{
		"netns add " + m.node, "netns add " + m.pod,
		"link add " + outer + " type veth peer name uplink netns " + m.node,
		fmt.Sprintf("addr add 10.231.%d.1/30 dev %s", number, outer), "link set " + outer + " up",
		fmt.Sprintf("-n %s addr add 10.231.%d.2/30 dev uplink", m.node, number), "-n " + m.node + " link set uplink up", "-n " + m.node + " link set lo up",
		"-n " + m.node + " link add " + inner + " type veth peer name eth0 netns " + m.pod,
		fmt.Sprintf("-n %s addr add 10.232.%d.1/30 dev %s", m.node, number, inner), "-n " + m.node + " link set " + inner + " up",
		fmt.Sprintf("-n %s addr add 10.232.%d.2/30 dev eth0", m.pod, number), "-n " + m.pod + " link set eth0 up", "-n " + m.pod + " link set lo up",
		fmt.Sprintf("-n %s route add default via 10.232.%d.1", m.pod, number),
	} {
		must(t, ip, strings.Fields(line)...)
	}
	return m
}

// proxy is where the pods of the node find it.
func (m *machine) proxy() string { return fmt.Sprintf("10.232.%d.1:8200", m.number) }

// run starts the proxy of the node.
func (m *machine) run(binary string, l *lab.Lab) {
	m.t.Helper()
	// The laboratory's sockets are on all addresses; the node knows one of them.
	text := regexp.MustCompile(`http://.*:(\d+)`).ReplaceAllString(clusters(l), fmt.Sprintf("http://10.231.%d.1:$1", m.number)) +
		"health: {interval: 500ms, timeout: 500ms}\nlisteners: [{address: \"" + m.proxy() + "\", allow_plaintext: true, identity: never}]\nadmin: {address: \"127.0.0.1:8210\"}\n"
	file := filepath.Join(m.t.TempDir(), "vrproxy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	startProxy(m.t, exec.Command(tool(m.t, "ip", "iproute2"), "netns", "exec", m.node, binary, "run", "-c", file))
}

// client speaks from within the pod.
func (m *machine) client() *http.Client {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return m.dial(ctx, network, address)
	}}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// dial makes the socket in the pod's namespace. The thread is not used again: it is lost
// with the goroutine that locked it.
func (m *machine) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type dialled struct {
		c   net.Conn
		err error
	}
	done := make(chan dialled, 1)
	go func() {
		runtime.LockOSThread()
		space, err := os.Open("/run/netns/" + m.pod)
		if err == nil {
			err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET)
			_ = space.Close()
		}
		if err != nil {
			done <- dialled{nil, err}
			return
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		done <- dialled{c, err}
	}()
	d := <-done
	return d.c, d.err
}

// ask sends one request from the pod.
func (m *machine) ask(proxy, method, path, body, token string) (int, string, string, error) {
	req, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+proxy+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", "", err
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	resp, err := m.client().Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("X-Vrproxy-Cluster"), string(text), err
}

// login logs in from the pod and gives its token.
func (m *machine) login() string {
	m.t.Helper()
	status, _, text, err := m.ask(m.proxy(), http.MethodPost, "auth/userpass/login/demo", `{"password":"demo"}`, "")
	if err != nil || status != http.StatusOK {
		m.t.Fatalf("login: %d %s, %v", status, text, err)
	}
	_, rest, _ := strings.Cut(text, `"client_token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	return token
}

// Two nodes with a proxy each, as a DaemonSet has it, and a pod on each: pods use the proxy
// of their own node and reach no other, nobody has another's rights, and a lost region is
// nobody's failed read.
func TestNodesWithAProxyEach(t *testing.T) {
	t.Parallel()
	asRoot(t)
	l := labtest.Start(t, lab.Config{Region: "eu-west", Host: "0.0.0.0"})
	binary := builtFor(t, here())
	one, two := newMachine(t, 1), newMachine(t, 2)
	for _, m := range []*machine{one, two} {
		m.run(binary, l)
	}
	tokens := map[*machine]string{one: one.login(), two: two.login()}
	for m, token := range tokens {
		if status, cluster, text, err := m.ask(m.proxy(), http.MethodGet, "secret/data/hello", "", token); err != nil || status != http.StatusOK || cluster != "eu-west" {
			t.Errorf("node %d: %d from %q %s, %v", m.number, status, cluster, text, err)
		}
		if status, _, _, err := m.ask(m.proxy(), http.MethodGet, "secret/data/hello", "", ""); err != nil || status != http.StatusForbidden {
			t.Errorf("node %d: without a token: %d, %v", m.number, status, err)
		}
	}
	if _, _, _, err := one.ask(two.proxy(), http.MethodGet, "sys/health", "", ""); err == nil {
		t.Error("a pod reaches the proxy of another node")
	}
	// A token that the other node's proxy has not seen is good as long as its home is up.
	if status, _, text, err := two.ask(two.proxy(), http.MethodGet, "secret/data/hello", "", tokens[one]); err != nil || status != http.StatusOK {
		t.Errorf("moved to another node: %d %s, %v", status, text, err)
	}
	l.Cluster("eu-west").Kill()
	for range 20 {
		for m, token := range tokens {
			status, cluster, text, err := m.ask(m.proxy(), http.MethodGet, "secret/data/hello", "", token)
			if err != nil || status != http.StatusOK || cluster == "eu-west" {
				t.Errorf("node %d, region lost: %d from %q %s, %v", m.number, status, cluster, text, err)
			}
		}
	}
}

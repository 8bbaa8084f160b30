package app

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
	"github.com/vrproxy/vrproxy/internal/replication"
)

// bareWorld is a laboratory that does not replicate yet, and a file that names it.
func bareWorld(t *testing.T) (*world, string) {
	t.Helper()
	w := &world{tb: t, lab: labtest.Start(t, lab.Config{Region: "eu-west", Bare: true, SyncTime: 100 * time.Millisecond, Pause: 50 * time.Millisecond})}
	return w, write(t, w.yaml(""))
}

// replicate runs a replication command with the laboratory's root token.
func replicate(t *testing.T, file string, args ...string) (code int, out, errs string) {
	t.Helper()
	return replicateWith(t, map[string]string{"VRPROXY_CONFIG": file, "VAULT_TOKEN": lab.RootToken}, args...)
}

func replicateWith(t *testing.T, env map[string]string, args ...string) (code int, out, errs string) {
	t.Helper()
	c := start(env, append([]string{"replication"}, args...)...)
	code = <-c.exit
	return code, c.out.String(), c.errs.String()
}

// TestWalkThrough does what docs/replication.md tells: from clusters that know nothing
// of each other to vrproxy routing over three regions and a DR copy.
func TestWalkThrough(t *testing.T) {
	t.Parallel()
	dev := start(nil, "dev", "--bare", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dns", "", "--lab-port", "0", "--latency=false")
	t.Cleanup(func() {
		dev.signals <- syscall.SIGINT
		if code := <-dev.exit; code != 0 {
			t.Errorf("dev: exit %d: %s", code, dev.errs.String())
		}
	})
	screen := regexp.MustCompile(`(?s)export VAULT_ADDR=(\S+).*export VRPROXY_ADMIN_ADDR=(\S+)`)
	eventually(t, "the screen", func() bool { return strings.Contains(dev.out.String(), "Stop:") })
	found := screen.FindStringSubmatch(dev.out.String())
	if found == nil {
		t.Fatal(dev.out.String())
	}
	env := map[string]string{"VRPROXY_ADMIN_ADDR": found[2], "VAULT_TOKEN": lab.RootToken}
	set := []string{"setup", "--primary", "us-east", "--secondary", "us-west", "--secondary", "eu-west"}
	for _, s := range []struct {
		code int
		want string
		args []string
	}{
		{3, "no cluster replicates", []string{"status"}},
		{0, "Nothing was changed (--dry-run)", append(set, "--dry-run")},
		{2, "--confirm us-west", set},
		{2, "--confirm eu-west", append(set, "--confirm", "us-west")},
		{3, "no cluster replicates", []string{"status"}},
		{0, "eu-west is a performance secondary of us-east", append(set, "--confirm", "us-west", "--confirm", "eu-west")},
		{0, "Nothing to do", append(set, "--confirm", "us-west", "--confirm", "eu-west")},
		{3, "us-east-dr: is configured as the DR copy of us-east, and does not replicate", []string{"status"}},
		{0, "us-east-dr is a DR secondary of us-east", []string{"setup", "--mode", "dr", "--secondary", "us-east-dr", "--confirm", "us-east-dr"}},
		{0, "All is well", []string{"status"}},
	} {
		if code, out, errs := replicateWith(t, env, s.args...); code != s.code || !strings.Contains(out+errs, s.want) {
			t.Fatalf("%v: exit %d, want %d and %q:\n%s%s", s.args, code, s.code, s.want, out, errs)
		}
	}
	routed(t, found[1])
}

// routed reads and writes through the proxy.
func routed(t *testing.T, address string) {
	t.Helper()
	token, _ := call(t, address, "", "POST", "auth/userpass/login/demo", `{"password":"demo"}`).auth["client_token"].(string)
	eventually(t, "reads are served near, writes by the primary", func() bool {
		read, written := call(t, address, token, "GET", "secret/data/hello", ""), call(t, address, token, "POST", "secret/data/walk", `{"data":{"a":"b"}}`)
		return read.status == 200 && read.cluster() == "eu-west" && written.status == 200 && written.cluster() == "us-east"
	})
}

// call sends one request over a connection of its own.
func call(t *testing.T, address, token, method, path, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r, err := decoded(resp)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNothingIsReplacedWithoutTheName(t *testing.T) {
	t.Parallel()
	w, file := bareWorld(t)
	west := w.lab.Cluster("us-west")
	if code, _, errs := replicate(t, file, "enable-primary", "us-east"); code != 0 {
		t.Fatal(errs)
	}
	for _, s := range []struct {
		code int
		want string
		args []string
	}{
		{2, "--confirm us-west", []string{"enable-secondary", "us-west", "--primary", "us-east"}},
		{2, "--confirm us-west", []string{"enable-secondary", "us-west", "--primary", "us-east", "--i-know-what-is-lost"}},
		{2, "--confirm us-west", []string{"enable-secondary", "us-west", "--primary", "us-east", "--confirm", "us-wes"}},
		{2, "--confirm us-west", []string{"enable-secondary", "us-west", "--primary", "us-east", "--confirm", "eu-west", "--confirm", "us-east", "--confirm", ""}},
		{2, "--confirm us-west", []string{"setup", "--primary", "us-east", "--secondary", "us-west"}},
		{0, "Nothing was changed", []string{"setup", "--primary", "us-east", "--secondary", "us-west", "--confirm", "us-west", "--dry-run"}},
		{2, `no cluster "us-wst"`, []string{"enable-secondary", "us-wst", "--primary", "us-east", "--confirm", "us-wst"}},
		{2, "can't be a secondary of itself", []string{"enable-secondary", "us-east", "--primary", "us-east", "--confirm", "us-east"}},
		{1, "us-west is not a DR primary yet", []string{"enable-secondary", "eu-west", "--mode", "dr", "--primary", "us-west", "--confirm", "eu-west"}},
		{1, "us-east is the performance primary already", []string{"setup", "--primary", "us-west", "--secondary", "us-east", "--confirm", "us-east"}},
		{1, "us-east is a performance primary: the data of a primary is never replaced", []string{"setup", "--mode", "dr", "--primary", "us-west", "--secondary", "us-east", "--confirm", "us-east", "--i-know-what-is-lost"}},
	} {
		if code, out, errs := replicate(t, file, s.args...); code != s.code || !strings.Contains(out+errs, s.want) {
			t.Errorf("%v: exit %d, want %d and %q:\n%s%s", s.args, code, s.code, s.want, out, errs)
		}
	}
	if n := west.Applied("sys/replication/performance/secondary/enable"); n != 0 {
		t.Errorf("replaced %d times", n)
	}
	for _, s := range west.Served() {
		if strings.HasPrefix(s.Path, "sys/replication/") {
			t.Errorf("us-west was told %s %s", s.Method, s.Path)
		}
	}
}

func TestMoreUsedThanThePrimary(t *testing.T) {
	t.Parallel()
	_, file := bareWorld(t)
	args := []string{"setup", "--primary", "eu-west", "--secondary", "us-east", "--confirm", "us-east"} // the two swapped by mistake
	code, out, errs := replicate(t, file, args...)
	if code != 2 || !strings.Contains(errs, "looks more used than the primary") || !strings.Contains(errs, "--i-know-what-is-lost") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	blind := map[string]string{"VRPROXY_CONFIG": file, "VRPROXY_TOKEN_EU_WEST": lab.RootToken, "VRPROXY_TOKEN_US_WEST": "nonsense"}
	code, out, errs = replicateWith(t, blind, "setup", "--primary", "eu-west", "--secondary", "us-west", "--confirm", "us-west")
	if code != 2 || !strings.Contains(errs, "can't be counted") || strings.Contains(out+errs, "nonsense") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, errs := replicate(t, file, append(args, "--i-know-what-is-lost")...); code != 0 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

func TestActivationTokens(t *testing.T) {
	t.Parallel()
	_, file := bareWorld(t)
	if code, _, errs := replicate(t, file, "secondary-token", "us-east", "--id", "x"); code != 1 || !strings.Contains(errs, "us-east is not a performance primary") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := replicate(t, file, "enable-primary", "us-east"); code != 0 {
		t.Fatal(errs)
	}
	if code, _, errs := replicate(t, file, "secondary-token", "us-east"); code != 2 || !strings.Contains(errs, "--id") {
		t.Errorf("exit %d: %s", code, errs)
	}
	code, out, errs := replicate(t, file, "secondary-token", "us-east", "--id", "quiet")
	if code != 0 || out != "" || strings.Contains(errs, "eyJ") || !strings.Contains(errs, "not shown") {
		t.Errorf("exit %d: %q %q", code, out, errs)
	}
	kept := filepath.Join(t.TempDir(), "token")
	code, out, errs = replicate(t, file, "secondary-token", "us-east", "--id", "us-west", "--out", kept)
	info, err := os.Stat(kept)
	if code != 0 || out != "" || strings.Contains(errs, "eyJ") || err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("exit %d: %q %q, %v", code, out, errs, err)
	}
	if code, _, _ := replicate(t, file, "secondary-token", "us-east", "--id", "us-west", "--out", kept); code != 1 {
		t.Errorf("exit %d: the file was written over", code)
	}
	code, token, _ := replicate(t, file, "secondary-token", "us-east", "--id", "us-west", "--show")
	if code != 0 || !regexp.MustCompile(`^eyJ\S+\n$`).MatchString(token) {
		t.Fatalf("exit %d: %q", code, token)
	}
	env := map[string]string{"VRPROXY_CONFIG": file, "VAULT_TOKEN": lab.RootToken}
	enable := func(cluster, token string) (int, string) {
		c := startIn(env, token, "replication", "enable-secondary", cluster, "--primary", "us-east", "--token-stdin", "--confirm", cluster)
		code := <-c.exit
		return code, c.out.String() + c.errs.String()
	}
	if code, all := enable("us-west", token); code != 0 || strings.Contains(all, strings.TrimSpace(token)) {
		t.Errorf("exit %d: %s", code, all)
	}
	if code, all := enable("eu-west", token); code != 1 || !strings.Contains(all, "used up, expired") || strings.Contains(all, strings.TrimSpace(token)) {
		t.Errorf("exit %d: %s", code, all)
	}
	if code, all := enable("eu-west", ""); code != 2 || !strings.Contains(all, "from stdin") {
		t.Errorf("exit %d: %s", code, all)
	}
}

// startIn is start with something to read.
func startIn(env map[string]string, in string, args ...string) *command {
	c := &command{signals: make(chan os.Signal, 4), exit: make(chan int, 1)}
	p := Process{Getenv: func(k string) string { return env[k] }, Stdin: strings.NewReader(in), Stdout: &c.out, Stderr: &c.errs, Signals: c.signals}
	go func() { c.exit <- Main(args, p) }()
	return c
}

func TestMovePrimaries(t *testing.T) {
	t.Parallel()
	w, file := bareWorld(t)
	for _, args := range [][]string{
		{"setup", "--primary", "us-east", "--secondary", "us-west", "--confirm", "us-west"},
		{"setup", "--mode", "dr", "--primary", "us-east", "--secondary", "us-east-dr", "--confirm", "us-east-dr"},
	} {
		if code, out, errs := replicate(t, file, args...); code != 0 {
			t.Fatalf("%v: exit %d: %s%s", args, code, out, errs)
		}
	}
	env := map[string]string{"VRPROXY_CONFIG": file, "VAULT_TOKEN": lab.RootToken, "VRPROXY_TOKEN_US_WEST": operatorToken(t, w, "us-west")}
	for _, s := range []struct {
		code int
		want string
		args []string
	}{
		{1, "us-east is still the performance primary", []string{"promote", "us-west", "--confirm", "us-west"}},
		{2, "--confirm us-east", []string{"demote", "us-east"}},
		{0, "dry-run", []string{"demote", "us-east", "--dry-run"}},
		{0, "", []string{"demote", "us-east", "--confirm", "us-east"}},
		{3, "us-east: is a performance secondary without a primary", []string{"status"}},
		{2, "--confirm us-west", []string{"promote", "us-west"}},
		{0, "", []string{"promote", "us-west", "--confirm", "us-west"}},
		{1, "us-west is not a performance secondary", []string{"promote", "us-west", "--confirm", "us-west"}},
		{2, "--confirm us-east", []string{"update-primary", "us-east", "--primary", "us-west"}},
		{0, "", []string{"update-primary", "us-east", "--primary", "us-west", "--confirm", "us-east"}},
		{0, "Nothing to do", []string{"setup", "--primary", "us-west", "--secondary", "us-east", "--confirm", "us-east"}},
		{1, "us-east is still the DR primary", []string{"promote", "us-east-dr", "--mode", "dr", "--confirm", "us-east-dr"}},
		{0, "", []string{"disable", "us-east", "--mode", "dr", "--confirm", "us-east"}},
		{2, "no DR operation token for us-east-dr", []string{"promote", "us-east-dr", "--mode", "dr", "--confirm", "us-east-dr"}},
		{1, "has no DR replication to disable", []string{"disable", "us-east", "--mode", "dr", "--confirm", "us-east"}},
	} {
		if code, out, errs := replicateWith(t, env, s.args...); code != s.code || !strings.Contains(out+errs, s.want) {
			t.Fatalf("%v: exit %d, want %d and %q:\n%s%s", s.args, code, s.code, s.want, out, errs)
		}
	}
	promoteDR(t, w, env)
}

// promoteDR makes an operation token and uses it.
func promoteDR(t *testing.T, w *world, env map[string]string) {
	t.Helper()
	wrong := startIn(env, "wrong\n", "replication", "generate-operation-token", "us-east-dr")
	if code := <-wrong.exit; code != 1 || wrong.out.String() != "" || strings.Contains(wrong.errs.String(), "wrong") {
		t.Errorf("a wrong key: exit %d: %s", code, wrong.errs.String())
	}
	key := w.lab.Cluster("us-east").UnsealKey()
	made := startIn(env, key+"\n", "replication", "generate-operation-token", "us-east-dr")
	if code := <-made.exit; code != 0 || !strings.HasPrefix(made.out.String(), "hvs.") || strings.Contains(made.errs.String(), key) {
		t.Fatalf("exit %d: %s%s", code, made.out.String(), made.errs.String())
	}
	env["VRPROXY_DR_OPERATION_TOKEN"] = strings.TrimSpace(made.out.String())
	code, out, errs := replicateWith(t, env, "promote", "us-east-dr", "--mode", "dr", "--confirm", "us-east-dr")
	if code != 0 || strings.Contains(out+errs, "hvs.") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// operatorToken logs the operator of the laboratory in.
func operatorToken(t *testing.T, w *world, cluster string) string {
	t.Helper()
	a := call(t, w.lab.Cluster(cluster).Address(), "", "POST", "auth/approle/login", `{"role_id":"operator","secret_id":"operator"}`)
	token, _ := a.auth["client_token"].(string)
	if token == "" {
		t.Fatalf("login: %d %s", a.status, a.body)
	}
	return token
}

func TestReplicationStatusJSON(t *testing.T) {
	t.Parallel()
	w := &world{tb: t, lab: labtest.Start(t, lab.Config{Region: "eu-west"})}
	file := write(t, w.yaml(""))
	var pic replication.Picture
	eventually(t, "all is well", func() bool {
		code, out, _ := replicateWith(t, map[string]string{"VRPROXY_CONFIG": file}, "status", "-o", "json")
		return code == 0 && json.Unmarshal([]byte(out), &pic) == nil && len(pic.Problems) == 0
	})
	if len(pic.Clusters) != 4 || pic.Clusters[0].Performance.Mode != "primary" || pic.Clusters[2].Performance.Primary != "us-east" || pic.Clusters[3].DR.Mode != "secondary" {
		t.Errorf("%+v", pic)
	}
	w.lab.Cluster("us-west").Kill()
	w.lab.Cluster("eu-west").Partition()
	w.lab.Cluster("us-east-dr").Seal()
	code, out, _ := replicateWith(t, map[string]string{"VRPROXY_CONFIG": file}, "status")
	for _, want := range []string{"us-west: can't be reached", "eu-west: has no working connection to its performance primary", "us-east-dr: is sealed", "unreachable"} {
		if code != 3 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
	c := start(map[string]string{"VRPROXY_CONFIG": file}, "replication", "status", "--watch", "--every", "20ms")
	eventually(t, "shown three times", func() bool { return strings.Count(c.out.String(), "CLUSTER ") >= 3 })
	c.signals <- syscall.SIGINT
	if code := <-c.exit; code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestCheckReportsDrift(t *testing.T) {
	t.Parallel()
	_, file := bareWorld(t)
	if code, _, errs := replicate(t, file, "setup", "--primary", "us-east", "--secondary", "us-west", "--confirm", "us-west"); code != 0 {
		t.Fatal(errs)
	}
	c := start(nil, "check", "--connect", "-c", file)
	<-c.exit // eu-west and the copy replicate with nobody; that is for the probes to judge
	for _, want := range []string{"warning: eu-west: does not replicate, and the others do", "warning: us-east-dr: is configured as the DR copy of us-east, and does not replicate"} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("no %q in %s", want, c.out.String())
		}
	}
}

func TestReplicationUsage(t *testing.T) {
	t.Parallel()
	_, file := bareWorld(t)
	for args, want := range map[string]string{
		"status -o xml":                           "want text or json",
		"status --every 0s":                       "above 0",
		"status --mode both":                      "want performance or dr",
		"enable-primary us-east --mode both":      "want performance or dr",
		"enable-primary":                          "accepts 1 arg",
		"setup":                                   "--primary A --secondary B",
		"enable-secondary us-west":                "--primary",
		"update-primary us-west":                  "--primary",
		"enable-primary us-est":                   `no cluster "us-est"`,
		"promote us-est --confirm us-est":         `no cluster "us-est"`,
		"demote us-est --confirm us-est":          `no cluster "us-est"`,
		"disable us-est --confirm us-est":         `no cluster "us-est"`,
		"generate-operation-token us-est":         `no cluster "us-est"`,
		"update-primary us-east --primary us-est": `no cluster "us-est"`,
		"setup --primary us-east --secondary a":   `no cluster "a"`,
		"setup --primary a --secondary us-west":   `no cluster "a"`,
		"setup --primary us-east --secondary us-west,us-west --confirm us-west": "named twice",
	} {
		if code, _, errs := replicate(t, file, strings.Fields(args)...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s", args, code, errs)
		}
	}
	if code, _, errs := replicateWith(t, map[string]string{"VRPROXY_CONFIG": file}, "enable-primary", "us-east"); code != 2 || !strings.Contains(errs, "set VRPROXY_TOKEN_US_EAST or VAULT_TOKEN") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := replicateWith(t, map[string]string{"VRPROXY_CONFIG": file, "VAULT_TOKEN": "none"}, "enable-primary", "us-east"); code != 1 || !strings.Contains(errs, "the token for us-east may not write sys/replication/performance/primary/enable") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := replicateWith(t, map[string]string{"VRPROXY_ADMIN_ADDR": "127.0.0.1:1"}, "status"); code != 2 || !strings.Contains(errs, "-c FILE") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestSealedAndUnreachableTargets(t *testing.T) {
	t.Parallel()
	w, file := bareWorld(t)
	w.lab.Cluster("us-west").Seal()
	w.lab.Cluster("eu-west").Kill()
	for name, want := range map[string]string{"us-west": "us-west is sealed", "eu-west": "eu-west can't be reached"} {
		code, out, errs := replicate(t, file, "setup", "--primary", "us-east", "--secondary", name, "--confirm", name)
		if code != 1 || !strings.Contains(errs, want) || !strings.Contains(errs, "Next: ") {
			t.Errorf("%s: exit %d: %s%s", name, code, out, errs)
		}
	}
}

// TestInterruptedSetup stops setup while it waits, and runs the command that it names.
func TestInterruptedSetup(t *testing.T) {
	t.Parallel()
	w := &world{tb: t, lab: labtest.Start(t, lab.Config{Region: "eu-west", Bare: true, SyncTime: 5 * time.Second, Pause: 20 * time.Millisecond})}
	file := write(t, w.yaml(""))
	env := map[string]string{"VRPROXY_CONFIG": file, "VAULT_TOKEN": lab.RootToken}
	c := start(env, "replication", "setup", "--primary", "us-east", "--secondary", "us-west", "--confirm", "us-west")
	eventually(t, "it waits", func() bool {
		return strings.Contains(c.out.String(), "us-west: ") && strings.Contains(c.out.String(), "merkle-diff")
	})
	c.signals <- syscall.SIGINT
	if code := <-c.exit; code != 130 {
		t.Fatalf("exit %d: %s", code, c.errs.String())
	}
	next := regexp.MustCompile(`Next: vrproxy (.*)`).FindStringSubmatch(c.errs.String())
	if next == nil {
		t.Fatal(c.errs.String())
	}
	again := start(env, strings.Fields(next[1])...)
	if code := <-again.exit; code != 0 {
		t.Fatalf("%s: exit %d: %s", next[1], code, again.errs.String())
	}
	if n := strings.Count(again.out.String(), "Replacing"); n != 0 {
		t.Error("its data were replaced again")
	}
}

func TestReplicationOfDiscoveredClusters(t *testing.T) {
	t.Parallel()
	file := write(t, "region: r\nclusters: [{name: a, region: r, addresses: [\"srv+http://vault.example.com\"]}]\n")
	if code, _, errs := pipe(t, "", "replication", "status", "-c", file); code != 2 || !strings.Contains(errs, "behind srv+http://vault.example.com are known to a running proxy only") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/internal/explain"
)

// pipe runs a command with a standard input, to its end.
func pipe(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var c command
	code = Main(args, Process{Getenv: func(string) string { return "" }, Stdin: strings.NewReader(in), Stdout: &c.out, Stderr: &c.errs})
	return code, c.out.String(), c.errs.String()
}

const mountsJSON = `{"data":{
  "secret":{"secret/":{"type":"kv","options":{"version":"2"}},"creds/":{"type":"kv","options":null},"mine/":{"type":"kv","local":true},"sys/":{"type":"system"}},
  "auth":{"people/":{"type":"userpass"},"token/":{"type":"token"}},
  "namespaces":{"team":{"secret":{"secret/":{"type":"transit"}},"auth":{}}}}}`

func TestExplainBatch(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mounts.json")
	if err := os.WriteFile(file, []byte(mountsJSON), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := [][2]string{
		{"GET\t/v1/secret/data/app", "nearest\tkv read"},
		{"POST\t/v1/secret/data/app", "primary\tkv write"},
		{"PUT\t/v1/creds/login", "primary\tkv write"},
		{"POST\t/v1/mine/x", "nearest\tthe mount is local to each cluster"},
		{"GET\t/v1/secret/metadata/?list=true", "nearest\tkv read"},
		{"DELETE\t/v1/secret/data/app?help=1", "nearest\thelp texts are the same everywhere"},
		{"POST\t/v1/secret/encrypt/k\tX-Vault-Namespace: team", "nearest\tcryptography with a replicated key, nothing is written"},
		{"POST\t/v1/team/secret/encrypt/k\tX-Request-Id: 7", "nearest\tcryptography with a replicated key, nothing is written"},
		{"POST\t/v1/auth/people/login/ann", "nearest\ta login makes a token on the cluster that answers"},
		{"PUT\t/v1/sys/seal", "operator\tabout one cluster or node"},
		{"POST\t/v1/sys/leases/renew", "owner\tonly the cluster that issued a lease knows it"},
		{"POST\t/v1/unknown/thing\r", "primary\tmount not known yet: a write, so the primary"},
	}
	in, want := "", ""
	for _, l := range lines {
		in, want = in+l[0]+"\n", want+l[1]+"\n"
	}
	code, out, errs := pipe(t, in, "explain", "--mounts", file, "--batch")
	if code != 0 || out != want {
		t.Errorf("exit %d %s\n got:\n%s\nwant:\n%s", code, errs, out, want)
	}
	// What is no request is answered with care, named, and costs nothing else.
	code, out, errs = pipe(t, "GET /v1/x\nGET\t/ui/\nGET\t/v1/sys/health\n", "explain", "--batch")
	if got := strings.Split(out, "\n"); code != 2 || len(got) != 4 || !strings.HasPrefix(got[0], "operator\trefused") || !strings.HasPrefix(got[1], "operator\trefused") || got[2] != "operator\tabout one cluster or node" {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if !strings.Contains(errs, "line 1: want METHOD") || !strings.Contains(errs, "line 2: not a Vault API path") {
		t.Errorf("the lines are not named: %s", errs)
	}
}

func TestExplainUsageErrors(t *testing.T) {
	t.Parallel()
	noMounts := write(t, `{"hello": 1}`)
	for args, want := range map[string]string{
		"explain":                                               "want METHOD and PATH",
		"explain GET":                                           "want METHOD and PATH",
		"explain GET a b":                                       "accepts at most 2",
		"explain --batch GET a":                                 "use one",
		"explain --batch --audit-log x":                         "use one",
		"explain -o yaml GET a":                                 "want text or json",
		"explain GET a --log-region r":                          "go with --audit-log",
		"explain --audit-log x --clients a":                     "needs --log-region",
		"explain --audit-log /nowhere/x":                        "reading the audit log",
		"explain --batch --mounts /nowhere/x":                   "reading mounts",
		"explain --batch --mounts " + noMounts:                  "neither",
		"explain --offline GET /ui/":                            "not a Vault API path",
		"explain --audit-log - --log-region r --clients 10.2=r": "want CIDR=REGION",
	} {
		if code, _, errs := pipe(t, "", strings.Fields(args)...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %q, want %q", args, code, errs, want)
		}
	}
	if code, _, errs := pipe(t, "", "explain", "--admin", "127.0.0.1:1", "GET", "a"); code != 1 || !strings.Contains(errs, "no running proxy answers at http://127.0.0.1:1") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestExplainAsksTheRunningProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "identity: {method: approle, options: {role_id: demo, secret_id: demo}}\nrouting: {rules: [{path: secret/data/global/*, methods: [GET], to: primary}]}")
	w.login()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	w.token = ""
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west") // with the identity
	ask := func(args ...string) string {
		t.Helper()
		code, out, errs := pipe(t, "", append([]string{"explain", "--admin", w.app.AdminAddress()}, args...)...)
		if code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
		return out
	}
	var a explain.Answer
	if err := json.Unmarshal([]byte(ask("-o", "json", "get", "secret/data/hello")), &a); err != nil {
		t.Fatal(err)
	}
	if a.Class != "nearest" || a.Engine != "kv-v2" || a.Guess || a.Offline || len(a.Candidates) != 3 || a.Candidates[0].Cluster != "eu-west" || a.Candidates[0].RTT == nil {
		t.Errorf("%+v", a)
	}
	identity := w.app.shared.tokens.Identity()
	if token := a.Candidates[0].Token; !strings.Contains(token, "approle, accessor "+identity.Accessor("eu-west")[:6]+"...)") || strings.Contains(token, identity.Accessor("eu-west")) {
		t.Errorf("token is %q", token)
	}
	text := ask("POST", "/v1/secret/data/x")
	for _, want := range []string{"class      primary", "kv write", "1  us-east", "forwards to the primary", "secret/ (kv-v2)"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 81 && !strings.Contains(line, "token") {
			t.Errorf("more than 80 columns: %q", line)
		}
	}
	if text := ask("GET", "secret/data/global/x"); !strings.Contains(text, "rule       secret/data/global/*") {
		t.Errorf("the rule is not named:\n%s", text)
	}
	if text := ask("PUT", "sys/seal"); !strings.Contains(text, "refused") || !strings.Contains(text, "X-Vrproxy-Cluster") {
		t.Errorf("an operator request:\n%s", text)
	}
}

// Without a running proxy a configuration is enough for class and order.
func TestExplainOffline(t *testing.T) {
	t.Parallel()
	file := write(t, "region: eu\nadmin: {address: \"127.0.0.1:1\"}\nclusters:\n  - {name: us, region: us, addresses: [\"https://127.0.0.1:1\"], role: primary}\n  - {name: eu, region: eu, addresses: [\"https://127.0.0.1:2\"]}\n")
	for _, args := range []string{"explain -c FILE GET secret/data/x", "explain --offline -c FILE GET secret/data/x"} {
		code, out, errs := pipe(t, "", strings.Fields(strings.ReplaceAll(args, "FILE", file))...)
		if code != 0 || !strings.Contains(out, "1  eu") || !strings.Contains(out, "2  us") || !strings.Contains(out, "Offline") || !strings.Contains(out, "mount not known yet") {
			t.Errorf("%s: exit %d: %s%s", args, code, out, errs)
		}
	}
}

const auditLog = `{"time":"2026-01-01T00:00:00Z","type":"request","auth":{"client_token":"hmac-sha256:planted"},"request":{"id":"1","operation":"read","namespace":{"id":"root"},"path":"secret/data/app","mount_point":"secret/","mount_type":"kv","mount_class":"secret","remote_address":"10.2.0.7"}}
{"type":"response","request":{"id":"1","operation":"read","path":"secret/data/app"}}
{"type":"request","request":{"operation":"update","path":"secret/data/app","mount_point":"secret/","mount_type":"kv","remote_address":"10.2.0.7"}}
{"type":"request","request":{"operation":"update","path":"auth/people/login/ann","mount_point":"auth/people/","mount_type":"userpass","mount_class":"auth","remote_address":"10.1.0.7"}}
{"type":"request","request":{"operation":"read","path":"database/creds/app","mount_point":"database/","mount_type":"database","remote_address":"10.2.9.9"}}
{"type":"request","request":{"operation":"update","path":"sys/leases/renew","mount_point":"sys/","mount_type":"system","remote_address":"10.2.9.9"}}
{"type":"request","request":{"operation":"update","path":"secret/encrypt/k","namespace":{"id":"x","path":"team/"},"mount_point":"secret/","mount_type":"transit","remote_address":"fd00::1"}}
{"type":"request","request":{"operation":"revoke","path":"database/creds/app"}}
`

func TestExplainAuditLog(t *testing.T) {
	t.Parallel()
	args := []string{"explain", "--audit-log", "-", "--log-region", "us", "--clients", "10.0.0.0/8=us,10.2.0.0/16=eu"}
	code, out, errs := pipe(t, auditLog, append(args, "-o", "json")...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var a explain.Audit
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatal(err)
	}
	if a.Requests != 6 || a.Skipped != 2 || a.Guessed != 0 || a.Classes["nearest"] != 4 || a.Classes["primary"] != 1 || a.Classes["owner"] != 1 {
		t.Errorf("%+v", a)
	}
	if m := a.Mounts[0]; m.Mount != "secret/" || m.Engine != "kv" || m.Requests != 2 || len(a.Mounts) != 5 {
		t.Errorf("%+v", a.Mounts)
	}
	// Of four requests from eu, all cross today; with a cluster there, only the write does.
	if eu := a.Regions["eu"]; eu == nil || *eu != (explain.RegionTraffic{Requests: 4, Today: 4, Then: 1}) || a.Regions["us"].Today != 0 || a.Regions["unknown"].Requests != 1 {
		t.Errorf("eu %+v, us %+v, unknown %+v", a.Regions["eu"], a.Regions["us"], a.Regions["unknown"])
	}
	_, out, _ = pipe(t, auditLog, args...)
	for _, want := range []string{"83.3% of 6 requests", "100.0%", "25.0%", "team/secret/ (transit)", "all regions"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "planted") {
		t.Error("the log's contents are shown")
	}
	for in, want := range map[string]string{"": "no requests", "{}\n{\"type\":": "line 2: this is no entry", "hvs.planted\n": "line 1: this is no entry"} {
		code, out, errs := pipe(t, in, "explain", "--audit-log", "-")
		if code != 2 || !strings.Contains(errs, want) || strings.Contains(out+errs, "planted") {
			t.Errorf("%q: exit %d: %s", in, code, errs)
		}
	}
}

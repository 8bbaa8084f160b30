package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/internal/lab"
)

// TestEveryDocumentedOperationIsDecided reads what the real Vault says of itself, with
// every bundled engine and auth method mounted, and finds operations that no table of
// routing decides: those that a new version of Vault added.
func TestEveryDocumentedOperationIsDecided(t *testing.T) {
	v := realVault{&world{t: t, http: &http.Client{Transport: &http.Transport{}, Timeout: patience}}, startDevVault(t)}
	t.Cleanup(v.w.http.CloseIdleConnections)
	engines := v.mountEverything()
	requests := v.documented()
	mounts := filepath.Join(t.TempDir(), "mounts.json")
	if err := os.WriteFile(mounts, []byte(v.get("sys/internal/ui/mounts")), 0o600); err != nil {
		t.Fatal(err)
	}
	decisions := explain(t, strings.Join(requests, "\n"), "--mounts", mounts, "--batch")
	answers := strings.Split(strings.TrimSuffix(decisions, "\n"), "\n")
	if len(answers) != len(requests) || len(requests) < 900 {
		t.Fatalf("%d answers for %d requests", len(answers), len(requests))
	}
	classes := make(map[string]int)
	for i, answer := range answers {
		class, reason, _ := strings.Cut(answer, "\t")
		classes[class]++
		if regexp.MustCompile("not known|no table|not in the engine's table|refused").MatchString(reason) {
			t.Errorf("%q is %s only by default: %s", requests[i], class, reason)
		}
	}
	summarise(t, "OpenAPI of the real Vault: %d operations of %d engines and methods decided: %v", len(requests), engines, classes)
}

// realVault is a Vault without anything in front.
type realVault struct {
	w       *world
	address string
}

func (v realVault) get(path string) string {
	v.w.t.Helper()
	r := v.w.do(v.address, lab.RootToken, http.MethodGet, path, "")
	if r.status != http.StatusOK {
		v.w.t.Fatalf("GET %s: %d", path, r.status)
	}
	return r.body
}

// mountEverything mounts each bundled engine under a name of its own and returns how
// many there are.
func (v realVault) mountEverything() int {
	v.w.t.Helper()
	var catalog struct {
		Data struct {
			Auth   []string `json:"auth"`
			Secret []string `json:"secret"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(v.get("sys/plugins/catalog")), &catalog); err != nil {
		v.w.t.Fatal(err)
	}
	mount := func(kind, name, body string) {
		v.w.t.Helper()
		if r := v.w.do(v.address, lab.RootToken, http.MethodPost, "sys/"+kind+"/the-"+name, body); r.status != http.StatusNoContent && r.status != http.StatusOK { // 200 warns of an old engine
			v.w.t.Errorf("mounting %s: %d %s", name, r.status, r.body)
		}
	}
	for _, name := range catalog.Data.Secret {
		mount("mounts", name, `{"type":"`+name+`"}`)
	}
	mount("mounts", "kv2", `{"type":"kv","options":{"version":"2"}}`)
	for _, name := range catalog.Data.Auth {
		mount("auth", name, `{"type":"`+name+`"}`)
	}
	return len(catalog.Data.Secret) + 1 + len(catalog.Data.Auth)
}

// documented are all requests of the OpenAPI document, as `explain --batch` reads them.
func (v realVault) documented() []string {
	v.w.t.Helper()
	type operation struct {
		Parameters []struct {
			Name string `json:"name"`
			In   string `json:"in"`
		} `json:"parameters"`
	}
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(v.get("sys/internal/specs/openapi")), &document); err != nil {
		v.w.t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{[^}]+\}`)
	below := regexp.MustCompile(`(\w)\{`) // role{path}: names of several segments, whose slash is lost in the document
	var out []string
	for path, operations := range document.Paths {
		path = "/v1" + parameter.ReplaceAllString(below.ReplaceAllString(path, "$1/{"), "some")
		for method, raw := range operations {
			if !slices.Contains([]string{"get", "post", "put", "patch", "delete"}, method) {
				continue // parameters, description
			}
			var o operation
			if err := json.Unmarshal(raw, &o); err != nil {
				v.w.t.Fatal(err)
			}
			out = append(out, strings.ToUpper(method)+"\t"+path)
			for _, p := range o.Parameters {
				if p.Name == "list" && p.In == "query" {
					out[len(out)-1] = "GET\t" + path + "?list=true"
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// explain runs the command on a standard input.
func explain(t *testing.T, in string, args ...string) string {
	t.Helper()
	cmd := exec.Command(os.Getenv(envProxy), append([]string{"explain"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Errorf("explain %v: %v\n%s", args, err, errs.String())
	}
	return out.String()
}

// TestExplainReadsARealAuditLog counts what a real Vault wrote.
func TestExplainReadsARealAuditLog(t *testing.T) {
	v := realVault{&world{t: t, http: &http.Client{Transport: &http.Transport{}, Timeout: patience}}, startDevVault(t)}
	t.Cleanup(v.w.http.CloseIdleConnections)
	log := filepath.Join(t.TempDir(), "audit.json")
	send := func(method, path, body string) {
		t.Helper()
		if r := v.w.do(v.address, lab.RootToken, method, path, body); r.status >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
		}
	}
	send("POST", "sys/auth/people", `{"type":"userpass"}`)
	send("POST", "sys/mounts/keys", `{"type":"transit"}`)
	send("POST", "sys/audit/file", `{"type":"file","options":{"file_path":"`+log+`"}}`)
	send("POST", "auth/people/users/ann", `{"password":"planted-password"}`) // primary
	send("POST", "auth/people/login/ann", `{"password":"planted-password"}`) // nearest
	send("POST", "secret/data/a", `{"data":{"k":"planted-value"}}`)          // primary
	for range 6 {
		send("GET", "secret/data/a", "") // nearest
	}
	send("POST", "keys/keys/k", "")                            // primary
	send("POST", "keys/encrypt/k", `{"plaintext":"aGVsbG8="}`) // nearest
	send("GET", "auth/token/lookup-self", "")                  // owner
	send("POST", "sys/leases/tidy", "")                        // operator
	var totals struct {
		Requests, Guessed int
		Classes           map[string]int
		Mounts            []struct {
			Mount, Engine string
			Requests      int
		}
		Regions map[string]struct {
			Requests int `json:"requests"`
			Today    int `json:"crosses_today"`
			Then     int `json:"would_cross"`
		}
	}
	out := explain(t, "", "--audit-log", log, "--log-region", "us-east", "--clients", "127.0.0.0/8=eu-west", "-o", "json")
	if err := json.Unmarshal([]byte(out), &totals); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// One write more than were sent: Vault tries a new device with an entry of its own.
	want := map[string]int{"nearest": 8, "primary": 4, "owner": 1, "operator": 1}
	for class, n := range want {
		if totals.Classes[class] != n {
			t.Errorf("%d requests of class %s, want %d: %s", totals.Classes[class], class, n, out)
		}
	}
	if totals.Requests != 14 || totals.Guessed != 0 || totals.Mounts[0].Mount != "secret/" || totals.Mounts[0].Requests != 7 {
		t.Errorf("%+v", totals)
	}
	if eu := totals.Regions["eu-west"]; eu.Requests != 13 || eu.Today != 13 || eu.Then != 4 {
		t.Errorf("regions: %+v", totals.Regions)
	}
	if strings.Contains(out, "planted") {
		t.Error("values of the log are shown")
	}
	summarise(t, "audit log of the real Vault: %d requests, %d of %d crossings stay with a cluster in the region", totals.Requests, totals.Regions["eu-west"].Today-totals.Regions["eu-west"].Then, totals.Regions["eu-west"].Today)
}

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vrproxy/vrproxy/e2e/postgres"
	"github.com/vrproxy/vrproxy/e2e/vaultbin"
)

// TestClients runs clients that nobody here wrote, as they are.
func TestClients(t *testing.T) {
	w := newWorld(t, "")
	pg := w.databaseEngine()
	t.Run("curl", func(t *testing.T) { w.in(t).curl() })
	t.Run("vault api", func(t *testing.T) { w.in(t).vaultAPI() })
	t.Run("node-vault", func(t *testing.T) { w.in(t).nodeVault() })
	t.Run("consul-template", func(t *testing.T) { w.in(t).consulTemplate(pg) })
	t.Run("vault agent", func(t *testing.T) { w.in(t).vaultAgent(pg) })
}

// program runs a program in a directory of its own and gives what it says. What is
// missing is named with the Debian package that has it.
func (w *world) program(dir string, env []string, name, debian string, args ...string) string {
	w.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		w.t.Fatalf("%s was not found; install the Debian package %s", name, debian)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"HOME=" + w.home, "PATH=" + os.Getenv("PATH"), "VAULT_ADDR=" + w.proxy}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("%s: %v\n%s%s", name, err, &out, &errs)
	}
	return out.String()
}

// curl speaks as curl does: with Expect, a chunked upload, HEAD, LIST, and a path that
// is nobody's to clean.
func (w *world) curl() {
	dir, token := w.t.TempDir(), w.login()
	big := strings.Repeat("x", 900<<10)
	if err := os.WriteFile(filepath.Join(dir, "body.json"), fmt.Appendf(nil, `{"data":{"big":%q}}`, big), 0o600); err != nil {
		w.t.Fatal(err)
	}
	curl := func(args ...string) string {
		w.t.Helper()
		return w.program(dir, nil, "curl", "curl", append([]string{"-sS", "--path-as-is", "-H", "X-Vault-Token: " + token, "-w", "\n%{http_code}"}, args...)...)
	}
	at := w.proxy + "/v1/secret/"
	for _, c := range []struct {
		want string
		args []string
	}{
		{"\n200", []string{"-H", "Expect: 100-continue", "--data-binary", "@body.json", at + "data/curl/big"}},
		{"\n200", []string{"-H", "Transfer-Encoding: chunked", "-X", "POST", "--data-binary", "@body.json", at + "data/curl/chunked"}},
		{"\n200", []string{"-X", "LIST", at + "metadata/curl"}},
		{"\n200", []string{"--compressed", at + "data/hello"}},
		{"\n200", []string{"--http1.0", at + "data/hello"}},
		{"\n404", []string{at + "data/curl/none%2Fsuch"}},
	} {
		if got := curl(c.args...); !strings.HasSuffix(got, c.want) {
			w.t.Errorf("curl %v: %.300s", c.args, got)
		}
	}
	w.caughtUp()
	for _, name := range []string{"big", "chunked"} {
		if got := curl(at + "data/curl/" + name); !strings.Contains(got, big) {
			w.t.Errorf("%s came back as %.300s", name, got)
		}
	}
	// Events are published on the primary; Community has none, but knows the token.
	if got := curl("-i", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", w.proxy+"/v1/sys/events/subscribe/kv"); !strings.Contains(got, "X-Vrproxy-Cluster: us-east") || strings.Contains(got, "invalid token") {
		w.t.Errorf("subscribing: %s", got)
	}
	if got := curl("-I", at+"data/hello"); !strings.Contains(got, "X-Vrproxy-Cluster: "+nearest) {
		w.t.Errorf("HEAD: %s", got)
	}
}

// vaultAPI uses Vault's own Go client, with a renewer.
func (w *world) vaultAPI() {
	client, err := api.NewClient(&api.Config{Address: w.proxy, Timeout: patience})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx := w.t.Context()
	login, err := client.Logical().WriteWithContext(ctx, "auth/userpass/login/demo", map[string]any{"password": "demo"})
	if err != nil {
		w.t.Fatal(err)
	}
	client.SetToken(login.Auth.ClientToken)
	if _, err := client.KVv2("secret").Put(ctx, "api/app", map[string]any{"colour": "blue"}); err != nil {
		w.t.Fatal(err)
	}
	w.caughtUp()
	got, err := client.KVv2("secret").Get(ctx, "api/app")
	if err != nil || got.Data["colour"] != "blue" {
		w.t.Errorf("%v %v", got, err)
	}
	if _, err := client.KVv2("secret").Patch(ctx, "api/app", map[string]any{"size": "1"}); err != nil {
		w.t.Error(err)
	}
	keys, err := client.Logical().ListWithContext(ctx, "secret/metadata/api")
	if err != nil || fmt.Sprint(keys.Data["keys"]) != "[app]" {
		w.t.Errorf("%v %v", keys, err)
	}
	renewer, err := client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: login})
	if err != nil {
		w.t.Fatal(err)
	}
	go renewer.Start()
	defer renewer.Stop()
	select {
	case r := <-renewer.RenewCh():
		if r.Secret.Auth.ClientToken != login.Auth.ClientToken {
			w.t.Error("renewed as another token")
		}
	case err := <-renewer.DoneCh():
		w.t.Errorf("not renewed: %v", err)
	case <-time.After(patience):
		w.t.Error("not renewed in time")
	}
	if _, err := client.Logical().ReadWithContext(ctx, "sys/policies/acl/root"); err == nil || err.(*api.ResponseError).StatusCode != http.StatusForbidden { //nolint:errorlint // the API gives it bare
		w.t.Errorf("a refusal: %v", err)
	}
}

// nodeVault installs what package-lock.json names and runs node/client.js.
func (w *world) nodeVault() {
	dir := w.t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.js"} {
		raw, err := os.ReadFile(filepath.Join("node", name))
		if err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.program(dir, []string{"HOME=" + os.Getenv("HOME")}, "npm", "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	if got := w.program(dir, nil, "node", "nodejs", "client.js"); !strings.Contains(got, "the day is over") {
		w.t.Errorf("%s", got)
	}
}

// consulTemplate renders a secret of KV and credentials of a database.
func (w *world) consulTemplate(pg *postgres.Server) {
	bin, err := vaultbin.Finder{Module: "consultemplate", Tool: "github.com/hashicorp/consul-template", Getenv: os.Getenv, Out: os.Stderr}.Find(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	dir, token := w.t.TempDir(), w.login()
	template := `{{ with secret "secret/data/hello" }}{{ .Data.data.greeting }}{{ end }}
{{ with secret "database/creds/readonly" }}{{ .Data.username }}
{{ .Data.password }}{{ end }}`
	if err := os.WriteFile(filepath.Join(dir, "in.ctmpl"), []byte(template), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.program(dir, []string{"VAULT_TOKEN=" + token}, bin, "none: it is built", "-once", "-vault-renew-token=true", "-template", "in.ctmpl:out")
	w.rendered(filepath.Join(dir, "out"), pg.URL)
}

// rendered checks what a template became: the credentials log in.
func (w *world) rendered(file string, url func(user, password string) string) {
	w.t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "hello") {
		w.t.Fatalf("rendered %q", raw)
	}
	if who, err := whoami(url(lines[1], lines[2])); err != nil || who != lines[1] {
		w.t.Errorf("with the rendered credentials: %q, %v", who, err)
	}
}

// vaultAgent logs in by AppRole, writes its token to a file and renders a template.
func (w *world) vaultAgent(pg *postgres.Server) {
	dir := w.t.TempDir()
	for name, content := range map[string]string{
		"role": "demo", "secret": "demo",
		"in.ctmpl": `{{ with secret "secret/data/hello" }}{{ .Data.data.greeting }}{{ end }}
{{ with secret "database/creds/readonly" }}{{ .Data.username }}
{{ .Data.password }}{{ end }}`,
		"agent.hcl": `
exit_after_auth = true
auto_auth {
  method "approle" {
    config = { role_id_file_path = "role", secret_id_file_path = "secret", remove_secret_id_file_after_reading = false }
  }
  sink "file" { config = { path = "token" } }
}
template {
  source      = "in.ctmpl"
  destination = "out"
}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.program(dir, nil, os.Getenv(envVault), "none: it is built", "agent", "-config=agent.hcl")
	w.rendered(filepath.Join(dir, "out"), pg.URL)
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		w.t.Fatal(err)
	}
	if r := w.do(w.proxy, string(token), http.MethodGet, "auth/token/lookup-self", ""); r.status != http.StatusOK {
		w.t.Errorf("the agent's token: %+v", r)
	}
}

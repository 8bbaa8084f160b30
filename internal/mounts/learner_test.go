package mounts

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
	"github.com/vrproxy/vrproxy/internal/upstream"
	"github.com/vrproxy/vrproxy/routing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vault is one cluster of a lab, and a home called by its name.
type vault struct {
	cluster *lab.Cluster
	pool    *upstream.Pool
}

func (v vault) Client(home string) (*api.Client, error) {
	return v.pool.Client(home, v.cluster.Address())
}

func start(t *testing.T) vault {
	t.Helper()
	l := labtest.Start(t, lab.Config{Clusters: []lab.ClusterConfig{{Name: "one", Role: "primary"}}})
	v := vault{l.Cluster("one"), upstream.New(upstream.Config{Clusters: []upstream.Cluster{{Name: "one"}}})}
	t.Cleanup(v.pool.Close)
	return v
}

// write does something as root, in a namespace.
func (v vault) write(t *testing.T, namespace, path string, data map[string]any) *api.Secret {
	t.Helper()
	client, err := v.Client("one")
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(lab.RootToken)
	if namespace != "" {
		client.SetNamespace(namespace)
	}
	s, err := client.Logical().WriteWithContext(t.Context(), path, data)
	if err != nil {
		t.Fatalf("writing %s: %v", path, err)
	}
	return s
}

// token makes a token that may do what the policy says and nothing else.
func (v vault) token(t *testing.T, policy string) string {
	t.Helper()
	name := fmt.Sprintf("p%d", len(policy))
	v.write(t, "", "sys/policies/acl/"+name, map[string]any{"policy": policy})
	return v.write(t, "", "auth/token/create", map[string]any{"policies": []string{name}, "no_default_policy": true}).Auth.ClientToken
}

// questions is how often the cluster was asked for mounts.
func (v vault) questions() int {
	n := 0
	for _, s := range v.cluster.Served() {
		if strings.HasPrefix(s.Path, "sys/internal/ui/mounts") {
			n++
		}
	}
	return n
}

// engine is what the table knows of a path.
func engine(t *testing.T, l *Learner, namespace, path string) routing.Decision {
	t.Helper()
	d, err := routing.New(nil).Classify(l.Table(), routing.Request{Method: "POST", Path: "/v1/" + path, Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAllMountsAreLearnedWithOneQuestion(t *testing.T) {
	t.Parallel()
	v := start(t)
	v.write(t, "", "sys/mounts/misnamed-database", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	v.write(t, "", "sys/mounts/here/only", map[string]any{"type": "kv", "local": true})
	l := New(v, zap.NewNop())
	if l.Table().Knows("") {
		t.Error("something is known before anything was asked")
	}
	if !l.Learn(t.Context(), "", "secret/data/x", "one", lab.RootToken) {
		t.Fatal("nothing learned")
	}
	for path, want := range map[string]string{
		"secret/data/x": "kv-v2", "kv/x": "kv-v1", "misnamed-database/data/x": "kv-v2", "database/creds/x": "database",
		"transit/encrypt/x": "transit", "auth/userpass/login/x": "auth/userpass", "auth/approle/login": "auth/approle", "here/only/x": "kv-v1",
	} {
		if d := engine(t, l, "", path); d.Engine != want {
			t.Errorf("%s is %q, want %q", path, d.Engine, want)
		}
	}
	if d := engine(t, l, "", "here/only/x"); d.Class != routing.Nearest {
		t.Errorf("a write to a local mount is %s", d.Class)
	}
	if d := engine(t, l, "", "kv/x"); d.Class != routing.Primary {
		t.Errorf("a write to a replicated mount is %s", d.Class)
	}
	if n := v.questions(); n != 1 {
		t.Errorf("%d questions, want 1", n)
	}
}

func TestTheLeastRightsAreEnough(t *testing.T) {
	t.Parallel()
	v := start(t)
	l := New(v, zap.NewNop())
	reader := v.token(t, `path "secret/data/app" { capabilities = ["read"] }`)
	if !l.Learn(t.Context(), "", "secret/data/app", "one", reader) {
		t.Fatal("nothing learned")
	}
	if d := engine(t, l, "", "kv/x"); !d.Guess {
		t.Errorf("the token may not see kv/, and yet: %+v", d)
	}
	// Another token sees another mount; what is known stays.
	other := v.token(t, `path "kv/app" { capabilities = ["read", "update"] }`)
	if !l.Learn(t.Context(), "", "kv/app", "one", other) {
		t.Fatal("nothing learned")
	}
	for path, want := range map[string]string{"secret/data/app": "kv-v2", "kv/app": "kv-v1"} {
		if d := engine(t, l, "", path); d.Engine != want {
			t.Errorf("%s is %q, want %q", path, d.Engine, want)
		}
	}
	login := v.token(t, `path "auth/approle/role/demo/role-id" { capabilities = ["read"] }`)
	if !l.Learn(t.Context(), "", "auth/approle/role/demo/role-id", "one", login) || engine(t, l, "", "auth/approle/login").Engine != "auth/approle" {
		t.Error("an auth mount is not learned by its path")
	}
}

func TestNamespacesAreLearnedApart(t *testing.T) {
	t.Parallel()
	v := start(t)
	v.write(t, "", "sys/namespaces/team", nil)
	v.write(t, "team", "sys/mounts/secret", map[string]any{"type": "transit"})
	v.write(t, "team", "sys/auth/people", map[string]any{"type": "userpass"})
	l := New(v, zap.NewNop())
	if !l.Learn(t.Context(), "team/", "secret/encrypt/x", "one", lab.RootToken) {
		t.Fatal("nothing learned")
	}
	if d := engine(t, l, "team", "secret/encrypt/x"); d.Engine != "transit" || d.Namespace != "team/" {
		t.Errorf("%+v", d)
	}
	if l.Table().Knows("") {
		t.Error("the root namespace was not asked")
	}
	if !l.Learn(t.Context(), "", "secret/data/x", "one", lab.RootToken) || engine(t, l, "", "secret/data/x").Engine != "kv-v2" {
		t.Error("the same name in the root namespace is something else")
	}
}

func TestANamespaceInThePathIsLearnedMountByMount(t *testing.T) {
	t.Parallel()
	v := start(t)
	v.write(t, "", "sys/namespaces/team", nil)
	v.write(t, "team", "sys/mounts/keys", map[string]any{"type": "transit"})
	v.write(t, "team", "sys/auth/people", map[string]any{"type": "userpass"})
	for _, c := range []struct{ path, engine string }{
		{"team/keys/encrypt/x", "transit"}, {"team/auth/people/login/me", "auth/userpass"}, {"team/sys/leases/revoke", "sys"},
	} {
		l := New(v, zap.NewNop())
		if !l.Learn(t.Context(), "", c.path, "one", lab.RootToken) {
			t.Errorf("%s: nothing learned", c.path)
		}
		if d := engine(t, l, "", c.path); d.Engine != c.engine {
			t.Errorf("%s is %q, want %q", c.path, d.Engine, c.engine)
		}
	}
}

// TestAnswersForOnePath has the shapes of Vault 1.21 (pathInternalUIMountRead): the
// path of an auth method comes without its auth/ unless the namespace is in it.
func TestAnswersForOnePath(t *testing.T) {
	t.Parallel()
	kv2 := map[string]any{"version": "2"}
	for _, c := range []struct {
		name, asked, path, typ, accessor string
		options                          any
		want                             routing.Mount
		ok                               bool
	}{
		{"kv version 2", "secret/data/x", "secret/", "kv", "kv_1", kv2, routing.Mount{Path: "secret/", Type: "kv-v2"}, true},
		{"kv without options", "secret/x", "secret/", "kv", "kv_1", nil, routing.Mount{Path: "secret/", Type: "kv-v1"}, true},
		{"generic, the old name", "secret/x", "secret/", "generic", "generic_1", nil, routing.Mount{Path: "secret/", Type: "kv-v1"}, true},
		{"an auth method", "auth/people/login/me", "people/", "userpass", "auth_userpass_1", nil, routing.Mount{Path: "auth/people/", Type: "auth/userpass"}, true},
		{"an auth method with auth/", "auth/people/login/me", "auth/people/", "userpass", "auth_userpass_1", nil, routing.Mount{Path: "auth/people/", Type: "auth/userpass"}, true},
		{"an auth method at auth/auth", "auth/auth/login/me", "auth/", "userpass", "auth_userpass_1", nil, routing.Mount{Path: "auth/auth/", Type: "auth/userpass"}, true},
		{"an auth method of a namespace", "team/auth/people/login/me", "team/auth/people/", "userpass", "auth_userpass_1", nil, routing.Mount{Path: "team/auth/people/", Type: "auth/userpass"}, true},
		{"sys of a namespace", "team/sys/seal", "team/sys/", "ns_system", "ns_system_1", nil, routing.Mount{Path: "team/sys/", Type: "sys"}, true},
		{"tokens of a namespace", "team/auth/token/create", "team/auth/token/", "ns_token", "auth_ns_token_1", nil, routing.Mount{Path: "team/auth/token/", Type: "auth/token"}, true},
		{"the mount itself", "secret", "secret/", "kv", "kv_1", kv2, routing.Mount{Path: "secret/", Type: "kv-v2"}, true},
		{"an answer about something else", "secret/x", "other/", "kv", "kv_1", nil, routing.Mount{}, false},
		{"an answer about nothing", "secret/x", "", "", "", nil, routing.Mount{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, ok := fit(c.path, c.asked, map[string]any{"type": c.typ, "accessor": c.accessor, "options": c.options})
			if ok != c.ok || ok && m != c.want {
				t.Errorf("%+v, %v; want %+v, %v", m, ok, c.want, c.ok)
			}
		})
	}
}

func TestAFruitlessQuestionIsNotRepeated(t *testing.T) {
	t.Parallel()
	v := start(t)
	l := New(v, zap.NewNop())
	for range 3 {
		if l.Learn(t.Context(), "", "nowhere/x", "one", lab.RootToken) {
			t.Fatal("learned a mount that does not exist")
		}
	}
	if n := v.questions(); n != 2 { // the list, then the path
		t.Errorf("%d questions, want 2", n)
	}
	if l.Learn(t.Context(), "", "elsewhere/x", "one", lab.RootToken); v.questions() != 3 {
		t.Errorf("%d questions, want one more for another path", v.questions())
	}
	v.write(t, "", "sys/mounts/nowhere", map[string]any{"type": "kv"})
	l.Forget("")
	if !l.Learn(t.Context(), "", "nowhere/x", "one", lab.RootToken) {
		t.Error("after Forget the question has to be asked again")
	}
}

func TestForgottenMountsAreAskedForAgain(t *testing.T) {
	t.Parallel()
	v := start(t)
	l := New(v, zap.NewNop())
	l.Learn(t.Context(), "", "kv/x", "one", lab.RootToken)
	l.Forget("")
	if d := engine(t, l, "", "kv/x"); !d.Guess {
		t.Errorf("still known: %+v", d)
	}
	if !l.Learn(t.Context(), "", "kv/x", "one", lab.RootToken) {
		t.Error("nothing learned")
	}
}

func TestQuestionsAtTheSameTimeShareOneCall(t *testing.T) {
	t.Parallel()
	v := start(t)
	l := New(v, zap.NewNop())
	v.cluster.Stall()
	var all sync.WaitGroup
	learned := make(chan bool, 50)
	for range 50 {
		all.Go(func() { learned <- l.Learn(t.Context(), "", "secret/data/x", "one", lab.RootToken) })
	}
	v.cluster.Resume()
	all.Wait()
	close(learned)
	for ok := range learned {
		if !ok {
			t.Error("somebody went away without the answer")
		}
	}
	if n := v.questions(); n > 2 { // who comes after the answer asks for its own path
		t.Errorf("%d questions for 50 requests", n)
	}
}

func TestARequestThatIsGoneDoesNotWait(t *testing.T) {
	t.Parallel()
	v := start(t)
	l := New(v, zap.NewNop())
	v.cluster.Stall()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l.Learn(ctx, "", "secret/data/x", "one", lab.RootToken) {
		t.Error("learned from a cluster that says nothing")
	}
	v.cluster.Resume()
	deadline := time.After(5 * time.Second) // the question itself goes on, for those who come after
	for !l.Table().Knows("") {
		select {
		case <-deadline:
			t.Fatal("the question died with the one who asked first")
		case <-time.After(time.Millisecond):
		}
	}
}

// gone is a Vault of which nothing is up.
type gone struct{}

func (gone) Client(string) (*api.Client, error) { return nil, fmt.Errorf("no cluster is up") }

func TestMissesPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		l := New(gone{}, zap.New(core))
		ask := func() { l.Learn(t.Context(), "", "secret/data/x", "one", "hvs.planted") }
		ask()
		ask()
		if logs.Len() != 1 {
			t.Errorf("asked %d times at once", logs.Len())
		}
		<-time.After(missFor)
		ask()
		if logs.Len() != 2 {
			t.Errorf("asked %d times, want once more after a while", logs.Len())
		}
		l.Forget("") // mounts were changed: what is new has to be replicated first
		ask()
		<-time.After(missForNew)
		ask()
		if logs.Len() != 4 {
			t.Errorf("asked %d times, want again soon after an edit", logs.Len())
		}
		for i := range 20_000 { // paths come from clients
			l.Learn(t.Context(), "", fmt.Sprintf("path-%d/x", i), "one", "hvs.planted")
		}
		if n := len(l.misses); n > 10_001 {
			t.Errorf("%d misses remembered", n)
		}
		for _, e := range logs.All() {
			if strings.Contains(fmt.Sprint(e.Message, e.ContextMap()), "planted") {
				t.Errorf("the token is in the log: %v", e)
			}
		}
	})
}

// changing is a Vault whose mounts are what the test says now; no sockets, so that
// time can be the bubble's.
type changing struct {
	mu     sync.Mutex
	typ    string
	tokens []string // that asked
}

func (c *changing) Client(string) (*api.Client, error) {
	cfg := api.DefaultConfig()
	cfg.HttpClient = &http.Client{Transport: c}
	cfg.Address = "http://vault.test"
	return api.NewClient(cfg)
}

func (c *changing) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens = append(c.tokens, r.Header.Get("X-Vault-Token"))
	body := fmt.Sprintf(`{"data":{"secret":{"app/":{"type":%q}},"auth":{}}}`, c.typ)
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (c *changing) become(typ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.typ = typ
}

func TestOldMountsAreAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &changing{typ: "kv"}
		l := New(v, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		l.Refresh("", "one", "early") // nothing is known, so nothing is old
		l.Learn(t.Context(), "", "app/x", "one", "first")
		v.become("transit")
		l.Refresh("", "one", "young")
		synctest.Wait()
		if got := engine(t, l, "", "app/x").Engine; got != "kv-v1" {
			t.Errorf("%s: asked again at once", got)
		}
		<-time.After(refreshAfter)
		for range 100 { // each request tells of its token
			l.Refresh("", "one", "late")
		}
		synctest.Wait()
		if got := engine(t, l, "", "app/x").Engine; got != "transit" {
			t.Errorf("%s is what the mount was long ago", got)
		}
		if got := strings.Join(v.tokens, " "); got != "first late" {
			t.Errorf("asked with %q", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestAWeakTokenDoesNotKeepOthersFromLearning: what one client may not see is asked
// for again with the rights of the next.
func TestAWeakTokenDoesNotKeepOthersFromLearning(t *testing.T) {
	t.Parallel()
	v := start(t)
	l := New(v, zap.NewNop())
	weak := v.token(t, `path "kv/app" { capabilities = ["read"] }`)
	if l.Learn(t.Context(), "", "secret/data/x", "one", weak) {
		t.Fatal("learned what the token may not see")
	}
	if !l.Learn(t.Context(), "", "secret/data/x", "one", lab.RootToken) {
		t.Error("a stronger token was not asked with")
	}
}

func TestRefusalsAreLoggedWithoutThePath(t *testing.T) {
	t.Parallel()
	v := start(t)
	core, logs := observer.New(zapcore.DebugLevel)
	l := New(v, zap.New(core))
	if l.Learn(t.Context(), "", "customers/alice/x", "one", "hvs.planted") {
		t.Error("learned with an invalid token")
	}
	text := fmt.Sprint(logs.All())
	if !strings.Contains(text, "403") || strings.Contains(text, "alice") || strings.Contains(text, "planted") {
		t.Errorf("logged %s", text)
	}
}

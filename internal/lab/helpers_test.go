package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// answer is what a cluster said.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	err    error
}

// at walks into the body: at("data", "metadata", "version").
func (a answer) at(path ...string) any {
	var v any = a.body
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func (a answer) text(path ...string) string {
	s, _ := a.at(path...).(string)
	return s
}

// errors joins the error messages.
func (a answer) errors() string {
	list, _ := a.body["errors"].([]any)
	var out []string
	for _, e := range list {
		out = append(out, e.(string))
	}
	return strings.Join(out, "; ")
}

// client talks to one cluster with one token.
type client struct {
	t     *testing.T
	c     *lab.Cluster
	token string
	http  *http.Client
}

// newClient has connections of its own, closed with the test.
func newClient(t *testing.T, c *lab.Cluster, token string) *client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &client{t: t, c: c, token: token, http: &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// do sends a request; header is pairs of name and value.
func (k *client) do(ctx context.Context, method, path, body string, header ...string) answer {
	k.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, k.c.Address()+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	if k.token != "" {
		req.Header.Set("X-Vault-Token", k.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := k.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, header: resp.Header, err: err, body: map[string]any{}}
	if len(raw) > 0 && bytes.HasPrefix(raw, []byte("{")) {
		a.err = json.Unmarshal(raw, &a.body)
	}
	return a
}

// try sends a request that may fail in transport.
func (k *client) try(method, path, body string, header ...string) answer {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
	defer cancel()
	return k.do(ctx, method, path, body, header...)
}

// want sends a request and checks the status.
func (k *client) want(status int, method, path, body string, header ...string) answer {
	k.t.Helper()
	a := k.try(method, path, body, header...)
	if a.err != nil {
		k.t.Fatalf("%s: %s %s: %v", k.c.Name(), method, path, a.err)
	}
	if a.status != status {
		k.t.Fatalf("%s: %s %s: status %d, want %d: %v", k.c.Name(), method, path, a.status, status, a.body)
	}
	return a
}

// login is a client with a fresh token of the demo user.
func login(t *testing.T, c *lab.Cluster) *client {
	t.Helper()
	k := newClient(t, c, "")
	k.token = k.want(200, "POST", "auth/userpass/login/demo", `{"password":"demo"}`).text("auth", "client_token")
	return k
}

func root(t *testing.T, c *lab.Cluster) *client { return newClient(t, c, lab.RootToken) }

// eventually polls until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

// start is the default lab.
func start(t *testing.T) *lab.Lab {
	t.Helper()
	return labtest.Start(t, lab.Config{Region: "eu-west"})
}

func do(t *testing.T, l *lab.Lab, cluster, action string) {
	t.Helper()
	if err := l.Do(cluster, action); err != nil {
		t.Fatalf("%s %s: %v", action, cluster, err)
	}
}

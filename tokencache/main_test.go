package tokencache

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/goleak"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
	"github.com/vrproxy/vrproxy/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// regions is a lab of three clusters, each a home of its name; a is primary.
type regions struct {
	*lab.Lab
	t    *testing.T
	pool *upstream.Pool
}

var errDown = errors.New("no cluster is up")

// Client makes regions a Vault; a killed cluster is known to be down.
func (r *regions) Client(home string) (*api.Client, error) {
	c := r.Cluster(home)
	if c == nil || c.State() == "killed" {
		return nil, errDown
	}
	return r.pool.Client(home, c.Address())
}

func start(t *testing.T) *regions {
	t.Helper()
	r := &regions{t: t, Lab: labtest.Start(t, lab.Config{Clusters: []lab.ClusterConfig{
		{Name: "a", Role: "primary"}, {Name: "b", Role: "secondary"}, {Name: "c", Role: "secondary"},
	}})}
	r.pool = upstream.New(upstream.Config{Clusters: []upstream.Cluster{{Name: "a"}, {Name: "b"}, {Name: "c"}}})
	t.Cleanup(r.pool.Close)
	return r
}

// client speaks to one cluster with a token.
func (r *regions) client(home, token string) *api.Client {
	r.t.Helper()
	client, err := r.pool.Client(home, r.Cluster(home).Address())
	if err != nil {
		r.t.Fatal(err)
	}
	client.SetToken(token)
	return client
}

func (r *regions) write(home, token, path string, data map[string]any) *api.Secret {
	r.t.Helper()
	s, err := r.client(home, token).Logical().WriteWithContext(r.t.Context(), path, data)
	if err != nil {
		r.t.Fatalf("%s: writing %s: %v", home, path, err)
	}
	return s
}

// everywhere writes at the primary and waits until all clusters have it.
func (r *regions) everywhere(path string, data map[string]any) {
	r.t.Helper()
	r.write("a", lab.RootToken, path, data)
	for _, home := range []string{"b", "c"} {
		eventually(r.t, path+" on "+home, func() bool {
			s, err := r.client(home, lab.RootToken).Logical().ReadWithContext(r.t.Context(), path)
			return err == nil && s != nil
		})
	}
}

// user makes a user everywhere; password "pw-"+name.
func (r *regions) user(name string, settings map[string]any) {
	r.t.Helper()
	data := map[string]any{"password": "pw-" + name, "token_policies": "demo"}
	for k, v := range settings {
		data[k] = v
	}
	r.everywhere("auth/userpass/users/"+name, data)
}

// login logs a user in as a client would, and makes the login a session.
func (r *regions) login(c *Cache, home, user string) (*Session, *Login) {
	r.t.Helper()
	password := "pw-" + user
	if user == "demo" { // the laboratory's own
		password = "demo"
	}
	path, body := "auth/userpass/login/"+user, `{"password":"`+password+`"}`
	s := r.write(home, "", path, map[string]any{"password": password})
	l := &Login{Home: home, Method: "PUT", Path: "/v1/" + path, Body: []byte(body), Auth: s.Auth}
	return c.Adopt(*l), l
}

// served counts the requests that a cluster executed.
func (r *regions) served(home, path string) int {
	n := 0
	for _, s := range r.Cluster(home).Served() {
		if strings.HasPrefix(s.Path, path) {
			n++
		}
	}
	return n
}

// knows reports whether a cluster takes a token.
func (r *regions) knows(home string, token Token) bool {
	r.t.Helper()
	_, err := r.client(home, token.Reveal()).Auth().Token().LookupSelfWithContext(r.t.Context())
	return err == nil
}

// outcomes counts what OnLogin was told.
type outcomes struct {
	mu sync.Mutex
	n  map[string]int
}

func (o *outcomes) add(home, outcome string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n == nil {
		o.n = make(map[string]int)
	}
	o.n[home+" "+outcome]++
}

func (o *outcomes) of(home, outcome string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n[home+" "+outcome]
}

func newCache(t *testing.T, cfg Config) *Cache {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// running runs the cache until the test ends, or until stop is called.
func running(t *testing.T, c *Cache) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var once atomic.Bool
	stop = func() {
		cancel()
		if once.Swap(true) {
			return
		}
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

func token(t *testing.T, s *Session, home string) Token {
	t.Helper()
	tok, err := s.Token(t.Context(), home)
	if err != nil {
		t.Fatalf("token on %s: %v", home, err)
	}
	return tok
}

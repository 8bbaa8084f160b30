package scale

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/replication"
	"github.com/vrproxy/vrproxy/proxy"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

const near, primary, far = "eu-west", "us-east", "us-west" // the clusters, by their regions

// rtt is how long a round trip from the proxies takes.
func rtt(cluster string) time.Duration {
	return map[string]time.Duration{near: 2 * time.Millisecond, primary: 80 * time.Millisecond, far: 140 * time.Millisecond}[cluster]
}

var (
	errRefused = errors.New("connection refused")
	errHung    = errors.New("no answer in time")
)

// kind is what Vault is asked for.
type kind int

const (
	probe kind = iota
	login
	read
	failed // reads that no cluster answered
	kinds
)

// vaults models the clusters: they answer after a round trip, or not at all, and count by
// the second what they were asked.
type vaults struct {
	began time.Time

	mu    sync.Mutex
	lost  map[string]error // why a cluster does not answer
	count map[string]*[kinds][]int
}

func newVaults() *vaults {
	v := &vaults{began: time.Now(), lost: map[string]error{}, count: map[string]*[kinds][]int{}}
	for _, name := range []string{near, primary, far} {
		v.count[name] = &[kinds][]int{}
	}
	return v
}

func (v *vaults) lose(cluster string, why error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lost[cluster] = why
}

// note counts something in the present second.
func (v *vaults) note(cluster string, k kind) {
	v.mu.Lock()
	defer v.mu.Unlock()
	second := int(time.Since(v.began) / time.Second)
	series := &v.count[cluster][k]
	for len(*series) <= second {
		*series = append(*series, 0)
	}
	(*series)[second]++
}

// series gives the counts of the seconds from one to another.
func (v *vaults) series(cluster string, k kind, from, to time.Duration) []int {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.count[cluster][k]
	out := make([]int, int((to-from)/time.Second))
	for i := range out {
		if s := i + int(from/time.Second); s < len(all) {
			out[i] = all[s]
		}
	}
	return out
}

// ask is one exchange with a cluster.
func (v *vaults) ask(ctx context.Context, cluster string, k kind) error {
	v.note(cluster, k)
	v.mu.Lock()
	lost := v.lost[cluster]
	v.mu.Unlock()
	wait := rtt(cluster)
	if errors.Is(lost, errHung) {
		wait = time.Hour
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errHung, ctx.Err())
	case <-timer.C:
		return lost
	}
}

// Health and Replication make vaults a health.Prober.
func (v *vaults) Health(ctx context.Context, cluster, _ string) (health.Report, error) {
	if err := v.ask(ctx, cluster, probe); err != nil {
		return health.Report{}, err
	}
	mode := "secondary"
	if cluster == primary {
		mode = "primary"
	}
	return health.Report{Initialized: true, PerformanceMode: mode, DRMode: "disabled", ClusterID: cluster, ClusterName: cluster, Version: "1.21.1+ent", Took: rtt(cluster)}, nil
}

func (v *vaults) Replication(ctx context.Context, cluster, _ string) (replication.Status, error) {
	if err := v.ask(ctx, cluster, probe); err != nil {
		return replication.Status{}, err
	}
	mode := "secondary"
	if cluster == primary {
		mode = "primary"
	}
	return replication.Status{Performance: replication.Mode{Mode: mode, State: "running", ClusterID: "set", ConnectionState: "ready"}, DR: replication.Mode{Mode: "disabled"}}, nil
}

// RoundTrip answers logins and renewals.
func (v *vaults) RoundTrip(req *http.Request) (*http.Response, error) {
	cluster := strings.SplitN(req.URL.Host, ".", 2)[0]
	if err := v.ask(req.Context(), cluster, login); err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`{"auth":{"client_token":"hvs.%d","accessor":"a","lease_duration":3600,"renewable":true,"token_type":"service"}}`, rand.Uint64())
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader([]byte(body))), Request: req}, nil
}

// Client makes vaults a tokencache.Vault.
func (v *vaults) Client(home string) (*api.Client, error) {
	cfg := api.DefaultConfig()
	if cfg.Error != nil {
		return nil, cfg.Error
	}
	cfg.Address, cfg.MaxRetries, cfg.HttpClient = "http://"+home+".example.com", 0, &http.Client{Transport: v}
	return api.NewClient(cfg)
}

// node is one proxy with its clients.
type node struct {
	vaults  *vaults
	checker *health.Checker
	planner *routing.Planner
	tokens  *tokencache.Cache
	budget  *proxy.Budget
}

// fleet is what is simulated.
type fleet struct {
	proxies  int
	sessions int           // of each proxy
	every    time.Duration // each session reads
	interval time.Duration // of probes
	prewarm  bool
	seed     uint64
}

func (f fleet) node(t *testing.T, v *vaults) *node {
	t.Helper()
	cfg := health.Config{Region: near, Prober: v, Interval: f.interval}
	for _, name := range []string{near, primary, far} {
		cfg.Clusters = append(cfg.Clusters, health.ClusterConfig{Name: name, Region: name, Addresses: []string{"http://" + name + ".example.com"}})
	}
	n := &node{vaults: v, checker: health.New(cfg), budget: proxy.NewBudget()}
	n.planner = routing.NewPlanner(routing.Preferences{Preference: health.Preference{Window: 15 * time.Millisecond}})
	tc := tokencache.Config{Vault: v, Replay: true, LoginTimeout: 5 * time.Second, Budget: n.budget}
	if f.prewarm {
		tc.Prewarm = n.ahead
	}
	var err error
	if n.tokens, err = tokencache.New(tc); err != nil {
		t.Fatal(err)
	}
	return n
}

// ahead names the primary and the next-nearest, as the proxy does.
func (n *node) ahead() []string {
	var homes []string
	for i, c := range n.planner.Nearest(n.checker.Topology()) {
		if (i == 1 || c.Role == health.RolePrimary) && c.Usable() && !slices.Contains(homes, c.Name) {
			homes = append(homes, c.Name)
		}
	}
	return homes
}

// client logs in at the nearest and then reads, until the end.
func (n *node) client(ctx context.Context, r *rand.Rand, every time.Duration) {
	pause(ctx, time.Duration(r.Int64N(int64(every))))
	s := n.tokens.Adopt(tokencache.Login{
		Home: near, Method: http.MethodPut, Path: "/v1/auth/userpass/login/demo", Body: []byte(`{"password":"demo"}`),
		Auth: &api.SecretAuth{ClientToken: fmt.Sprintf("hvs.client%d", r.Uint64()), Accessor: "c", LeaseDuration: 86400, Renewable: true},
	})
	for pause(ctx, every) {
		n.read(ctx, s)
	}
}

// read is what proxy.exchange does for a read, without HTTP: candidates in order, each with
// a token of its own, and twice a probe's timeout for an answer.
func (n *node) read(ctx context.Context, s *tokencache.Session) {
	n.budget.Earn(0.2)
	d := routing.Decision{Class: routing.Nearest, Effect: routing.Repeatable}
	plan, err := n.planner.Plan(n.checker.Topology(), d, routing.Constraint{Home: s.Home(), HomeFirst: true, Lot: s.Lot()})
	if err == nil {
		for _, c := range plan.Candidates {
			if n.attempt(ctx, s, c.Name) == nil {
				return
			}
		}
	}
	if ctx.Err() == nil {
		n.vaults.note(near, failed)
	}
}

func (n *node) attempt(ctx context.Context, s *tokencache.Session, cluster string) error {
	if _, err := s.Token(ctx, cluster); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	address := "http://" + cluster + ".example.com"
	if err := n.vaults.ask(ctx, cluster, read); err != nil {
		n.checker.Failed(cluster, address, err)
		return err
	}
	n.checker.Succeeded(cluster, address)
	return nil
}

// pause reports whether there is more to do after a while.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/goleak"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
	"github.com/vrproxy/vrproxy/internal/replication"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wires are the connections of one process, which can die at its n-th order: before the
// order leaves, or after it was carried out and before the answer arrives.
type wires struct {
	base   *http.Transport
	mu     sync.Mutex
	mortal bool
	left   int // orders until death
	before bool
	dead   bool
	orders []string
	killed func()
}

var errDead = errors.New("this process was killed")

func (w *wires) Client(_, address string) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{Address: address, HttpClient: &http.Client{Transport: w}, Timeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	c.ClearToken()
	return c, nil
}

func (w *wires) RoundTrip(r *http.Request) (*http.Response, error) {
	order := r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/v1/sys/replication/")
	if w.blocks(order, r.URL.Path) {
		return nil, errDead
	}
	resp, err := w.base.RoundTrip(r)
	if err == nil && w.gone() {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return nil, errDead
	}
	return resp, err
}

// blocks counts an order, and reports whether nothing leaves any more.
func (w *wires) blocks(order bool, path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead || !order {
		return w.dead
	}
	w.orders = append(w.orders, path)
	w.left--
	if w.left == -1 && w.mortal {
		w.dead = true
		w.killed()
	}
	return w.dead && w.before
}

func (w *wires) gone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

type silent struct{}

func (silent) Say(string)      {}
func (silent) Progress(string) {}

func bareLab(t *testing.T, unique bool) *lab.Lab {
	t.Helper()
	return labtest.Start(t, lab.Config{Bare: true, SyncTime: 20 * time.Millisecond, Pause: 10 * time.Millisecond, UniqueIDs: unique})
}

func newWires(t *testing.T, left int, before bool) *wires {
	t.Helper()
	w := &wires{base: &http.Transport{}, mortal: left >= 0, left: left, before: before}
	t.Cleanup(w.base.CloseIdleConnections)
	return w
}

func operator(l *lab.Lab, w *wires) *Operator {
	var clusters []Cluster
	for i, c := range l.Clusters() {
		clusters = append(clusters, Cluster{Name: c.Name(), Region: c.Region(), DROf: lab.DefaultClusters()[i].DROf, Addresses: []string{c.Address()}})
	}
	return New(Config{
		Vaults: w, Clusters: clusters, Out: silent{}, Poll: 20 * time.Millisecond, Within: 10 * time.Second,
		Token: func(string) (replication.Secret, error) { return replication.NewSecret(lab.RootToken), nil },
		OperationToken: func(string) (replication.Secret, error) {
			return replication.NewSecret("none"), nil
		},
	})
}

func goals() []replication.Goal {
	return []replication.Goal{
		{Kind: replication.Performance, Primary: "us-east", Secondaries: []string{"us-west"}},
		{Kind: replication.DR, Primary: "us-east", Secondaries: []string{"us-east-dr"}},
	}
}

func consent() replication.Consent {
	return replication.Consent{Confirmed: []string{"us-west", "us-east-dr"}}
}

func setUp(ctx context.Context, o *Operator) error {
	for _, g := range goals() {
		if err := o.Setup(ctx, g, consent(), Reach{}); err != nil {
			return err
		}
	}
	return nil
}

// shape is the end of a setup, without what differs from run to run.
func shape(o *Operator) string {
	pic := replication.Look(o.Facts(context.Background()))
	var b strings.Builder
	for _, v := range pic.Clusters {
		for _, l := range []replication.Link{v.Performance, v.DR} {
			fmt.Fprintf(&b, "%s %s %s %s %v %v; ", v.Name, l.Mode, l.State, l.Primary, l.Secondaries, l.Missing)
		}
	}
	return b.String() + fmt.Sprint(pic.Problems)
}

// TestSetupKilledAtEveryOrder kills a setup at each of its orders, before the order is
// sent and after it was carried out, and starts it again: the end is always the same,
// and no cluster's data are replaced twice.
func TestSetupKilledAtEveryOrder(t *testing.T) {
	t.Parallel()
	l := bareLab(t, true)
	whole := newWires(t, -1, false)
	if err := setUp(t.Context(), operator(l, whole)); err != nil {
		t.Fatal(err)
	}
	o := operator(l, whole)
	want := shape(o)
	if strings.Count(want, "stream-wals") != 2 || len(whole.orders) != 6 {
		t.Fatalf("%s\n%v", want, whole.orders)
	}
	for n := range whole.orders {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("order %d, before it is sent: %v", n, before), func(t *testing.T) {
				t.Parallel()
				killedAndResumed(t, n, before, want)
			})
		}
	}
}

func killedAndResumed(t *testing.T, n int, before bool, want string) {
	t.Helper()
	l := bareLab(t, n%2 == 0)
	first := newWires(t, n, before)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	first.killed = kill
	if err := setUp(ctx, operator(l, first)); err == nil {
		t.Fatal("it was not killed")
	}
	second := newWires(t, -1, false)
	o := operator(l, second)
	if err := setUp(t.Context(), o); err != nil {
		t.Fatalf("resuming: %v", err)
	}
	deadline, tick := time.After(10*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for shape(o) != want {
		select {
		case <-deadline:
			t.Fatalf("ended as\n%s\nnot as\n%s", shape(o), want)
		case <-tick.C:
		}
	}
	for _, c := range []string{"us-west", "us-east-dr"} {
		joined := 0
		for _, s := range l.Cluster(c).Served() {
			if strings.HasSuffix(s.Path, "secondary/enable") && s.Status < 300 {
				joined++
			}
		}
		if joined != 1 {
			t.Errorf("the data of %s were replaced %d times", c, joined)
		}
	}
}

// TestOnePlaceReplaces holds that a cluster is made a secondary in one place only, which
// wants a warrant, and that a warrant is made by Authorise only.
func TestOnePlaceReplaces(t *testing.T) {
	t.Parallel()
	found := map[string]int{}
	err := filepath.WalkDir("../../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "lab" || d.Name() == "e2e" || d.Name() == ".git") {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		raw, err := os.ReadFile(path)
		found["secondary/enable"] += strings.Count(string(raw), `secondary/enable"`)
		found["Warrant{"] += strings.Count(string(raw), "Warrant{target")
		return err
	})
	if err != nil || found["secondary/enable"] != 1 || found["Warrant{"] != 1 {
		t.Errorf("%v, %v", found, err)
	}
	w := newWires(t, -1, false)
	o := operator(bareLab(t, false), w)
	err = o.replace(t.Context(), replication.Warrant{}, replication.Performance, "us-west", replication.NewSecret("x"), Reach{})
	if !errors.Is(err, errNoWarrant) || len(w.orders) != 0 {
		t.Errorf("%v, %v", err, w.orders)
	}
}

func TestLostAnswersAreNotRepeated(t *testing.T) {
	t.Parallel()
	l := bareLab(t, false)
	w := newWires(t, -1, false)
	o := operator(l, w)
	l.Cluster("us-east").ResetAfter(0)
	g := replication.Goal{Kind: replication.Performance, Primary: "us-east"}
	l.Cluster("us-east").ResetAfter(1)
	// The order is carried out and its answer lost: what the cluster says then counts.
	if err := o.Setup(t.Context(), g, consent(), Reach{}); err != nil || len(w.orders) != 1 {
		t.Errorf("%v, %v", err, w.orders)
	}
	g = replication.Goal{Kind: replication.Performance, Primary: "us-east", Secondaries: []string{"us-west"}}
	l.Cluster("us-west").Kill()
	if err := o.Setup(t.Context(), g, consent(), Reach{}); err == nil || !strings.Contains(err.Error(), "us-west can't be reached") {
		t.Error(err)
	}
}

func TestErrorsCarryNoSecrets(t *testing.T) {
	t.Parallel()
	const jwt = "eyJhbGciOiJFUzUxMiJ9.eyJhZGRyIjoiaHR0cCJ9.c2lnbmF0dXJl"
	for _, err := range []error{
		&api.ResponseError{StatusCode: 500, Errors: []string{"can't unwrap " + jwt}},
		&api.ResponseError{StatusCode: 400, Errors: []string{"token hvs.CAESIJ0123456789abcdef is bad"}},
		errors.New("sending " + jwt),
	} {
		if text := refusal(replication.Facts{Name: "a"}, "sys/x", err).Error(); strings.Contains(text, "eyJ") || strings.Contains(text, "hvs.") {
			t.Error(text)
		}
	}
	s := replication.NewSecret(jwt)
	if text := fmt.Sprintf("%v %s %+v %#v %q", s, s, s, s, s); strings.Contains(text, "eyJ") {
		t.Error(text)
	}
}

// TestStatusWithoutItsEndpoint: a listener without the status endpoint, or a Vault that tells
// less, is unknown and not wrong.
func TestStatusWithoutItsEndpoint(t *testing.T) {
	t.Parallel()
	l := labtest.Start(t, lab.Config{})
	w := newWires(t, -1, false)
	closed := closedStatus{w}
	o := operator(l, w)
	o.cfg.Vaults = closed
	pic := replication.Look(o.Facts(t.Context()))
	for _, v := range pic.Clusters {
		if !v.Reachable || v.Performance.WALDistance != nil || v.Performance.Mode == "unknown" {
			t.Errorf("%+v", v)
		}
	}
	if len(pic.Problems) != 0 {
		t.Errorf("%v", pic.Problems)
	}
}

// closedStatus answers as a listener with disable_replication_status_endpoints.
type closedStatus struct{ *wires }

func (c closedStatus) Client(cluster, address string) (*api.Client, error) {
	client, err := c.wires.Client(cluster, address)
	if err != nil {
		return nil, err
	}
	conf := client.CloneConfig()
	conf.HttpClient = &http.Client{Transport: c}
	return api.NewClient(conf)
}

func (c closedStatus) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, "/v1/sys/replication/") {
		return &http.Response{StatusCode: 404, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"errors":[]}`)), Request: r}, nil
	}
	return c.wires.RoundTrip(r)
}

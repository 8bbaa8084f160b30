package health

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// script is a Prober whose nodes do as they are told.
type script struct {
	mu     sync.Mutex
	err    map[string]error         // by address
	report map[string]Report        // by address; default: serving()
	takes  map[string]time.Duration // by address; how long an answer takes
	status func() (replication.Status, error)
	asked  []asked
}

type asked struct {
	address string
	at      time.Time
}

func (s *script) Health(ctx context.Context, _, address string) (Report, error) {
	s.mu.Lock()
	s.asked = append(s.asked, asked{address, time.Now()})
	err, report, known, takes := s.err[address], s.report[address], s.report != nil, s.takes[address]
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return Report{}, ctx.Err()
	}
	if !known {
		report = serving()
	}
	return report, err
}

func (s *script) Replication(context.Context, string, string) (replication.Status, error) {
	if s.status != nil {
		return s.status()
	}
	return replication.Status{}, errors.New("switched off")
}

func (s *script) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// times are when an address was asked.
func (s *script) times(address string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []time.Time
	for _, a := range s.asked {
		if a.address == address {
			out = append(out, a.at)
		}
	}
	return out
}

var errRefused = errors.New(`get "http://a:8200/v1/sys/health": dial tcp a:8200: connection refused`)

// running starts a checker of clusters with one node each, in a synctest bubble.
func running(t *testing.T, s *script, names ...string) *Checker {
	t.Helper()
	cfg := Config{Region: "eu", Prober: s}
	for _, n := range names {
		cfg.Clusters = append(cfg.Clusters, ClusterConfig{Name: n, Region: "eu", Addresses: []string{n}})
	}
	return run(t, New(cfg))
}

// run runs a checker until the test ends, and waits for its first round.
func run(t *testing.T, c *Checker) *Checker {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	})
	<-c.FirstRound()
	return c
}

// pass lets time go by in a synctest bubble, and what became due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func stateOf(t *testing.T, c *Checker, name string) State {
	t.Helper()
	cl, ok := c.Topology().Cluster(name)
	if !ok {
		t.Fatalf("no cluster %q", name)
	}
	return cl.State
}

// until waits for a state and tells how long it took.
func until(t *testing.T, c *Checker, name string, want State) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		changed := c.Changed()
		if stateOf(t, c, name) == want {
			return time.Since(start)
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("%s never became %s", name, want)
		}
	}
}

func TestNothingIsKnownBeforeTheFirstProbe(t *testing.T) {
	t.Parallel()
	c := New(Config{Clusters: []ClusterConfig{{Name: "a", Addresses: []string{"a"}}}})
	cl := c.Topology().Clusters[0]
	if cl.State != StateDown || cl.Reason != "not probed yet" || cl.Role != RoleUnknown {
		t.Errorf("%+v", cl)
	}
	select {
	case <-c.FirstRound():
		t.Error("nobody was probed")
	default:
	}
}

func TestTheFirstRoundEndsWhenEveryNodeHasAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := running(t, &script{takes: map[string]time.Duration{"slow": time.Hour, "quick": 10 * time.Millisecond}}, "quick", "slow")
		if took := time.Since(start); took != time.Second { // the default timeout
			t.Errorf("took %v, want the timeout", took)
		}
		slow, _ := c.Topology().Cluster("slow")
		if stateOf(t, c, "quick") != StateHealthy || slow.State != StateDown || slow.Reason != "probe failed: timeout" {
			t.Errorf("quick is %s, slow is %s (%s)", stateOf(t, c, "quick"), slow.State, slow.Reason)
		}
	})
}

func TestALossSeenByARequestIsConfirmedFast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{err: map[string]error{}}
		c := running(t, s, "a", "b")
		pass(time.Second)
		s.set(func() { s.err["a"] = errRefused })
		c.Failed("a", "a", errRefused)
		if got := stateOf(t, c, "a"); got != StateDegraded {
			t.Errorf("after one failed request a is %s, want degraded at once", got)
		}
		// One for the request, one at once, one after a tenth of the interval.
		if took := until(t, c, "a", StateDown); took > 250*time.Millisecond {
			t.Errorf("took %v, want no more than a tenth of the interval and its jitter", took)
		}
		if cl, _ := c.Topology().Cluster("a"); cl.Reason != "probe failed: connection refused" {
			t.Errorf("reason %q", cl.Reason)
		}
		if got := stateOf(t, c, "b"); got != StateHealthy {
			t.Errorf("b is %s", got)
		}
	})
}

func TestAFailedRequestAloneTakesNothingDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running(t, &script{}, "a")
		for range 100 {
			c.Failed("a", "a", errRefused)
		}
		if took := until(t, c, "a", StateHealthy); took > holdBase+time.Millisecond {
			t.Errorf("took %v, want %v", took, holdBase)
		}
		c.Failed("nobody", "a", errRefused) // a cluster that a reload removed
		c.Failed("a", "nobody", errRefused)
	})
}

func TestALossWithoutRequestsIsSeenToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{err: map[string]error{}}
		c := running(t, s, "a")
		s.set(func() { s.err["a"] = errRefused })
		if took := until(t, c, "a", StateDown); took > 2200*time.Millisecond+2*220*time.Millisecond {
			t.Errorf("took %v, want one interval and two fast rechecks", took)
		}
	})
}

func TestAClusterHasToRise(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{err: map[string]error{"a": errRefused}}
		c := running(t, s, "a")
		s.set(func() { delete(s.err, "a") })
		if took := until(t, c, "a", StateHealthy); took < 2*1800*time.Millisecond || took > 2*2200*time.Millisecond {
			t.Errorf("took %v, want two probes", took)
		}
	})
}

func TestProbesAreSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		running(t, s, "a")
		pass(5 * time.Minute)
		times := s.times("a")
		var gaps []time.Duration
		for i := range times[1:] {
			gaps = append(gaps, times[i+1].Sub(times[i]))
		}
		if low, high := slices.Min(gaps), slices.Max(gaps); low < 1800*time.Millisecond || high > 2200*time.Millisecond || high-low < 100*time.Millisecond {
			t.Errorf("%d gaps from %v to %v, want 2s with 10%% jitter", len(gaps), low, high)
		}
	})
}

func TestDrainedUntilUndrained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running(t, &script{}, "a", "b")
		if err := c.Drain("a"); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute) // probes do not undo it
		cl, _ := c.Topology().Cluster("a")
		if cl.State != StateDrained || cl.Usable() || cl.Reason == "" {
			t.Errorf("%s (%s), usable %v", cl.State, cl.Reason, cl.Usable())
		}
		if err := c.Undrain("a"); err != nil || stateOf(t, c, "a") != StateHealthy {
			t.Errorf("%s, %v", stateOf(t, c, "a"), err)
		}
		if err := c.Drain("c"); !errors.Is(err, ErrUnknownCluster) {
			t.Errorf("draining nobody: %v", err)
		}
	})
}

func TestTheRoleIsKeptWhileDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		primary := serving(func(r *Report) { r.PerformanceMode, r.ClusterID = replication.ModePrimary, "id-a" })
		secondary := serving(func(r *Report) { r.PerformanceMode = replication.ModeSecondary })
		s := &script{err: map[string]error{}, report: map[string]Report{"a": primary, "b": secondary}}
		s.status = func() (replication.Status, error) {
			return replication.Status{Performance: replication.Mode{Mode: "secondary", State: "stream-wals", ClusterID: "set"}}, nil
		}
		c := running(t, s, "a", "b")
		s.set(func() { s.err["a"] = errRefused })
		until(t, c, "a", StateDown)
		a, _ := c.Topology().Cluster("a")
		if a.Role != RolePrimary || a.ClusterID != "id-a" || a.SetID != "set" || c.Topology().Primary != "a" {
			t.Errorf("%+v, primary %q", a, c.Topology().Primary)
		}
		// Sealed, it says "unknown": no news either.
		s.set(func() {
			delete(s.err, "a")
			s.report["a"] = Report{Initialized: true, Sealed: true, Standby: true, PerformanceMode: "unknown", DRMode: "unknown"}
		})
		pass(10 * time.Second)
		if a, _ := c.Topology().Cluster("a"); a.Role != RolePrimary || a.Reason != "sealed" {
			t.Errorf("%s (%s)", a.Role, a.Reason)
		}
		// The status endpoint going away does not unlink a secondary.
		s.set(func() { s.status = nil })
		pass(10 * time.Second)
		if b, _ := c.Topology().Cluster("b"); !b.Linked || b.Role != RoleSecondary {
			t.Errorf("b is %s, linked %v", b.Role, b.Linked)
		}
	})
}

func TestAPinnedRoleWins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := run(t, New(Config{Prober: &script{}, Clusters: []ClusterConfig{
			{Name: "a", Role: RolePrimary, Addresses: []string{"a"}}, {Name: "b", Addresses: []string{"b"}},
		}}))
		if a, _ := c.Topology().Cluster("a"); a.Role != RolePrimary || !a.Pinned || c.Topology().Primary != "a" {
			t.Errorf("%+v, primary %q", a, c.Topology().Primary)
		}
	})
}

func TestTheBestNodeSpeaksForItsCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{
			err:    map[string]error{},
			report: map[string]Report{"active": serving(), "standby": serving(func(r *Report) { r.Standby = true })},
			takes:  map[string]time.Duration{"active": 20 * time.Millisecond, "standby": 10 * time.Millisecond},
		}
		c := run(t, New(Config{Prober: s, Clusters: []ClusterConfig{{Name: "a", Addresses: []string{"standby", "active"}}}}))
		a := c.Topology().Clusters[0]
		if a.Nodes[0].Address != "active" || !a.Nodes[0].Active || a.Nodes[1].Active || a.RTT != 20*time.Millisecond {
			t.Errorf("%+v", a)
		}
		s.set(func() { s.err["active"] = errRefused })
		pass(10 * time.Second)
		a = c.Topology().Clusters[0]
		if a.State != StateHealthy || a.Nodes[0].Address != "standby" || a.Nodes[1].State != StateDown {
			t.Errorf("%+v", a)
		}
	})
}

func TestChangedWakesEverybodyWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running(t, &script{}, "a")
		before := c.Topology().Generation
		var woken sync.WaitGroup
		for range 10 {
			changed := c.Changed()
			woken.Go(func() { <-changed })
		}
		if err := c.Drain("a"); err != nil {
			t.Fatal(err)
		}
		woken.Wait()
		if now := c.Topology().Generation; now <= before {
			t.Errorf("generation %d after %d", now, before)
		}
	})
}

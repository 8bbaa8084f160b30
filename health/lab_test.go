package health_test

import (
	"context"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
	"github.com/vrproxy/vrproxy/internal/upstream"
)

// watching probes a default lab and waits for the first round.
func watching(t *testing.T) (*lab.Lab, *health.Checker) {
	t.Helper()
	l := labtest.Start(t, lab.Config{Region: "eu-west"})
	cfg := health.Config{Region: "eu-west", Interval: 20 * time.Millisecond}
	var pools upstream.Config
	for _, c := range lab.DefaultClusters() {
		cfg.Clusters = append(cfg.Clusters, health.ClusterConfig{Name: c.Name, Region: c.Region, DROf: c.DROf, Addresses: []string{l.Cluster(c.Name).Address()}})
		pools.Clusters = append(pools.Clusters, upstream.Cluster{Name: c.Name})
	}
	pool := upstream.New(pools)
	cfg.Prober = pool
	checker := health.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- checker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
		pool.Close()
	})
	<-checker.FirstRound()
	return l, checker
}

// eventually waits for a topology.
func eventually(t *testing.T, c *health.Checker, what string, holds func(*health.Topology) bool) *health.Topology {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		changed, now := c.Changed(), c.Topology()
		if holds(now) {
			return now
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("never happened: %s; last %+v", what, now)
		}
	}
}

func get(t *testing.T, top *health.Topology, name string) *health.Cluster {
	t.Helper()
	c, ok := top.Cluster(name)
	if !ok {
		t.Fatalf("no cluster %q", name)
	}
	return c
}

func do(t *testing.T, l *lab.Lab, cluster, action string) {
	t.Helper()
	if err := l.Do(cluster, action); err != nil {
		t.Fatal(err)
	}
}

func TestAReplicationSetIsDiscovered(t *testing.T) {
	t.Parallel()
	l, checker := watching(t)
	top := checker.Topology()
	for name, role := range map[string]health.Role{
		"us-east": health.RolePrimary, "us-west": health.RoleSecondary, "eu-west": health.RoleSecondary, "us-east-dr": health.RoleDR,
	} {
		c := get(t, top, name)
		if c.Role != role || c.State != health.StateHealthy || c.Usable() != (role != health.RoleDR) {
			t.Errorf("%s is %s and %s (%s)", name, c.Role, c.State, c.Reason)
		}
		if c.ClusterID != l.Cluster(name).ID() || c.RTT <= 0 {
			t.Errorf("%s has id %q and round trip %v", name, c.ClusterID, c.RTT)
		}
		if role == health.RoleSecondary && (!c.Linked || c.Lag < 0 || c.SetID == "" || c.SetID != get(t, top, "us-east").SetID) {
			t.Errorf("%s: linked %v, lag %v, set %q", name, c.Linked, c.Lag, c.SetID)
		}
	}
	if top.Primary != "us-east" || top.SplitBrain {
		t.Errorf("primary %q", top.Primary)
	}
}

func TestLagGrowsWithoutALink(t *testing.T) {
	t.Parallel()
	l, checker := watching(t)
	do(t, l, "eu-west", "partition")
	top := eventually(t, checker, "a lag of 200ms", func(top *health.Topology) bool { return get(t, top, "eu-west").Lag > 200*time.Millisecond })
	if c := get(t, top, "eu-west"); c.Linked || c.State != health.StateHealthy {
		t.Errorf("linked %v, %s: reads go on, writes do not", c.Linked, c.State)
	}
	do(t, l, "eu-west", "heal")
	eventually(t, checker, "the link is back", func(top *health.Topology) bool {
		c := get(t, top, "eu-west")
		return c.Linked && c.Lag < 200*time.Millisecond
	})
}

func TestEveryKindOfLossIsSeen(t *testing.T) {
	t.Parallel()
	for action, undo := range map[string]string{"kill": "restart", "seal": "unseal", "stall": "resume", "blackhole": "heal"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			l, checker := watching(t)
			do(t, l, "us-west", action)
			top := eventually(t, checker, "the loss", func(top *health.Topology) bool { return get(t, top, "us-west").State == health.StateDown })
			if c := get(t, top, "us-west"); c.Reason == "" || c.Role != health.RoleSecondary {
				t.Errorf("%s, reason %q", c.Role, c.Reason)
			}
			do(t, l, "us-west", undo)
			eventually(t, checker, "the recovery", func(top *health.Topology) bool { return get(t, top, "us-west").State == health.StateHealthy })
		})
	}
}

func TestAPromotedDRCopyTakesOver(t *testing.T) {
	t.Parallel()
	l, checker := watching(t)
	do(t, l, "us-east", "kill")
	top := eventually(t, checker, "the loss", func(top *health.Topology) bool { return get(t, top, "us-east").State == health.StateDown })
	if top.Primary != "us-east" {
		t.Errorf("a lost primary is no longer %q", top.Primary)
	}
	do(t, l, "us-east-dr", "promote")
	top = eventually(t, checker, "the promotion", func(top *health.Topology) bool { return top.Primary == "us-east-dr" })
	if c := get(t, top, "us-east-dr"); !c.Usable() || c.Home() != "us-east" {
		t.Errorf("usable %v, home %s", c.Usable(), c.Home())
	}
	eventually(t, checker, "the secondaries follow", func(top *health.Topology) bool { return get(t, top, "eu-west").Linked })
	do(t, l, "us-east", "restart") // it still thinks that it is primary
	top = eventually(t, checker, "it is back", func(top *health.Topology) bool { return get(t, top, "us-east").Disbelieved })
	if top.Primary != "us-east-dr" || top.SplitBrain || get(t, top, "us-east").Usable() {
		t.Errorf("primary %q, split brain of %v", top.Primary, top.Claimants)
	}
	do(t, l, "us-east", "demote")
	top = eventually(t, checker, "it is believed again", func(top *health.Topology) bool { return !get(t, top, "us-east").Disbelieved })
	if top.SplitBrain || top.Primary != "us-east-dr" {
		t.Errorf("primary %q, split brain of %v", top.Primary, top.Claimants)
	}
}

func TestASecondPrimaryIsASplitBrain(t *testing.T) {
	t.Parallel()
	l, checker := watching(t)
	do(t, l, "us-east-dr", "promote") // while us-east is well
	top := eventually(t, checker, "split brain", func(top *health.Topology) bool { return top.SplitBrain })
	if top.Primary != "" || len(top.Claimants) != 2 {
		t.Errorf("primary %q, claimants %v", top.Primary, top.Claimants)
	}
	do(t, l, "us-east", "demote")
	eventually(t, checker, "one primary", func(top *health.Topology) bool { return !top.SplitBrain && top.Primary == "us-east-dr" })
}

func TestStandbysServe(t *testing.T) {
	t.Parallel()
	l, checker := watching(t)
	l.Cluster("eu-west").Pose("performance-standby")
	top := eventually(t, checker, "the node is a standby", func(top *health.Topology) bool { return !get(t, top, "eu-west").Nodes[0].Active })
	if c := get(t, top, "eu-west"); c.State != health.StateHealthy || !c.Nodes[0].Serves {
		t.Errorf("%s: a performance standby serves", c.State)
	}
	l.Cluster("eu-west").Pose("uninitialized")
	top = eventually(t, checker, "the node is not initialized", func(top *health.Topology) bool { return get(t, top, "eu-west").State == health.StateDown })
	if c := get(t, top, "eu-west"); c.Reason != "not initialized" {
		t.Errorf("reason %q", c.Reason)
	}
}

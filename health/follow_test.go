package health

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// book is what names resolve to.
type book struct {
	script
	nodes map[string][]string
	err   error
}

func (b *book) resolve(_ context.Context, _, address string) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	if nodes, ok := b.nodes[address]; ok {
		return nodes, nil
	}
	return []string{address}, nil
}

// following runs a checker of one cluster "a" with these addresses.
func following(t *testing.T, b *book, addresses ...string) *Checker {
	t.Helper()
	return run(t, New(Config{Prober: b, Resolve: b.resolve, Clusters: []ClusterConfig{{Name: "a", Addresses: addresses}}}))
}

func nodesOf(c *Checker) []string {
	var out []string
	for _, n := range c.Topology().Clusters[0].Nodes {
		out = append(out, n.Address)
	}
	slices.Sort(out)
	return out
}

func (b *book) says(name string, nodes ...string) {
	b.set(func() { b.nodes = map[string][]string{name: nodes} })
}

func TestANameIsAsManyNodesAsItHasAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		b.says("name", "one", "two")
		c := following(t, b, "name", "other")
		if got := nodesOf(c); !slices.Equal(got, []string{"one", "other", "two"}) {
			t.Fatalf("nodes %v", got)
		}
		// One of them fails, by a request: the others serve on.
		b.set(func() { b.script.err = map[string]error{"one": errRefused} })
		c.Failed("a", "one", errRefused)
		pass(time.Second)
		cl := c.Topology().Clusters[0]
		if cl.State != StateHealthy || cl.Nodes[2].Address != "one" || cl.Nodes[2].State != StateDown {
			t.Errorf("%+v", cl)
		}
	})
}

func TestNodesComeAndGoWithTheirName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		b.says("name", "one", "two")
		c := following(t, b, "name")
		b.says("name", "two", "three")
		pass(resolveEvery + time.Second)
		if got := nodesOf(c); !slices.Equal(got, []string{"three", "two"}) {
			t.Fatalf("nodes %v", got)
		}
		asked := len(b.times("one"))
		before := len(b.times("two"))
		pass(time.Minute)
		if now := len(b.times("one")); now != asked {
			t.Errorf("the node that is gone was probed %d times more", now-asked)
		}
		if got := len(b.times("two")) - before; got < 25 || got > 35 {
			t.Errorf("the node that stayed was probed %d times in a minute by a 2s interval", got)
		}
		c.Failed("a", "one", errRefused) // by a request that was under way
		if stateOf(t, c, "a") != StateHealthy {
			t.Error("a node that is gone counts")
		}
	})
}

func TestNodesStayWhileTheNameCannotBeResolved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		b.says("name", "one", "two")
		c := following(t, b, "name")
		b.set(func() { b.err = errors.New("no DNS server answers") })
		pass(time.Minute)
		if got := nodesOf(c); !slices.Equal(got, []string{"one", "two"}) || stateOf(t, c, "a") != StateHealthy {
			t.Errorf("nodes %v", got)
		}
	})
}

// While nothing behind a name is up, it is resolved again at each interval: the cluster
// may have moved.
func TestALostNameIsResolvedSooner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		b.err = errors.New("no DNS server answers")
		b.script.err = map[string]error{"name": errRefused}
		c := following(t, b, "name")
		if got := nodesOf(c); !slices.Equal(got, []string{"name"}) || stateOf(t, c, "a") != StateDown {
			t.Fatalf("nodes %v", got)
		}
		b.set(func() { b.err = nil })
		b.says("name", "one", "two")
		if took := until(t, c, "a", StateHealthy); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestANodeBehindTwoAddressesIsOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		b.says("name", "one", "two")
		c := following(t, b, "one", "name")
		if got := nodesOf(c); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("nodes %v", got)
		}
		pass(time.Minute)
		if got := len(b.times("one")); got < 25 || got > 35 {
			t.Errorf("probed %d times in a minute by a 2s interval", got)
		}
	})
}

// TestConnectionsAreOpenedBeforeTraffic: a node that comes up has its connections when
// the first request is sent there, and one on which none can be opened stays down.
func TestConnectionsAreOpenedBeforeTraffic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{err: map[string]error{}}
		var c *Checker
		var states []State
		var broken error
		c = New(Config{
			Prober: s, Clusters: []ClusterConfig{{Name: "a", Addresses: []string{"a"}}},
			Warm: func(context.Context, string, string) error {
				s.set(func() { states = append(states, c.Topology().Clusters[0].State) })
				return broken
			},
		})
		run(t, c)
		pass(time.Minute)
		s.set(func() { s.err["a"] = errRefused })
		until(t, c, "a", StateDown)
		s.set(func() { delete(s.err, "a"); broken = errors.New("dial: no route") })
		pass(time.Minute)
		if cl := c.Topology().Clusters[0]; cl.State != StateDown || cl.Reason != "probe failed: no route" {
			t.Errorf("%s (%s)", cl.State, cl.Reason)
		}
		s.set(func() { broken = nil })
		until(t, c, "a", StateHealthy)
		if len(states) < 3 || slices.ContainsFunc(states, func(s State) bool { return s != StateDown }) {
			t.Errorf("warmed in the states %v, want down only", states)
		}
	})
}

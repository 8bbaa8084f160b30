package app

import (
	"maps"
	"slices"
	"testing"
)

// Connections are kept to where requests go next, and to nobody else.
func TestWhereConnectionsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "routing: {failover: [us-east]}") // whatever the round trips
	next := func() []string { return slices.Sorted(maps.Keys(w.app.cores.p.Load().nextNodes())) }
	if got := next(); !slices.Equal(got, []string{"eu-west", "us-east"}) {
		t.Errorf("%v", got)
	}
	w.lab.Cluster("us-east").Kill()
	eventually(t, "us-east is given up", func() bool { return slices.Equal(next(), []string{"eu-west", "us-west"}) })
}

package admin

import (
	"cmp"
	"strings"

	"github.com/vrproxy/vrproxy/health"
)

// none stands in events for "no primary".
const none = "none"

// Changes lists what a person would call a change between two pictures: states,
// roles, the primary, a split brain. Measured values that always move are not.
// Either picture may be nil; the first one is no change.
func Changes(before, after *health.Topology) []Event {
	if before == nil || after == nil {
		return nil
	}
	var out []Event
	for i := range after.Clusters {
		now := &after.Clusters[i]
		was, ok := before.Cluster(now.Name)
		if !ok {
			out = append(out, Event{Kind: KindTopology, Cluster: now.Name, To: string(now.State), Reason: "configured"})
			continue
		}
		out = append(out, clusterChanges(was, now)...)
	}
	for i := range before.Clusters {
		if was := &before.Clusters[i]; !contains(after, was.Name) {
			out = append(out, Event{Kind: KindTopology, Cluster: was.Name, From: string(was.State), Reason: "no longer configured"})
		}
	}
	return append(out, setChanges(before, after)...)
}

func contains(t *health.Topology, name string) bool {
	_, ok := t.Cluster(name)
	return ok
}

func clusterChanges(was, now *health.Cluster) []Event {
	var out []Event
	if was.State != now.State {
		out = append(out, Event{
			Kind: KindTopology, Cluster: now.Name,
			From: string(was.State), To: string(now.State), Reason: now.Reason,
		})
	}
	if was.Role != now.Role {
		out = append(out, Event{
			Kind: KindTopology, Cluster: now.Name,
			From: string(was.Role), To: string(now.Role), Reason: "role",
		})
	}
	return out
}

func setChanges(before, after *health.Topology) []Event {
	var out []Event
	if before.Primary != after.Primary {
		out = append(out, Event{
			Kind: KindTopology, Cluster: after.Primary,
			From: cmp.Or(before.Primary, none), To: cmp.Or(after.Primary, none), Reason: "primary",
		})
	}
	switch {
	case after.SplitBrain && !before.SplitBrain:
		out = append(out, Event{Kind: KindTopology, Reason: "split brain: " + strings.Join(after.Claimants, ", ") + " claim to be primary"})
	case before.SplitBrain && !after.SplitBrain:
		out = append(out, Event{Kind: KindTopology, Reason: "split brain is over"})
	}
	return out
}

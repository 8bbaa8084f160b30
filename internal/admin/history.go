package admin

import (
	"fmt"
	"time"

	"github.com/vrproxy/vrproxy/health"
)

// Serving is where requests would go now.
type Serving struct {
	Reads, Writes Target
}

// Target is the cluster that is asked first, and why that one; without a cluster, why
// none.
type Target struct {
	Cluster string    `json:"cluster"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since,omitzero"`
}

// history is since when things are as they are.
type history struct {
	topology *health.Topology
	serving  Serving
	states   map[string]time.Time // by cluster
	failover *Event               // the last one
}

// Follow is told of each new picture, one after the other: it publishes what changed,
// and remembers since when it is so.
func (e *Events) Follow(t *health.Topology, s Serving) {
	now := time.Now()
	for _, ev := range e.changed(t, s, now) {
		ev.Time = now
		e.Publish(ev)
	}
}

func (e *Events) changed(t *health.Topology, s Serving, now time.Time) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := &e.past
	out := Changes(h.topology, t)
	first := h.topology == nil
	if first {
		h.states = make(map[string]time.Time)
	}
	for i := range t.Clusters {
		c := &t.Clusters[i]
		if was, ok := h.before(c.Name); !ok || was.State != c.State {
			h.states[c.Name] = now
		}
	}
	out = append(out, moved(&s.Reads, h.serving.Reads, "reads", first, now)...)
	out = append(out, moved(&s.Writes, h.serving.Writes, "writes", first, now)...)
	h.topology, h.serving = t, s
	return out
}

func (h *history) before(name string) (*health.Cluster, bool) {
	if h.topology == nil {
		return nil, false
	}
	return h.topology.Cluster(name)
}

// moved keeps the time of a target that stayed, and tells of one that did not.
func moved(to *Target, from Target, what string, first bool, now time.Time) []Event {
	if !first && to.Cluster == from.Cluster {
		to.Since = from.Since
		return nil
	}
	to.Since = now
	if first {
		return nil
	}
	return []Event{{
		Kind: KindFailover, From: orNone(from.Cluster), To: orNone(to.Cluster),
		Reason: fmt.Sprintf("%s move: %s", what, to.Reason),
	}}
}

func orNone(cluster string) string {
	if cluster == "" {
		return none
	}
	return cluster
}

// since gives when the present state of things began.
func (e *Events) since() (s Serving, states map[string]time.Time, failover *Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	states = make(map[string]time.Time, len(e.past.states))
	for name, t := range e.past.states {
		states[name] = t
	}
	return e.past.serving, states, e.past.failover
}

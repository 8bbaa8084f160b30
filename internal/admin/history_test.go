package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vrproxy/vrproxy/health"
)

func serving(reads, writes string) Serving {
	return Serving{Reads: Target{Cluster: reads, Reason: "why " + reads}, Writes: Target{Cluster: writes, Reason: "why " + writes}}
}

func TestSinceWhen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hub, begun := NewEvents(), time.Now()
		hub.Follow(world(), serving("eu-west", "us-east"))
		<-time.After(time.Minute) // in the bubble
		hub.Follow(world(), serving("eu-west", "us-east"))
		if s, states, failover := hub.since(); !s.Reads.Since.Equal(begun) || !states["us-east"].Equal(begun) || failover != nil || len(hub.Recent()) != 0 {
			t.Errorf("nothing changed: %v, %v, %v, %v", s, states, failover, hub.Recent())
		}
		<-time.After(time.Minute)
		hub.Follow(world(func(t *health.Topology) { t.Clusters[1].State = health.StateDown }), serving("us-east", "us-east"))
		s, states, failover := hub.since()
		if !s.Reads.Since.Equal(begun.Add(2*time.Minute)) || !s.Writes.Since.Equal(begun) || !states["eu-west"].Equal(begun.Add(2*time.Minute)) || !states["us-east"].Equal(begun) {
			t.Errorf("after a move of reads: %v, %v", s, states)
		}
		if failover == nil || failover.From != "eu-west" || failover.To != "us-east" || failover.Reason != "reads move: why us-east" {
			t.Errorf("the failover: %v", failover)
		}
		hub.Follow(world(), serving("", ""))
		if _, _, failover = hub.since(); failover.To != none || failover.Reason != "writes move: why " {
			t.Errorf("nowhere: %v", failover)
		}
	})
}

// TestPictures: with ?status the stream has the picture at once, after each event, and
// without an id, so that a reconnection does not count it.
func TestPictures(t *testing.T) {
	t.Parallel()
	s := start(t)
	l := s.listenAt(t, "/events?status", "")
	if st := l.picture(t); st.Primary != "us-east" {
		t.Errorf("at first: %v", st)
	}
	s.topology.Store(world(func(t *health.Topology) { t.Primary = "eu-west" }))
	s.cfg.Events.Publish(Event{Kind: KindTopology})
	for l.picture(t).Primary != "eu-west" {
		continue // the next one has it
	}
}

// picture waits for the next status.
func (l *listening) picture(t *testing.T) Status {
	t.Helper()
	kind := ""
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch {
		case name == "event":
			kind = value
		case name == "id" && kind == "status":
			t.Error("a picture with an id")
		case name == "data" && kind == "status":
			var st Status
			if err := json.Unmarshal([]byte(value), &st); err != nil {
				t.Fatal(err)
			}
			return st
		}
	}
	t.Fatalf("the stream ended: %v", l.lines.Err())
	return Status{}
}

package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/health"
)

// listening is one client of /events.
type listening struct {
	resp  *http.Response
	lines *bufio.Scanner
}

func (r *running) listen(t *testing.T, lastID string) *listening {
	return r.listenAt(t, "/events", lastID)
}

func (r *running) listenAt(t *testing.T, path, lastID string) *listening {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &listening{resp: resp, lines: bufio.NewScanner(resp.Body)}
}

// next waits for one event and gives its id too.
func (l *listening) next(t *testing.T) (string, Event) {
	t.Helper()
	id, kind := "", ""
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			var e Event
			if err := json.Unmarshal([]byte(value), &e); err != nil || e.Kind != kind {
				t.Fatalf("%s: %v", value, err)
			}
			return id, e
		}
	}
	t.Fatalf("the stream ended: %v", l.lines.Err())
	return "", Event{}
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	s := start(t)
	hub := s.cfg.Events
	hub.Publish(Event{Kind: KindTopology, Cluster: "a", From: "healthy", To: "down", Reason: "no\nanswer"})
	hub.Publish(Event{Kind: KindTopology, Cluster: "b"})
	l := s.listen(t, "")
	if ct := l.resp.Header.Get("Content-Type"); l.resp.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("%d %s", l.resp.StatusCode, ct)
	}
	id, e := l.next(t)
	if e.Cluster != "a" || e.Reason != "no\nanswer" || e.Time.IsZero() {
		t.Errorf("first: %v", e)
	}
	l.next(t)
	hub.Publish(Event{Kind: KindFailover, From: "a", To: "b"})
	if _, e := l.next(t); e.Kind != KindFailover || e.From != "a" || e.To != "b" {
		t.Errorf("live: %v", e)
	}
	if _, e := s.listen(t, id).next(t); e.Cluster != "b" {
		t.Errorf("after a reconnection: %v", e)
	}
	if _, e := s.listen(t, "18446744073709551615").next(t); e.Cluster != "a" {
		t.Errorf("with an id from nowhere: %v", e)
	}
}

func TestStoppingEndsStreams(t *testing.T) {
	t.Parallel()
	s := start(t)
	l := s.listen(t, "")
	if !l.lines.Scan() {
		t.Fatal("nothing came")
	}
	begun := time.Now()
	s.stop()
	if took := time.Since(begun); took > shutdownTimeout/2 {
		t.Errorf("stopping took %s", took)
	}
	for l.lines.Scan() {
		continue // to the end, which must come
	}
}

func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	hub := NewEvents()
	for i := range 3 * eventsKept {
		hub.Publish(Event{Kind: KindTopology, Reason: strconv.Itoa(i)})
	}
	kept := hub.Recent()
	if len(kept) != eventsKept || kept[0].Reason != strconv.Itoa(2*eventsKept) {
		t.Errorf("%d kept, first %v", len(kept), kept[0])
	}
	var streams []chan numbered
	for range streamsAtOnce {
		_, ch, err := hub.listen(0)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, ch)
	}
	if _, _, err := hub.listen(0); err == nil {
		t.Error("no limit on streams")
	}
	hub.leave(streams[0])
	if _, _, err := hub.listen(0); err != nil {
		t.Error(err)
	}
}

func TestSlowListenerIsCutOff(t *testing.T) {
	t.Parallel()
	hub := NewEvents()
	_, ch, err := hub.listen(0)
	if err != nil {
		t.Fatal(err)
	}
	for range eventsBuffered + 1 {
		hub.Publish(Event{Kind: KindTopology})
	}
	n := 0
	var last uint64
	for e := range ch { // closed
		n++
		last = e.id
	}
	if n != eventsBuffered {
		t.Errorf("%d events before the cut", n)
	}
	hub.leave(ch) // must not close twice
	if missed, _, err := hub.listen(last); err != nil || len(missed) != 1 {
		t.Errorf("missed %d, %v", len(missed), err)
	}
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range streamsAtOnce {
		if _, _, err := s.cfg.Events.listen(0); err != nil {
			t.Fatal(err)
		}
	}
	if resp, body := s.do(t, "GET", "/events"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	change := func(i int, f func(*health.Cluster)) *health.Topology {
		return world(func(t *health.Topology) { f(&t.Clusters[i]) })
	}
	tests := []struct {
		about         string
		before, after *health.Topology
		want          string
	}{
		{"first picture", nil, world(), ""},
		{"same", world(), world(), ""},
		{"only measured", world(), change(0, func(c *health.Cluster) { c.RTT, c.Lag = 1, 1 }), ""},
		{"state", world(), change(0, func(c *health.Cluster) { c.State, c.Reason = health.StateDown, "sealed" }), "us-east: healthy>down (sealed)"},
		{"role", world(), change(2, func(c *health.Cluster) { c.Role = health.RolePrimary }), "us-east-dr: dr>primary (role)"},
		{"primary lost", world(), world(func(t *health.Topology) { t.Primary = "" }), ": us-east>none (primary)"},
		{"primary moved", world(), world(func(t *health.Topology) { t.Primary = "eu-west" }), "eu-west: us-east>eu-west (primary)"},
		{
			"split brain", world(), world(func(t *health.Topology) { t.SplitBrain, t.Claimants = true, []string{"a", "b"} }),
			": > (split brain: a, b claim to be primary)",
		},
		{"split brain ends", world(func(t *health.Topology) { t.SplitBrain = true }), world(), ": > (split brain is over)"},
		{"added", world(func(t *health.Topology) { t.Clusters = t.Clusters[:2] }), world(), "us-east-dr: >down (configured)"},
		{"removed", world(), world(func(t *health.Topology) { t.Clusters = t.Clusters[:2] }), "us-east-dr: down> (no longer configured)"},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			got := []string{}
			for _, e := range Changes(tt.before, tt.after) {
				got = append(got, fmt.Sprintf("%s: %s>%s (%s)", e.Cluster, e.From, e.To, e.Reason))
			}
			if strings.Join(got, "; ") != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

package proxy

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTheUsualPace(t *testing.T) {
	t.Parallel()
	var p pace
	for i := range latencies - 1 {
		p.note(time.Duration(i) * time.Millisecond)
	}
	if _, known := p.usual(); known {
		t.Error("known before enough was seen")
	}
	for i := range latencies {
		p.note(time.Duration(i+1) * time.Millisecond)
	}
	if usual, known := p.usual(); !known || usual < 115*time.Millisecond || usual > 125*time.Millisecond {
		t.Errorf("%v of 1 to 128 ms", usual)
	}
}

// A read that takes longer than usual is asked of a second cluster, once; a write never.
func TestSlowReadsAreHedged(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.proxy.cfg.Hedge = true
	slow := make(chan struct{})
	t.Cleanup(func() { close(slow) })
	for range latencies {
		if cluster, _ := p.send("GET", "/v1/pki/ca/pem", ""); cluster != "one" {
			t.Fatalf("%q answered", cluster)
		}
	}
	before := len(p.asked())
	p.hold(slow, "one")
	if cluster, status := p.send("GET", "/v1/pki/ca/pem", ""); cluster != "two" || status != http.StatusNoContent {
		t.Errorf("%d from %q", status, cluster)
	}
	if got := strings.Join(p.asked()[before:], ", "); got != "one GET /v1/pki/ca/pem, two GET /v1/pki/ca/pem" {
		t.Errorf("asked: %s", got)
	}
}

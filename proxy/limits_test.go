package proxy

import (
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestWaitingWritesAreBounded(t *testing.T) {
	t.Parallel()
	w := waits{gauge: prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"})}
	for range maxWaiting {
		if !w.enter(1) {
			t.Fatal("no room for a write")
		}
	}
	if w.enter(1) {
		t.Error("room for one too many")
	}
	w.leave(1)
	if w.enter(waitingBytes) {
		t.Error("room for too many bytes")
	}
	if !w.enter(1) || w.number.Load() != maxWaiting || w.bytes.Load() != maxWaiting {
		t.Errorf("%d writes of %d bytes", w.number.Load(), w.bytes.Load())
	}
}

func TestRequestsInFlightAreBoundedPerCluster(t *testing.T) {
	t.Parallel()
	f := flying{limit: 10}
	var all sync.WaitGroup
	took := make(chan func(), 100)
	for range 100 {
		all.Go(func() {
			if giveBack, ok := f.take("a"); ok {
				took <- giveBack
			}
		})
	}
	all.Wait()
	if len(took) != 10 {
		t.Errorf("%d at a time, want 10", len(took))
	}
	if _, ok := f.take("b"); !ok {
		t.Error("another cluster has nothing to do with it")
	}
	(<-took)()
	if _, ok := f.take("a"); !ok {
		t.Error("one was given back")
	}
}

package proxy

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What bounds the proxy itself: nothing here depends on what a request is.
const (
	readWait     = 5 * time.Second       // for a read that nobody could answer
	roundPause   = 50 * time.Millisecond // between the rounds of a request that waits
	maxWaiting   = 1000                  // requests that wait for a primary, or for anybody
	waitingBytes = 32 << 20              // of their bodies

	copyBuffer    = 32 << 10
	keptWithin    = 30 * time.Second // for a client to send a body that is kept,
	stalledSend   = time.Minute      // to send the next bytes of a streamed one,
	stalledTaking = 5 * time.Minute  // and to take the next bytes of an answer
)

// waits bounds the requests that wait.
type waits struct {
	gauge  prometheus.Gauge
	number atomic.Int64
	bytes  atomic.Int64
}

// enter is false when there are too many. Who entered has to leave.
func (w *waits) enter(bytes int) bool {
	n, size := w.number.Add(1), w.bytes.Add(int64(bytes))
	w.gauge.Inc()
	if n > maxWaiting || size > waitingBytes {
		w.leave(bytes)
		return false
	}
	return true
}

func (w *waits) leave(bytes int) {
	w.number.Add(-1)
	w.bytes.Add(-int64(bytes))
	w.gauge.Dec()
}

// flying counts the requests at each cluster.
type flying struct {
	limit int64
	of    found[string, *places]
}

// places are those of one cluster.
type places struct {
	taken    atomic.Int64
	giveBack func()
}

func newPlaces(string) *places {
	p := &places{}
	p.giveBack = func() { p.taken.Add(-1) }
	return p
}

// take is false when a cluster has enough. Who took has to give back.
func (f *flying) take(cluster string) (giveBack func(), ok bool) {
	p := f.of.get(cluster, newPlaces)
	if p.taken.Add(1) > f.limit {
		p.taken.Add(-1)
		return nil, false
	}
	return p.giveBack, true
}

package proxy

import (
	"sync"
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

	retryShare  = 0.2 // of the requests may be repeated,
	retryPerSec = 10  // and as many a second besides;
	retrySaved  = 10 * time.Second
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

// budget bounds repeats at other nodes: a fifth of the requests, and ten a second. When
// everything fails, repeats would only add to the load. What was not used is kept for
// ten seconds.
type budget struct {
	mu    sync.Mutex
	saved float64
	last  time.Time
	share float64 // earned by requests in the last while, for the bound
}

func newBudget() *budget { return &budget{saved: retryPerSec * retrySaved.Seconds(), last: time.Now()} }

// earn counts a client's request.
func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill()
	b.saved += retryShare
	b.share += retryShare
}

// spend takes the price of one repeat; false: there is nothing left.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill()
	if b.saved < 1 {
		return false
	}
	b.saved--
	return true
}

// refill adds what time earned, and lets what is old go.
func (b *budget) refill() {
	now := time.Now()
	passed := now.Sub(b.last).Seconds()
	b.last = now
	b.share *= max(0, 1-passed/retrySaved.Seconds())
	b.saved = min(b.saved+passed*retryPerSec, retryPerSec*retrySaved.Seconds()+b.share)
}

// flying counts the requests at each cluster.
type flying struct {
	limit int64
	of    sync.Map // cluster name to *atomic.Int64
}

// take is false when a cluster has enough. Who took has to give back.
func (f *flying) take(cluster string) (giveBack func(), ok bool) {
	v, found := f.of.Load(cluster)
	if !found {
		v, _ = f.of.LoadOrStore(cluster, new(atomic.Int64))
	}
	n, _ := v.(*atomic.Int64)
	if n.Add(1) > f.limit {
		n.Add(-1)
		return nil, false
	}
	return func() { n.Add(-1) }, true
}

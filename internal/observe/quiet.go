package observe

import (
	"sync"
	"time"
)

const (
	quietFor  = time.Second
	quietKeys = 1024 // more kinds than there should be; then all are forgotten
)

// Quiet lets one line a second of each kind through, so that a lost cluster under load
// is one line a second and not thousands. The zero value is ready.
type Quiet struct {
	mu    sync.Mutex
	kinds map[string]said
}

type said struct {
	at   time.Time
	left int
}

// Due reports whether a line of this kind is due, and how many were left out since the
// last.
func (q *Quiet) Due(kind string, now time.Time) (due bool, left int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last, ok := q.kinds[kind]
	if ok && now.Sub(last.at) < quietFor {
		last.left++
		q.kinds[kind] = last
		return false, 0
	}
	if q.kinds == nil || len(q.kinds) >= quietKeys {
		q.kinds = make(map[string]said)
	}
	q.kinds[kind] = said{at: now}
	return true, last.left
}

package http1

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// tick is how often somebody looks for clients that have gone, while there are requests.
// Most requests are over before the second look, which is the one that counts.
const tick = 100 * time.Millisecond

// ticker counts while there are requests. A timer for each request would wake a thread each
// time, which costs more than the request.
type ticker struct {
	now   atomic.Int64
	armed atomic.Bool
	timer *time.Timer
}

// arm makes it count, if it does not.
func (t *ticker) arm() {
	if !t.armed.Load() && t.armed.CompareAndSwap(false, true) {
		t.timer.Reset(tick)
	}
}

// look looks at all connections with a request, as long as there are any.
func (s *Server) look() {
	now, busy := s.ticks.now.Add(1), false
	s.mu.Lock()
	for c := range s.conns {
		if c.state.Load() == active {
			busy = true
			c.watch.look(now)
		}
	}
	s.mu.Unlock()
	if busy {
		s.ticks.timer.Reset(tick)
		return
	}
	s.ticks.armed.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns { // what began in between found it armed
		if c.state.Load() == active {
			s.ticks.arm()
		}
	}
}

// watch finds out that a client has gone while its request is under way: then the
// connection can be read to its end.
type watch struct {
	c       *conn
	mu      sync.Mutex
	on      bool
	began   int64         // tick
	reading chan struct{} // closed when nobody reads any more; nil: nobody does
}

func (w *watch) start() {
	w.mu.Lock()
	w.on, w.began = true, w.c.s.ticks.now.Load()
	w.mu.Unlock()
	w.c.s.ticks.arm()
}

// look reads once, if that has not been tried and can be. What comes is the beginning of the
// next request, and shows that somebody is there.
func (w *watch) look(now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.on || w.reading != nil || now-w.began < 2:
	case !w.c.body.read(): // the handler reads it, or will
	case w.c.in.buffered() > 0: // the next request is there already
	default:
		w.reading = make(chan struct{})
		_ = w.c.setDeadline(time.Time{})
		go w.read(w.reading)
	}
}

func (w *watch) read(done chan<- struct{}) {
	defer close(done)
	if err := w.c.in.more(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.c.life.End(nil)
	}
}

// stop ends it, and waits until nobody reads.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = false
	if w.reading == nil {
		return
	}
	_ = w.c.raw.SetReadDeadline(time.Unix(1, 0))
	<-w.reading
	w.reading = nil
	_ = w.c.setDeadline(time.Time{})
}

package http1

import (
	"errors"
	"os"
	"sync"
	"time"
)

// watchAfter is how long a request may take before somebody looks whether its client is
// still there. Most are over by then.
const watchAfter = 100 * time.Millisecond

// watch finds out that a client has gone while its request is under way: then the
// connection can be read to its end.
type watch struct {
	c       *conn
	mu      sync.Mutex
	timer   *time.Timer
	on      bool
	reading chan struct{} // closed when nobody reads any more; nil: nobody does
}

func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = true
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, w.look)
		return
	}
	w.timer.Reset(watchAfter)
}

// look reads once. What comes is the beginning of the next request, and shows that somebody
// is there.
func (w *watch) look() {
	w.mu.Lock()
	done := w.begin()
	w.mu.Unlock()
	if done == nil {
		return
	}
	err := w.c.in.more()
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.c.life.End(nil)
	}
	close(done)
}

// begin says that somebody reads; nil: it can't be yet, or not any more.
func (w *watch) begin() chan struct{} {
	switch {
	case !w.on || w.reading != nil:
		return nil
	case !w.c.body.read(): // the handler reads it, or will
		w.timer.Reset(watchAfter)
		return nil
	case w.c.in.buffered() > 0: // the next request is there already
		return nil
	}
	w.reading = make(chan struct{})
	w.c.setDeadline(time.Time{})
	return w.reading
}

// stop ends it, and waits until nobody reads.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = false
	w.timer.Stop()
	if w.reading == nil {
		return
	}
	_ = w.c.raw.SetReadDeadline(time.Unix(1, 0))
	<-w.reading
	w.reading = nil
	w.c.setDeadline(time.Time{})
}

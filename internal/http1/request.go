package http1

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	drained   = 256 << 10       // of a body that nobody read, to keep the connection
	drainTime = 5 * time.Second // for that
)

// requestBody is a request's body. Others than the handler may read it, and may do so for
// longer (a transport that got an early answer), so it knows when it is over.
type requestBody struct {
	c  *conn
	mu sync.Mutex
	content
	expects bool // the client waits to be told to send it
	closed  atomic.Bool
	times   sync.Mutex // between deadlines of who reads it, and its end
	writer  bounded    // its answer
}

// bounded is the answer to a request with a body, whose reads are bounded while it is open: who
// reads for longer must not bound those of the next request.
type bounded struct {
	*writer
	body *requestBody
}

// SetReadDeadline bounds the reads of the request's body.
func (w *bounded) SetReadDeadline(t time.Time) error {
	w.body.times.Lock()
	defer w.body.times.Unlock()
	if w.body.closed.Load() {
		return http.ErrBodyReadAfterClose
	}
	return w.c.setDeadline(t)
}

// shut lets nobody read any more, nor set a deadline.
func (b *requestBody) shut() {
	b.times.Lock()
	defer b.times.Unlock()
	b.closed.Store(true)
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.expects {
		b.expects = false
		if err := b.c.out.proceed(); err != nil {
			return 0, err
		}
	}
	return b.content.Read(p)
}

// Close implements io.Closer. What is left is seen to when the answer begins.
func (b *requestBody) Close() error { return nil }

// read reports whether all of it was.
func (b *requestBody) read() bool {
	if b == nil {
		return true
	}
	if !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	return b.over
}

// drain reads a little that is left; false: there is more, or it can't be, and another
// request can't be read from the connection. It must be called before the answer begins,
// which has to say so.
func (b *requestBody) drain() bool {
	if b == nil {
		return true
	}
	if !b.mu.TryLock() {
		return false // somebody waits for the rest
	}
	defer b.mu.Unlock()
	if b.over {
		return true
	}
	if b.err != nil || b.expects || b.left > drained {
		return false
	}
	b.shut() // who reads on must not take what is left for all
	_ = b.c.setDeadline(time.Now().Add(drainTime))
	_, _ = io.CopyN(io.Discard, &b.content, drained)
	return b.over
}

// end lets nobody read any more. Who does, is told.
func (b *requestBody) end() {
	if b == nil {
		return
	}
	b.shut() // first: who sets a deadline and reads once more finds it
	if !b.mu.TryLock() {
		_ = b.c.setDeadline(time.Unix(1, 0))
		b.mu.Lock()
	}
	b.mu.Unlock()
}

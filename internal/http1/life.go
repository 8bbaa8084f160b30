package http1

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Life is a context that ends once, for a cause, and costs next to nothing until somebody
// waits for its end. The zero value has to Begin.
type Life struct {
	parent context.Context //nolint:containedctx // it is one itself
	inner  *Life           // parent, if it is one

	mu       sync.Mutex
	done     chan struct{} // made for who asks
	cause    error         // not nil: it is over
	watchers []watcher
	places   [2]watcher // for the first of them
	forget   func() bool
}

// watcher is told once that a life is over. It must not block.
type watcher interface{ over(cause error) }

// Begin makes it end with its parent at the latest.
func (l *Life) Begin(parent context.Context) {
	l.parent = parent
	l.watchers = l.places[:0]
	if inner, ok := parent.(*Life); ok {
		l.inner = inner
		inner.watch(l)
		return
	}
	if parent.Done() != nil {
		l.forget = context.AfterFunc(parent, func() { l.End(context.Cause(parent)) })
	}
}

// End ends it. Only the first cause counts; nil is context.Canceled.
func (l *Life) End(cause error) {
	if cause == nil {
		cause = context.Canceled
	}
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.cause = cause
	if l.done != nil {
		close(l.done)
	}
	all := l.watchers
	l.watchers = nil
	l.mu.Unlock()
	if l.inner != nil {
		l.inner.unwatch(l)
	}
	if l.forget != nil {
		l.forget()
	}
	for _, w := range all {
		w.over(cause)
	}
}

// over is how the life it is a part of ends it.
func (l *Life) over(cause error) { l.End(cause) }

// watch tells w when it is over, perhaps at once.
func (l *Life) watch(w watcher) {
	l.mu.Lock()
	cause := l.cause
	if cause == nil {
		l.watchers = append(l.watchers, w)
	}
	l.mu.Unlock()
	if cause != nil {
		w.over(cause)
	}
}

// unwatch reports whether w has not been told, and will not be.
func (l *Life) unwatch(w watcher) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.watchers, w)
	if i < 0 {
		return false
	}
	l.watchers = slices.Delete(l.watchers, i, i+1)
	return true
}

// Cause is why it is over; nil while it is not.
func (l *Life) Cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Err implements context.Context.
func (l *Life) Err() error {
	if l.Cause() != nil {
		return context.Canceled
	}
	return nil
}

// Done implements context.Context.
func (l *Life) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.cause != nil {
			close(l.done)
		}
	}
	return l.done
}

// Deadline implements context.Context.
func (l *Life) Deadline() (time.Time, bool) { return l.parent.Deadline() }

// Value implements context.Context.
func (l *Life) Value(key any) any { return l.parent.Value(key) }

// AfterFunc is what package context asks for, so that it needs no goroutine.
func (l *Life) AfterFunc(f func()) (stop func() bool) {
	w := &calling{f}
	l.watch(w)
	return func() bool { return l.unwatch(w) }
}

// calling is a watcher that calls a function.
type calling struct{ f func() }

func (c *calling) over(error) { go c.f() }

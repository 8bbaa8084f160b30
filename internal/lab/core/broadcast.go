package core

import (
	"context"
	"sync"
	"time"
)

// broadcast hands log lines to whoever listens, and drops what a slow
// listener does not take.
type broadcast struct {
	mu        sync.Mutex
	listeners map[chan string]bool
}

func (b *broadcast) send(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.listeners {
		select {
		case ch <- line:
		default:
		}
	}
}

func (b *broadcast) listen() (<-chan string, func()) {
	ch := make(chan string, 64)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = map[chan string]bool{}
	}
	b.listeners[ch] = true
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, ch)
	}
}

// stream writes lines until ctx ends or the client is gone; when nothing
// happens it says so every few hundred milliseconds.
func (b *broadcast) stream(ctx context.Context, write func([]byte) error) error {
	lines, stop := b.listen()
	defer stop()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		line := "nothing happened"
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line = <-lines:
		case <-tick.C:
		}
		if err := write([]byte(time.Now().UTC().Format(time.RFC3339Nano) + " [INFO]  lab: " + line + "\n")); err != nil {
			return err
		}
	}
}

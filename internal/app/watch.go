package app

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a changed file has to rest before it is read: editors and
// Kubernetes write in several steps.
const settle = 200 * time.Millisecond

// watchFile tells when a file was changed. It watches the folder, because files are
// mostly replaced, not rewritten. The returned function ends the watch.
func watchFile(file string) (<-chan struct{}, func(), error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, nil, fmt.Errorf("watching %s: %w", file, err)
	}
	if err := w.Add(filepath.Dir(file)); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("watching %s: %w", file, err), w.Close())
	}
	changes, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		forward(w, changes)
	}()
	return changes, func() { _ = w.Close(); <-done }, nil
}

func forward(w *fsnotify.Watcher, changes chan<- struct{}) {
	timer := time.NewTimer(settle)
	timer.Stop()
	for {
		select {
		case _, ok := <-w.Events:
			if !ok {
				timer.Stop()
				return
			}
			timer.Reset(settle)
		case _, ok := <-w.Errors: // a lost event only delays a reload; an unread error would block the watcher
			if !ok {
				timer.Stop()
				return
			}
		case <-timer.C:
			select {
			case changes <- struct{}{}:
			default: // a reload is due already
			}
		}
	}
}

package vault

import (
	"errors"
	"sync"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// ErrDiverged is returned when one cluster has statements that its source has
// not. A real secondary would throw its data away and copy all; a Community
// Vault can't.
var ErrDiverged = errors.New("this cluster has writes that its primary has not")

// statement is a write that has to be repeated on the other clusters.
type statement struct {
	ID   string
	Time time.Time
	Request
}

// log is the ordered list of statements that a cluster has executed.
type log struct {
	mu   sync.Mutex
	list []statement
}

func (l *log) add(s statement) {
	if s.ID == "" {
		s.ID, s.Time = engine.UUID(), time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, s)
}

func (l *log) len() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.list))
}

// last is the id of the newest of the first n statements, "" when there are not
// so many.
func (l *log) last(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == 0 || n > len(l.list) {
		return ""
	}
	return l.list[n-1].ID
}

// after returns what source has and l has not yet.
func (l *log) after(source *log) ([]statement, error) {
	n := int(l.len())
	if l.last(n) != source.last(n) {
		return nil, ErrDiverged
	}
	source.mu.Lock()
	defer source.mu.Unlock()
	return source.list[n:len(source.list):len(source.list)], nil
}

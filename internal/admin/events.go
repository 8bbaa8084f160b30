package admin

import (
	"errors"
	"sync"
	"time"
)

const (
	eventsKept     = 256 // for those who come later
	eventsBuffered = 64  // per stream
	streamsAtOnce  = 64
)

// The kinds of events.
const (
	KindTopology = "topology" // a cluster's state or role, or the primary, changed
	KindFailover = "failover" // requests moved from one cluster to another
	KindLab      = "lab"      // somebody broke or mended a cluster of the laboratory
)

var errTooManyStreams = errors.New("too many event streams are open")

// Event is one thing that happened. It must hold no token, secret or lease id.
type Event struct {
	Time    time.Time `json:"time"` // set by Publish where it is zero
	Kind    string    `json:"kind"` // one of the constants above
	Cluster string    `json:"cluster,omitempty"`
	From    string    `json:"from,omitempty"` // a cluster, state or role, as the kind has it
	To      string    `json:"to,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// Events hands events to everybody who listens and remembers the last ones. Make
// it with NewEvents; it may be used from many goroutines.
type Events struct {
	mu      sync.Mutex
	last    uint64 // number of the newest event
	kept    []numbered
	streams map[chan numbered]struct{}
	past    history
}

// numbered is an event with its number, by which a client that lost its connection
// says where it was.
type numbered struct {
	id    uint64
	event Event
}

// NewEvents makes a hub without events. The numbers start at the time, so that
// those of a restarted process are larger than what clients of the last one hold.
func NewEvents() *Events {
	return &Events{last: uint64(time.Now().UnixMicro()), streams: map[chan numbered]struct{}{}}
}

// Publish never blocks. A listener that has fallen too far behind is cut off: it
// comes back by itself and gets what it missed, instead of a picture with holes.
func (e *Events) Publish(ev Event) {
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if ev.Kind == KindFailover {
		e.past.failover = &ev
	}
	e.last++
	n := numbered{id: e.last, event: ev}
	if e.kept = append(e.kept, n); len(e.kept) > eventsKept {
		e.kept = append(e.kept[:0], e.kept[1:]...)
	}
	for ch := range e.streams {
		select {
		case ch <- n:
		default:
			delete(e.streams, ch)
			close(ch)
		}
	}
}

// Recent gives the remembered events, oldest first.
func (e *Events) Recent() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Event, len(e.kept))
	for i, n := range e.kept {
		out[i] = n.event
	}
	return out
}

// listen gives the remembered events after a number and a channel with all later
// ones, closed when its reader is too slow. A number that we have not reached is
// from elsewhere: then everything is given.
func (e *Events) listen(after uint64) ([]numbered, chan numbered, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.streams) >= streamsAtOnce {
		return nil, nil, errTooManyStreams
	}
	if after > e.last {
		after = 0
	}
	var missed []numbered
	for _, n := range e.kept {
		if n.id > after {
			missed = append(missed, n)
		}
	}
	ch := make(chan numbered, eventsBuffered)
	e.streams[ch] = struct{}{}
	return missed, ch, nil
}

// leave ends what listen began; harmless after a cut.
func (e *Events) leave(ch chan numbered) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.streams, ch)
}

package lab

import (
	"context"
	"sync"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/core"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// backend is what stands behind a cluster's front: something that executes
// Vault requests and can follow another of its kind.
//
// The front does all that concerns sockets, faults, round trips, roles,
// sys/health, replication status, and reaching the primary. It calls execute for everything
// else, from many goroutines at once, and never while the cluster is killed,
// sealed, stalled or blackholed.
type backend interface {
	// execute answers one call. When the backend meets a write that belongs
	// to the primary it calls forward, which fails if the primary cannot be
	// reached; call.Caller is then set to what the primary needs to know. A
	// call with Caller set came that way, is trusted, and gets a nil forward.
	execute(ctx context.Context, call *core.Call, forward core.Forward) *core.Reply

	// setWritable says whether replicated storage may be written here. It is
	// true for a primary.
	setWritable(bool)

	// position is how far the storage has come.
	position() store.Position

	// follow copies from another backend until ctx ends or the link is gone.
	follow(ctx context.Context, source backend, f follow)

	// forget drops a token.
	forget(token string)

	// run does what has to be done beside answering, until ctx ends.
	run(ctx context.Context)
}

// follow says how a backend follows another.
type follow struct {
	local    bool                        // the local half too, as a DR secondary does
	lag      time.Duration               // how long after a write it is taken over
	wake     <-chan struct{}             // the source has something new, or the link changed
	live     func() bool                 // the link to the source still stands
	progress func(source store.Position) // has to be called after every step
}

// sweepEvery is how often expired tokens and leases are looked for; a use of
// an expired one is refused at once in any case.
const sweepEvery = 5 * time.Second

// simulated is the backend made of core and store.
type simulated struct {
	core  *core.Core
	store *store.Store

	mu sync.Mutex
	at map[*store.Store]uint64 // where following each source goes on
}

func (s *simulated) execute(ctx context.Context, call *core.Call, forward core.Forward) *core.Reply {
	return s.core.Execute(ctx, call, forward)
}

func (s *simulated) setWritable(w bool)       { s.store.SetWritable(w) }
func (s *simulated) position() store.Position { return s.store.Position() }
func (s *simulated) forget(token string)      { s.core.Forget(token) }

// run revokes expired tokens and leases.
func (s *simulated) run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.core.Sweep(now)
		}
	}
}

func (s *simulated) follow(ctx context.Context, source backend, f follow) {
	src := source.(*simulated).store // clusters of one lab are of one kind
	for ctx.Err() == nil && f.live() {
		if s.step(ctx, src, f) {
			continue
		}
		select {
		case <-ctx.Done():
		case <-f.wake:
		}
	}
}

// step applies what the source has, and reports whether there was anything.
func (s *simulated) step(ctx context.Context, src *store.Store, f follow) bool {
	seq, known := s.reached(src)
	entries, ok := src.Since(seq)
	if !known || !ok {
		if pause(ctx, f.lag) != nil || !f.live() {
			return false
		}
		s.sync(src, f.local)
		f.progress(src.Position())
		return true
	}
	for _, e := range entries {
		if pause(ctx, time.Until(e.Time.Add(f.lag))) != nil || !f.live() {
			return false
		}
		s.store.Apply(e, f.local)
		s.note(src, e.Seq)
		f.progress(store.Position{Local: e.Seq, Replicated: s.store.Position().Replicated})
	}
	return len(entries) > 0
}

// sync copies all of a source that was not followed before, and gives up on
// the sources followed until now: this store's log no longer continues theirs.
func (s *simulated) sync(src *store.Store, local bool) {
	at := s.store.CopyFrom(src, local)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = map[*store.Store]uint64{src: at}
}

func (s *simulated) reached(src *store.Store) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq, ok := s.at[src]
	return seq, ok
}

func (s *simulated) note(src *store.Store, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[src] = seq
}

// wipe removes everything, so that the next source is copied as a whole.
func (s *simulated) wipe() {
	s.mu.Lock()
	s.at = map[*store.Store]uint64{}
	s.mu.Unlock()
	s.store.Wipe()
}

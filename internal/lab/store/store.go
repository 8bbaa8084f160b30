// Package store is the durable storage of one simulated cluster: a replicated
// half and a local half, with an ordered log that other clusters follow.
package store

import (
	"errors"
	"sort"
	"strings"
	"sync"
	"time"
)

// ErrReadOnly is returned for a write to replicated storage on a cluster that
// does not own it.
var ErrReadOnly = errors.New("cannot write to readonly storage")

// logLimit bounds the log; a follower that falls further behind copies everything.
const logLimit = 20_000

// Bucket names a group of keys and says which half of the storage holds it.
type Bucket struct {
	Name  string
	Local bool
}

// Entry is one write in the log.
type Entry struct {
	Seq    uint64 // position in this cluster's log
	Shared uint64 // position in the replicated log, 0 for a local write
	Time   time.Time
	Bucket Bucket
	Key    string
	Value  []byte // nil: deleted
}

// Position is how far a store has come.
type Position struct {
	Local      uint64 // last entry of the cluster's own log
	Replicated uint64 // last entry of the replicated log
}

// Store keeps the data of one cluster. It is safe for concurrent use.
type Store struct {
	mu       sync.RWMutex
	data     map[Bucket]map[string][]byte
	versions map[Bucket]uint64
	log      []Entry
	pos      Position
	writable bool
	onWrite  func()
}

// New returns an empty store that accepts replicated writes. onWrite, which
// must not block, is called after every write; it may be nil.
func New(onWrite func()) *Store {
	if onWrite == nil {
		onWrite = func() {}
	}
	return &Store{
		data:     map[Bucket]map[string][]byte{},
		versions: map[Bucket]uint64{},
		writable: true,
		onWrite:  onWrite,
	}
}

// SetWritable says whether writes to replicated buckets are accepted.
func (s *Store) SetWritable(w bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writable = w
}

// Position tells how far the store has come.
func (s *Store) Position() Position {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pos
}

// Get returns a value, which must not be modified.
func (s *Store) Get(b Bucket, key string) ([]byte, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.data[b][key]
	return v, ok
}

// Version changes whenever the bucket does.
func (s *Store) Version(b Bucket) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.versions[b]
}

// Keys returns the bucket's keys that begin with prefix, sorted.
func (s *Store) Keys(b Bucket, prefix string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var keys []string
	for k := range s.data[b] {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

// Put writes a value; the store keeps the slice. A nil value deletes.
func (s *Store) Put(b Bucket, key string, value []byte) error {
	s.mu.Lock()
	if !b.Local && !s.writable {
		s.mu.Unlock()
		return ErrReadOnly
	}
	e := Entry{Time: time.Now(), Bucket: b, Key: key, Value: value}
	if !b.Local {
		e.Shared = s.pos.Replicated + 1
	}
	s.appendLocked(e)
	s.mu.Unlock()
	s.onWrite()
	return nil
}

// Delete removes a key; removing what is not there is no write, but is
// refused where a write would be, as Vault's read-only view does.
func (s *Store) Delete(b Bucket, key string) error {
	s.mu.RLock()
	_, ok := s.data[b][key]
	refused := !b.Local && !s.writable
	s.mu.RUnlock()
	if refused {
		return ErrReadOnly
	}
	if !ok {
		return nil
	}
	return s.Put(b, key, nil)
}

// appendLocked numbers the entry, logs it and sets its value.
func (s *Store) appendLocked(e Entry) {
	s.pos.Local++
	e.Seq = s.pos.Local
	if e.Shared > 0 {
		s.pos.Replicated = e.Shared
	}
	s.setLocked(e)
	s.log = append(s.log, e)
	if len(s.log) > 2*logLimit {
		s.log = append([]Entry(nil), s.log[len(s.log)-logLimit:]...)
	}
}

func (s *Store) setLocked(e Entry) {
	s.versions[e.Bucket]++
	if e.Value == nil {
		delete(s.data[e.Bucket], e.Key)
		return
	}
	if s.data[e.Bucket] == nil {
		s.data[e.Bucket] = map[string][]byte{}
	}
	s.data[e.Bucket][e.Key] = e.Value
}

// Writable reports whether writes to replicated buckets are accepted.
func (s *Store) Writable() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.writable
}

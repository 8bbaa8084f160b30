package store

import "maps"

// Since returns the entries of the log after seq. It reports false when the
// log no longer reaches back that far, or never came that far.
func (s *Store) Since(seq uint64) ([]Entry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	behind := s.pos.Local - seq
	if seq > s.pos.Local || behind > uint64(len(s.log)) {
		return nil, false
	}
	return append([]Entry(nil), s.log[uint64(len(s.log))-behind:]...), true
}

// Apply takes over one entry of another cluster's log. A performance
// secondary (local false) skips what is local to the other cluster.
func (s *Store) Apply(e Entry, local bool) {
	if e.Bucket.Local && !local {
		return
	}
	s.mu.Lock()
	s.appendLocked(e)
	s.mu.Unlock()
	s.onWrite()
}

// CopyFrom replaces the replicated half by that of src, and with local the
// local half too, and returns the position in src's log to go on from.
func (s *Store) CopyFrom(src *Store, local bool) uint64 {
	data, pos := src.dump(local)
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := range s.data {
		if local || !b.Local {
			delete(s.data, b)
			s.versions[b]++
		}
	}
	for b, kv := range data {
		s.data[b] = kv
		s.versions[b]++
	}
	s.log = nil
	s.pos.Replicated = pos.Replicated
	s.pos.Local++ // forces the followers of s to copy as well
	if local {
		s.pos.Local = pos.Local
	}
	return pos.Local
}

// Wipe removes everything, as becoming a secondary does.
func (s *Store) Wipe() {
	s.mu.Lock()
	for b := range s.data {
		delete(s.data, b)
		s.versions[b]++
	}
	s.log = nil
	s.pos = Position{Local: s.pos.Local + 1} // forces the followers of s to copy as well
	s.mu.Unlock()
	s.onWrite()
}

func (s *Store) dump(local bool) (map[Bucket]map[string][]byte, Position) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := map[Bucket]map[string][]byte{}
	for b, kv := range s.data {
		if local || !b.Local {
			out[b] = maps.Clone(kv)
		}
	}
	return out, s.pos
}

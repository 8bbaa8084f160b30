package chaos

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// faults tells of each fault the slowest read while it was on, and how long it took until
// reads that its cluster had served were answered elsewhere; nothing of that, if they
// never were.
func (f *findings) faults(events []event, x *trouble) {
	f.slowestBy, f.movedBy = make(map[string][]time.Duration), make(map[string][]time.Duration)
	for _, s := range x.past {
		var slowest, moved time.Duration
		served := false
		for _, e := range events {
			if e.op != "read" || e.status != http.StatusOK {
				continue
			}
			if e.began.Before(s.end) && e.ended.After(s.began) {
				slowest = max(slowest, e.ended.Sub(e.began))
			}
			served = served || e.cluster == s.cluster && e.ended.Before(s.began) && s.began.Sub(e.ended) < 100*time.Millisecond
			if after := e.ended.Sub(s.began); e.cluster != s.cluster && after > 0 && e.began.Before(s.end) && (moved == 0 || after < moved) {
				moved = after
			}
		}
		f.slowestBy[s.fault] = append(f.slowestBy[s.fault], slowest)
		if served && moved > 0 {
			f.movedBy[s.fault] = append(f.movedBy[s.fault], moved)
		}
	}
}

// tally adds up what the runs found.
type tally struct {
	mu sync.Mutex
	findings
}

func (t *tally) add(f *findings) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests += f.requests
	t.reads += f.reads
	t.failedReads += f.failedReads
	t.writes += f.writes
	t.unknown += f.unknown
	t.refused += f.refused
	t.ownReads += f.ownReads
	t.ownNear += f.ownNear
	t.stale += f.stale
	t.slowest = max(t.slowest, f.slowest)
	if t.slowestBy == nil {
		t.slowestBy, t.movedBy = make(map[string][]time.Duration), make(map[string][]time.Duration)
	}
	for kind, took := range f.slowestBy {
		t.slowestBy[kind] = append(t.slowestBy[kind], took...)
	}
	for kind, took := range f.movedBy {
		t.movedBy[kind] = append(t.movedBy[kind], took...)
	}
}

func (t *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests: %d reads, %d failed, slowest %v; %d writes, %d of unknown outcome, %d refused\n",
		t.requests, t.reads, t.failedReads, brief(t.slowest), t.writes, t.unknown, t.refused)
	fmt.Fprintf(&b, "%d reads of own writes, 0 may be old: %d at the nearest cluster, %d refused because nobody had them\n", t.ownReads, t.ownNear, t.stale)
	fmt.Fprintf(&b, "%-24s %6s %12s %22s\n", "fault", "times", "slowest read", "reads moved after")
	for _, kind := range slices.Sorted(maps.Keys(t.slowestBy)) {
		moved := "never"
		if m := t.movedBy[kind]; len(m) > 0 {
			slices.Sort(m)
			moved = fmt.Sprintf("%v (worst %v)", brief(m[len(m)/2]), brief(m[len(m)-1]))
		}
		fmt.Fprintf(&b, "%-24s %6d %12v %22s\n", kind, len(t.slowestBy[kind]), brief(slices.Max(t.slowestBy[kind])), moved)
	}
	return b.String()
}

func brief(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

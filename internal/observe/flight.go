package observe

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vrproxy/vrproxy/proxy"
)

// Decisions is how many requests the flight recorder remembers.
const Decisions = 10_000

// chunk is how many requests the memory is for that is taken at once: one that serves few
// requests holds little.
const chunk = 100

// Flight remembers the last requests: what was decided, where they went, and what came
// of it. Its memory grows up to its size and is kept; a request costs one copy.
type Flight struct {
	next   atomic.Uint64
	size   uint64
	chunks []atomic.Pointer[[chunk]slot]
}

// slot has a lock of its own: requests meet in one only if ten thousand others came
// between.
type slot struct {
	mu     sync.Mutex
	number uint64 // from 1; 0: never used
	record proxy.Record
}

// NewFlight makes a recorder of the last so many requests.
func NewFlight(size int) *Flight {
	return &Flight{size: uint64(size), chunks: make([]atomic.Pointer[[chunk]slot], (size+chunk-1)/chunk)}
}

// slot is that of the request with an index.
func (f *Flight) slot(i uint64) *slot {
	i %= f.size
	at := &f.chunks[i/chunk]
	if at.Load() == nil {
		at.CompareAndSwap(nil, new([chunk]slot))
	}
	return &at.Load()[i%chunk]
}

func (f *Flight) add(r *proxy.Record) {
	n := f.next.Add(1)
	s := f.slot(n - 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > s.number {
		s.number, s.record = n, *r
	}
}

// decision is a record as it is shown.
type decision struct {
	Time      time.Time `json:"time"`
	ID        string    `json:"request_id"`
	Method    string    `json:"method"`
	Namespace string    `json:"namespace,omitempty"`
	Mount     string    `json:"mount"`
	Engine    string    `json:"engine,omitempty"`
	Class     string    `json:"class"`
	Reason    string    `json:"reason"`
	Rule      string    `json:"rule,omitempty"`
	Topology  uint64    `json:"topology"`
	Tried     []attempt `json:"tried"`
	Attempts  int       `json:"attempts"`
	Cluster   string    `json:"cluster"`
	Status    int       `json:"status"`
	Code      string    `json:"code,omitempty"`
	Why       string    `json:"why,omitempty"`
	TookMs    float64   `json:"took_ms"`
}

type attempt struct {
	Cluster string  `json:"cluster"`
	Verdict string  `json:"verdict"`
	Status  int     `json:"status"`
	TookMs  float64 `json:"took_ms"`
}

// Dump writes the last n decisions, oldest first, one JSON object a line; 0 is all.
// Requests go on meanwhile.
func (f *Flight) Dump(w io.Writer, n int) error {
	end := f.next.Load()
	count := min(end, f.size)
	if n > 0 {
		count = min(count, uint64(n))
	}
	enc := json.NewEncoder(w)
	for i := end - count; i < end; i++ {
		r, ok := f.read(i)
		if !ok {
			continue
		}
		if err := enc.Encode(shown(&r)); err != nil {
			return fmt.Errorf("writing decisions: %w", err)
		}
	}
	return nil
}

// read gives the request with an index, if it is there yet and still.
func (f *Flight) read(i uint64) (proxy.Record, bool) {
	s := f.slot(i)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record, s.number == i+1
}

func shown(r *proxy.Record) decision {
	d := decision{
		Time: r.Began, ID: r.ID(), Method: r.Method, Namespace: r.Namespace, Mount: r.Mount, Engine: r.Engine,
		Class: r.Class, Reason: r.Reason, Rule: r.Rule, Topology: r.Generation, Tried: []attempt{}, Attempts: r.Attempts,
		Cluster: r.Cluster, Status: r.Status, Code: r.Code, Why: r.Why, TookMs: milliseconds(r.Took),
	}
	for _, t := range r.Tried {
		if t.Cluster != "" {
			d.Tried = append(d.Tried, attempt{Cluster: t.Cluster, Verdict: t.Verdict, Status: t.Status, TookMs: milliseconds(t.Took)})
		}
	}
	return d
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

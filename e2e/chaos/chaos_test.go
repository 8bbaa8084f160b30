package chaos

import (
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Flags, after -args.
var (
	forTime = flag.Duration("chaos.time", 20*time.Second, "how long to run seeds")
	first   = flag.Uint64("chaos.seed", 1, "the first seed; with -chaos.one the only one")
	onlyOne = flag.Bool("chaos.one", false, "run one seed, and tell its schedule")
	beside  = flag.Int("chaos.parallel", 3, "worlds at the same time")
)

const (
	clients   = 16
	runLength = 5 * time.Second
)

// TestChaos runs seeds until the time is over. A seed that fails is told, and can be run
// again: make chaos SEED=n.
func TestChaos(t *testing.T) {
	deadline := time.Now().Add(*forTime)
	var next, seeds atomic.Int64
	var all tally
	next.Store(int64(*first))
	var wg sync.WaitGroup
	for range *beside {
		wg.Go(func() {
			for done := false; !done; done = *onlyOne || time.Now().After(deadline) {
				seed := uint64(next.Add(1) - 1)
				if *onlyOne && seed != *first {
					return
				}
				t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
					all.add(run(t, seed))
				})
				seeds.Add(1)
			}
		})
	}
	wg.Wait()
	fmt.Printf("chaos: %d seeds from %d, %v", seeds.Load(), *first, &all)
}

// run is one seed.
func run(t *testing.T, seed uint64) *findings {
	t.Helper()
	w := start(t, seed)
	faults := plan(seed, runLength)
	h, x := &history{}, &trouble{since: make(map[string]time.Time)}
	w.use(t.Context(), seed, h, func() { w.torment(t.Context(), faults, x, t.Logf) })
	f := w.check(t.Context(), h, x)
	for _, p := range f.problems {
		t.Errorf("seed %d: %s", seed, p)
	}
	if len(f.problems) > 0 || *onlyOne {
		for _, s := range x.past {
			t.Logf("%s at %s: %v to %v", s.fault, s.cluster, s.began.Format("05.000"), s.end.Format("05.000"))
		}
	}
	return f
}

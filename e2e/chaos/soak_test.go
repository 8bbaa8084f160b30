package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

var soakFor = flag.Duration("chaos.soak", 0, "how long to break one and the same world")

// footprint is what a leak would show in.
type footprint struct {
	goroutines, files int
	heap              uint64
}

func measure(t *testing.T) footprint {
	t.Helper()
	runtime.GC()
	runtime.GC() // what finalizers held is gone after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Log("open files are not counted here:", err)
	}
	return footprint{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// TestSoak breaks one world again and again and looks for what grows: goroutines, open
// files, memory. The laboratory and the clients are in the same process, and counted.
// So the heap is reported, not judged: the laboratory keeps the log of all writes, and
// grows by some 300 bytes a request.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("a soak takes long: give -chaos.soak=30m, as make soak does")
	}
	w := start(t, *first)
	var before footprint
	rounds, requests := 0, 0
	for deadline := time.Now().Add(*soakFor); time.Now().Before(deadline); rounds++ {
		f := w.round(t, *first+uint64(rounds))
		requests += f.requests
		for _, p := range f.problems {
			t.Errorf("round %d: %s", rounds, p)
		}
		if rounds == 3 { // sessions, pools and caches are filled
			before = measure(t)
		}
	}
	after := measure(t)
	fmt.Printf("soak: %d rounds, %d requests in %v; goroutines %d, then %d; open files %d, then %d; heap %.1f MiB, then %.1f MiB\n",
		rounds, requests, *soakFor, before.goroutines, after.goroutines, before.files, after.files, mib(before.heap), mib(after.heap))
	if rounds > 10 && (after.goroutines > before.goroutines+100 || after.files > before.files+100) {
		t.Error("goroutines or open files grow")
	}
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// round breaks a world for a while, without changes of the primary, and checks what
// its clients saw.
func (w *world) round(t *testing.T, seed uint64) *findings {
	t.Helper()
	faults := plan(seed, runLength)
	for len(faults) > 0 && changesPrimary(faults[len(faults)-1].kind) {
		faults = faults[:len(faults)-1]
	}
	h, x := &history{}, &trouble{since: make(map[string]time.Time)}
	w.use(t.Context(), seed, h, func() { w.torment(t.Context(), faults, x, t.Logf) })
	return w.check(t.Context(), h, x)
}

// use has clients work while something is done, and a quiet second longer.
func (w *world) use(ctx context.Context, seed uint64, h *history, something func()) {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	for i := range clients {
		c := &client{number: i, run: seed, url: w.url, http: &http.Client{Transport: transport, Timeout: 20 * time.Second}, h: h, random: rand.New(rand.NewPCG(seed, uint64(i)+100))} //nolint:gosec // it has to be the same for the same seed
		working.Go(func() { c.work(ctx) })
	}
	something()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	cancel()
	working.Wait()
}

package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

var soakFor = flag.Duration("chaos.soak", 0, "how long to break one and the same world")

// TestSoak breaks one world again and again and looks for what grows in the proxy:
// goroutines, open files, memory. It runs as a process of its own, so that neither the
// laboratory, which keeps the log of all writes, nor the clients are counted.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("a soak takes long: give -chaos.soak=30m, as make soak does")
	}
	w := set(t, *first)
	p := w.spawn(t)
	var before, half footprint
	rounds, requests, began := 0, 0, time.Now()
	for ; time.Since(began) < *soakFor; rounds++ {
		f := w.round(t, *first+uint64(rounds))
		requests += f.requests
		for _, p := range f.problems {
			t.Errorf("round %d: %s", rounds, p)
		}
		if rounds == 10 { // pools are filled
			before = p.measure(t)
		}
		if half.heap == 0 && time.Since(began) >= *soakFor/2 {
			half = p.measure(t)
		}
	}
	after := p.measure(t)
	fmt.Printf("soak: %d rounds, %d requests in %v; the proxy, after 10 rounds, half of the time and at the end: goroutines %.0f, %.0f, %.0f; open files %.0f, %.0f, %.0f; heap in use %.1f, %.1f, %.1f MiB; resident %.1f, %.1f, %.1f MiB\n",
		rounds, requests, *soakFor, before.goroutines, half.goroutines, after.goroutines, before.files, half.files, after.files,
		before.heap/mib, half.heap/mib, after.heap/mib, before.resident/mib, half.resident/mib, after.resident/mib)
	if rounds <= 20 {
		return
	}
	if after.goroutines > before.goroutines+100 || after.files > before.files+100 {
		t.Error("goroutines or open files grow")
	}
	if *soakFor < 2*remembered {
		t.Logf("the heap is not judged: what clients did is remembered for %v, so it grows for as long", remembered)
		return
	}
	if after.heap > half.heap*5/4+16*mib {
		t.Error("the heap grows")
	}
}

// remembered is longer than what the proxy remembers of what clients did with time: the
// writes of ten minutes. What it remembers by number (sessions, leases, versions of secrets)
// grows on, up to its bounds.
const remembered = 11 * time.Minute

const mib = 1 << 20

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

package lab

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// roundTrip is the usual round trip between two regions.
func roundTrip(a, b string) time.Duration {
	if a == b || a == "" || b == "" {
		return time.Millisecond
	}
	if a > b {
		a, b = b, a
	}
	switch a + " " + b {
	case "eu-west us-east":
		return 80 * time.Millisecond
	case "eu-west us-west":
		return 140 * time.Millisecond
	case "us-east us-west":
		return 65 * time.Millisecond
	default:
		return 100 * time.Millisecond
	}
}

// jitter varies durations by up to 5 %, the same way for the same seed.
type jitter struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newJitter(seed uint64) *jitter {
	return &jitter{rng: rand.New(rand.NewPCG(seed, seed^0x6c6162))}
}

func (j *jitter) vary(d time.Duration) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Duration(float64(d) * (0.95 + 0.1*j.rng.Float64()))
}

// pause waits unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

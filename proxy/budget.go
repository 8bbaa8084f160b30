package proxy

import (
	"context"
	"sync"
	"time"
)

// The numbers of the budget.
const (
	extraShare   = 0.2 // of the requests may be repeated, or cost a login,
	extrasPerSec = 10  // and as many a second besides;
	extrasSaved  = 10 * time.Second
	// What was saved is for repeats down to the last; a login that a request needs leaves
	// a quarter of it, one ahead of need the half.
	saving        = extrasPerSec * 10
	leftByLogins  = saving / 4
	leftByPrewarm = saving / 2
	// longestNap bounds how long who waits does not look.
	longestNap = 250 * time.Millisecond
)

// Budget bounds what the proxy asks of Vault beyond its clients' requests: repeats at
// other nodes, hedges and logins together, a fifth of the requests and ten a second. When
// everything fails, these would only add to the load. What was not used is kept for ten
// seconds. It is safe for concurrent use, and may outlive the proxies that share it.
type Budget struct {
	mu     sync.Mutex
	saved  float64
	last   time.Time
	earned float64 // by requests in the last while, for the bound
}

// NewBudget makes a budget with ten seconds' worth.
func NewBudget() *Budget { return &Budget{saved: saving, last: time.Now()} }

// Earn adds to the budget: 1 for each extra that is paid for.
func (b *Budget) Earn(extras float64) { b.earn(time.Now(), extras) }

func (b *Budget) earn(now time.Time, extras float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	b.saved += extras
	b.earned += extras
}

// Login waits until there is enough for a login that a request needs, and takes its
// price. The error is that of ctx.
func (b *Budget) Login(ctx context.Context) error { return b.wait(ctx, 1, leftByLogins) }

// Spare waits until there is more than requests are likely to need, and takes nothing.
// The error is that of ctx.
func (b *Budget) Spare(ctx context.Context) error { return b.wait(ctx, 0, leftByPrewarm) }

// spend takes the price of one repeat; false: there is nothing left.
func (b *Budget) spend() bool { return b.take(1, 0) <= 0 }

func (b *Budget) wait(ctx context.Context, price, leave float64) error {
	for {
		missing := b.take(price, leave)
		if missing <= 0 {
			return nil
		}
		nap := time.NewTimer(min(time.Duration(missing/extrasPerSec*float64(time.Second))+time.Millisecond, longestNap))
		select {
		case <-ctx.Done():
			nap.Stop()
			return ctx.Err() //nolint:wrapcheck // says it all
		case <-nap.C:
		}
	}
}

// take takes a price if that leaves so much, and gives what is missing otherwise.
func (b *Budget) take(price, leave float64) (missing float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(time.Now())
	if b.saved < price+leave {
		return price + leave - b.saved
	}
	b.saved -= price
	return 0
}

// refill adds what time earned, and lets what is old go.
func (b *Budget) refill(now time.Time) {
	passed := now.Sub(b.last).Seconds()
	if passed <= 0 {
		return // another was faster
	}
	b.last = now
	b.earned *= max(0, 1-passed/extrasSaved.Seconds())
	b.saved = min(b.saved+passed*extrasPerSec, saving+b.earned)
}

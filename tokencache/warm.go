package tokencache

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Logging in ahead of need, and no faster than a cluster can bear: when a region is
// lost, the clients of all its proxies turn to the same survivor.

const (
	prewarmers  = 4               // prewarming logins at once
	warmQueue   = 1024            // new sessions waiting for them
	warmAfter   = 2 * time.Second // at most, after the clusters changed: proxies must not do it at the same time
	warmIfUsed  = 10 * time.Minute
	loginsAhead = 30 * time.Second // how long a login waits for its turn
)

// limiters bound the logins of each home.
type limiters struct {
	mu sync.Mutex
	of map[string]*rate.Limiter
}

func (l *limiters) get(home string, perSecond int) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = make(map[string]*rate.Limiter)
	}
	if l.of[home] == nil {
		l.of[home] = rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/2))
	}
	return l.of[home]
}

// unbounded is a Budget without an end.
type unbounded struct{}

func (unbounded) Earn(float64)                    {}
func (unbounded) Login(ctx context.Context) error { return ctx.Err() }
func (unbounded) Spare(ctx context.Context) error { return ctx.Err() }

// turn waits until a login on a home may begin.
func (c *Cache) turn(ctx context.Context, home string) error {
	ctx, cancel := context.WithTimeout(ctx, loginsAhead)
	defer cancel()
	if err := c.cfg.Budget.Login(ctx); err != nil {
		return err //nolint:wrapcheck // login says what it means
	}
	return c.limits.get(home, c.cfg.LoginRate).Wait(ctx)
}

// warmUp has a new session logged in where it may be needed. In a burst of logins some
// find no place; they are seen to later. The client's own login pays for them, so that
// many clients that log in do not use up what their requests may need.
func (c *Cache) warmUp(s *Session) {
	if s.creds == nil || c.cfg.Prewarm == nil {
		return
	}
	c.cfg.Budget.Earn(float64(len(c.cfg.Prewarm())))
	select {
	case c.warm <- s:
	default:
		c.left.Store(true)
	}
}

func (c *Cache) prewarmer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-c.warm:
			c.warmOn(ctx, s, c.cfg.Prewarm())
		}
	}
}

func (c *Cache) warmOn(ctx context.Context, s *Session, homes []string) {
	for _, home := range homes {
		if s.holds(home) == 0 && c.cfg.Budget.Spare(ctx) == nil {
			_, _ = s.Token(ctx, home) // a failure shows again when the token is needed
		}
	}
}

// rewarmer logs the sessions in use in where they may be needed next, when that has
// changed.
func (c *Cache) rewarmer(ctx context.Context) {
	if c.cfg.Prewarm == nil {
		return
	}
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	last := c.cfg.Prewarm()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		homes := c.cfg.Prewarm()
		if slices.Equal(homes, last) && !c.left.Swap(false) {
			continue
		}
		last = homes
		c.rewarm(ctx, homes)
	}
}

func (c *Cache) rewarm(ctx context.Context, homes []string) {
	spread := time.NewTimer(rand.N(warmAfter))
	defer spread.Stop()
	select {
	case <-ctx.Done():
		return
	case <-spread.C:
	}
	for _, s := range c.all() {
		if s.creds == nil || s == c.identity || s.idle(time.Now(), warmIfUsed) || s.holdsAll(homes) {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case c.warm <- s:
		}
	}
}

func (s *Session) holdsAll(homes []string) bool {
	return !slices.ContainsFunc(homes, func(home string) bool { return s.holds(home) == 0 })
}

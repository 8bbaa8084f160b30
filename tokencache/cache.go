package tokencache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
)

// Vault gives clients for control calls (logins, lookups, renewals) to whichever
// cluster of a home serves now. Implemented by internal/app.
type Vault interface {
	Client(home string) (*api.Client, error)
}

// The errors of this package; their texts are fit for clients.
var (
	// ErrSessionLost: the token is needed on another cluster, and its login cannot
	// be repeated there.
	ErrSessionLost = errors.New("the login behind this token cannot be repeated; log in again")
	// ErrBound: the token cannot be had on this home because nobody knows how to
	// log in for it.
	ErrBound = errors.New("this token is bound to the cluster that issued it")
	// ErrUnavailable: the cluster did not answer the login.
	ErrUnavailable = errors.New("logging in did not get an answer")
	// ErrNowhere: no cluster knows the token, lease or accessor.
	ErrNowhere = errors.New("no cluster knows it")
	// ErrUndecided: no cluster that answered knows it, but some could not be asked.
	ErrUndecided = errors.New("not every cluster that may know it could be asked")
)

// Config is all that a Cache needs. Vault is required.
type Config struct {
	Vault  Vault
	Replay bool // remember logins seen through the proxy, to repeat them elsewhere
	Max    int  // sessions kept; least recently used go first; default 10000
	// Idle is how long a session may be unused before its tokens on other homes are
	// given back; default 1h.
	Idle time.Duration
	// Prewarm names homes on which a new session gets a token ahead of need; nil: none.
	Prewarm func() []string
	// Identity is the proxy's own login; nil: none.
	Identity *IdentityConfig
	// LoginTimeout bounds one login; default 10s.
	LoginTimeout time.Duration
	// State is where the cache is kept over a restart.
	State StateConfig
	// LoginRate is how many logins a second one home gets at most; default 100.
	LoginRate int
	// Budget is what logins are paid from; nil: none is needed.
	Budget Budget
	// OnLogin is told every login the proxy made: the home, and "ok", "refused" or
	// "failed"; may be nil.
	OnLogin func(home, outcome string)
	// OnEvict is told when a session that was alive is pushed out by Max; may be nil.
	OnEvict func()
	Logger  *zap.Logger
}

// Budget bounds what the proxy asks of Vault beyond its clients' requests. Implemented by
// proxy.Budget.
type Budget interface {
	Earn(extras float64)
	Login(ctx context.Context) error // waits for, and takes, the price of one
	Spare(ctx context.Context) error // waits until there is more than requests need
}

func (c Config) withDefaults() Config {
	if c.Budget == nil {
		c.Budget = unbounded{}
	}
	if c.Max <= 0 {
		c.Max = 10000
	}
	if c.Idle <= 0 {
		c.Idle = time.Hour
	}
	if c.LoginTimeout <= 0 {
		c.LoginTimeout = 10 * time.Second
	}
	if c.LoginRate <= 0 {
		c.LoginRate = 100
	}
	if c.OnLogin == nil {
		c.OnLogin = func(string, string) {}
	}
	if c.OnEvict == nil {
		c.OnEvict = func() {}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

const (
	maxHomes     = 100_000          // leases, wrapping tokens and accessors remembered
	maxUnknown   = 10_000           // tokens remembered as known nowhere
	unknownFor   = 10 * time.Second // how long such a token is not asked for again
	sweepEvery   = time.Second      // renewals, expiry, giving back
	sweepers     = 8                // renewals or revocations at once
	revokeWithin = 5 * time.Second  // one attempt to give a token back
	lookupWithin = 2 * time.Second  // one question about a token or lease to one cluster
	refusedFirst = 2 * time.Second  // how long a refused login is not tried again at first: whom it is about may not be replicated yet
	refusedFor   = 30 * time.Second // and after that
)

// Cache holds all sessions. Start Run for renewals and expiry.
type Cache struct {
	hidden
	cfg      Config
	hashKey  []byte
	hashers  sync.Pool // of *hasher
	identity *Session  // nil without Config.Identity

	sessions   *lru.Cache[key, *Session]  // by the token the client holds; logins seen here
	foreign    *lru.Cache[key, *Session]  // the same for tokens not issued through this proxy
	homes      *lru.Cache[key, string]    // lease ids, wrapping tokens, accessors, and what else has a name
	accessors  *lru.Cache[key, key]       // of client tokens
	tokenHomes *lru.Cache[key, string]    // of client tokens, from the state file
	ids        atomic.Uint64              // of sessions, given so far
	changed    atomic.Bool                // since the state was written
	leases     *lru.Cache[key, string]    // lease ids alone, for counting
	unknown    *lru.Cache[key, time.Time] // tokens known nowhere
	lookups    singleflight.Group         // one search per token
	warm       chan *Session              // sessions waiting to be prewarmed
	left       atomic.Bool                // sessions found no place in warm
	limits     limiters                   // of logins, by home
	doomed     struct {
		sync.Mutex
		list []doomed // tokens to be revoked
	}
}

// doomed is a token the proxy minted and has to give back.
type doomed struct {
	home    string
	ns      string
	token   Token
	expires time.Time
}

// New makes an empty cache.
func New(cfg Config) (*Cache, error) {
	c := &Cache{cfg: cfg.withDefaults(), hashKey: make([]byte, 32), warm: make(chan *Session, warmQueue)}
	if _, err := rand.Read(c.hashKey); err != nil {
		return nil, fmt.Errorf("making the session key: %w", err)
	}
	var errs [7]error
	c.sessions, errs[0] = lru.NewWithEvict(c.cfg.Max, c.evicted)
	c.foreign, errs[1] = lru.New[key, *Session](c.cfg.Max)
	c.homes, errs[2] = lru.New[key, string](maxHomes)
	c.leases, errs[3] = lru.New[key, string](maxHomes)
	c.unknown, errs[4] = lru.New[key, time.Time](maxUnknown)
	c.accessors, errs[5] = lru.New[key, key](2 * c.cfg.Max)
	c.tokenHomes, errs[6] = lru.New[key, string](2 * c.cfg.Max)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("making the session cache: %w", err)
	}
	if err := c.restore(); err != nil {
		return nil, err
	}
	if cfg.Identity != nil {
		c.identity = c.newSession(key{}, "", Token{}, newConfigured(*cfg.Identity, cfg.Vault))
	}
	return c, nil
}

// Identity is the proxy's own session; nil when none is configured.
func (c *Cache) Identity() *Session { return c.identity }

// Sessions is how many client sessions are alive.
func (c *Cache) Sessions() int { return c.sessions.Len() }

// Tokens is how many tokens the proxy holds on a home, the clients' own included.
func (c *Cache) Tokens(home string) int {
	n := 0
	for _, s := range c.all() {
		n += s.holds(home)
	}
	return n
}

// Leases is how many leases are known to live on a home.
func (c *Cache) Leases(home string) int {
	n := 0
	for _, h := range c.leases.Values() {
		if h == home {
			n++
		}
	}
	return n
}

func (c *Cache) all() []*Session {
	out := append(c.sessions.Values(), c.foreign.Values()...)
	if c.identity != nil {
		out = append(out, c.identity)
	}
	return out
}

// NoteLease remembers the home of a lease.
func (c *Cache) NoteLease(home, id string) {
	c.homes.Add(c.keyOf(id), home)
	c.leases.Add(c.keyOf(id), home)
	c.changed.Store(true)
}

// ForgetLease forgets a revoked lease.
func (c *Cache) ForgetLease(id string) {
	c.homes.Remove(c.keyOf(id))
	c.leases.Remove(c.keyOf(id))
	c.changed.Store(true)
}

// NoteHome remembers the home of a wrapping token or accessor.
func (c *Cache) NoteHome(home, name string) {
	c.homes.Add(c.keyOf(name), home)
	c.changed.Store(true)
}

// HomeOf gives the remembered home of a lease, wrapping token, accessor or client
// token.
func (c *Cache) HomeOf(name string) (string, bool) {
	k := c.keyOf(name)
	if h, ok := c.homes.Get(k); ok {
		return h, true
	}
	if s, ok := c.lookup(k); ok && s.home != "" {
		return s.home, true
	}
	return c.tokenHomes.Peek(k)
}

// Run renews, expires and gives back until ctx ends, then returns after everything
// it started has. Tokens that the proxy minted are not revoked on the way out: leases
// that clients still use hang on them. They expire.
func (c *Cache) Run(ctx context.Context) error {
	var g errgroup.Group
	for range prewarmers {
		g.Go(func() error { c.prewarmer(ctx); return nil })
	}
	g.Go(func() error { c.rewarmer(ctx); return nil })
	g.Go(func() error { c.saver(ctx); return nil })
	g.Go(func() error { c.sweeper(ctx); return nil })
	return g.Wait()
}

func (c *Cache) sweeper(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.sweep(ctx)
		}
	}
}

func (c *Cache) sweep(ctx context.Context) {
	now := time.Now()
	var renewals errgroup.Group // one home that hangs must not let tokens on others expire
	renewals.SetLimit(sweepers)
	for _, s := range c.all() {
		switch {
		case s.expired(now):
			c.drop(s)
			continue
		case s.idle(now, c.cfg.Idle):
			s.giveBack(now) // what leases still hang on stays, and is renewed
		}
		for _, t := range s.due(now) {
			renewals.Go(func() error {
				auth, err := s.renew(ctx, t.home, t.it)
				s.renewed(t.home, t.it, auth, err)
				return nil
			})
		}
	}
	_ = renewals.Wait() // they return no error
	c.revokeDoomed(ctx)
}

// drop forgets a session; its minted tokens are revoked.
func (c *Cache) drop(s *Session) {
	if s == c.identity {
		return
	}
	s.end()
	c.sessions.Remove(s.key)
	c.foreign.Remove(s.key)
	c.tokenHomes.Remove(s.key)
	c.changed.Store(true)
}

// evicted is told of every session that leaves the cache. One that is alive was pushed
// out by others: the cache is too small.
func (c *Cache) evicted(_ key, s *Session) {
	if s.end() {
		c.cfg.OnEvict()
	}
}

// End ends the session of a client token, after its revocation. Unknown tokens are
// fine.
func (c *Cache) End(token string) {
	if s, ok := c.lookup(c.keyOf(token)); ok {
		c.drop(s)
	}
}

// EndAccessor ends the session of a client token by the token's accessor.
func (c *Cache) EndAccessor(accessor string) {
	if k, ok := c.accessors.Get(c.keyOf(accessor)); ok {
		if s, ok := c.lookup(k); ok {
			c.drop(s)
		}
	}
}

func (c *Cache) doom(d ...doomed) {
	c.doomed.Lock()
	defer c.doomed.Unlock()
	c.doomed.list = append(c.doomed.list, d...)
}

// revokeDoomed tries to give back every doomed token once; those whose home does
// not answer stay until they expire.
func (c *Cache) revokeDoomed(ctx context.Context) {
	c.doomed.Lock()
	list := c.doomed.list
	c.doomed.list = nil
	c.doomed.Unlock()
	var g errgroup.Group
	g.SetLimit(sweepers)
	for _, d := range list {
		if !d.expires.IsZero() && time.Now().After(d.expires) {
			continue
		}
		g.Go(func() error {
			if err := c.revoke(ctx, d); err != nil && !definite(err) {
				c.doom(d)
			}
			return nil
		})
	}
	_ = g.Wait() // they return no error
}

func (c *Cache) revoke(ctx context.Context, d doomed) error {
	client, err := c.cfg.Vault.Client(d.home)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, revokeWithin)
	defer cancel()
	client.SetToken(d.token.Reveal())
	enter(client, d.ns)
	return client.Auth().Token().RevokeSelfWithContext(ctx, "")
}

// enter makes the client speak to a namespace. A token does not exist above its own.
func enter(client *api.Client, namespace string) {
	if namespace != "" {
		client.SetNamespace(namespace)
	}
}

// definite reports whether Vault itself refused, so that asking again is useless.
func definite(err error) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && answer.StatusCode >= 400 && answer.StatusCode < 500 && answer.StatusCode != 412 && answer.StatusCode != 429 && answer.StatusCode != 472 && answer.StatusCode != 473
}

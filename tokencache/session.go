package tokencache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"
)

// Session is what is remembered of one client token.
type Session struct {
	hidden
	// What each request looks at comes first and together: of many sessions, none is in the
	// processor's caches.
	mu         sync.Mutex
	stirred    atomic.Int64 // Unix nanoseconds: when it was last made the most recently used
	id         uint64
	lot        float64
	everywhere bool // an orphan batch token: valid on every cluster of the set
	ended      bool
	tokens     byHome[held]
	expires    time.Time // of the client's token; zero: never
	used       time.Time

	creds   credentials // nil: cannot be repeated
	client  Token       // what the client holds; zero for the proxy's identity
	home    string      // where client is valid; empty for the identity and orphan batch tokens
	cache   *Cache
	key     key
	flight  singleflight.Group
	owns    byHome[time.Time] // until when leases or children made there may live
	refused byHome[refusal]
}

// refusal is a login that a home refused, and is not asked for until later.
type refusal struct{ until time.Time }

// again is the next refusal: only after the first the login is soon tried again, because
// Vault locks out who fails a few times.
func (r refusal) again(now time.Time) refusal {
	if r.until.IsZero() {
		return refusal{now.Add(refusedFirst)}
	}
	return refusal{now.Add(refusedFor)}
}

// held is one token on one home.
type held struct {
	token     Token
	accessor  string
	minted    bool // by the proxy, not by the client
	renewable bool
	ttl       time.Duration // at its making or last renewal; 0: does not expire
	first     time.Duration // ttl at its making
	since     time.Time
	retry     time.Time // not renewed before
}

func (h held) expired(now time.Time) bool { return h.ttl > 0 && now.After(h.since.Add(h.ttl)) }

// ending reports whether a token is in the last tenth of its life and past all
// renewals: it can't be renewed, or its renewals got short because it nears its
// maximum.
func (h held) ending(now time.Time) bool {
	return h.minted && h.ttl > 0 && now.After(h.since.Add(h.ttl-h.first/10))
}

func (h held) doomed(home, ns string) doomed {
	d := doomed{home: home, ns: ns, token: h.token}
	if h.ttl > 0 {
		d.expires = h.since.Add(h.ttl)
	}
	return d
}

func (h held) renewalDue(now time.Time) bool {
	return h.minted && h.renewable && h.ttl > 0 && now.After(h.since.Add(h.ttl*2/3)) && now.After(h.retry)
}

func (c *Cache) newSession(k key, home string, client Token, creds credentials) *Session {
	return &Session{cache: c, id: c.ids.Add(1), key: k, client: client, home: home, creds: creds, used: time.Now(), lot: rand.Float64()} //nolint:gosec // spreads load
}

// ID is the session's own for as long as the process lives.
func (s *Session) ID() uint64 { return s.id }

// Lot is a number from 0 to below 1, by chance and the same for the session's life.
func (s *Session) Lot() float64 { return s.lot }

// Client is the token the client holds; zero for the proxy's own identity.
func (s *Session) Client() Token { return s.client }

// Home is where the client's token was issued; empty when it is valid on every
// cluster or belongs to the proxy.
func (s *Session) Home() string { return s.home }

// Homes lists where the session holds a token now.
func (s *Session) Homes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	homes := make([]string, 0, len(s.tokens))
	for _, t := range s.tokens {
		homes = append(homes, t.home)
	}
	slices.Sort(homes)
	return homes
}

// Roams reports whether the session can have a token on any home.
func (s *Session) Roams() bool { return s.everywhere || s.creds != nil }

// Token gives the session's token on a home, logging in there if need be; callers
// that need it at the same time share one login. The errors are ErrSessionLost,
// ErrBound, ErrUnavailable, or the context's.
func (s *Session) Token(ctx context.Context, home string) (Token, error) {
	if t, err := s.have(home); err != nil || !t.IsZero() {
		return t, err // nearly always, and without an allocation
	}
	return s.obtain(ctx, home, s.have)
}

// lasting is Token for who hands the token on and can't come back for another: one
// that is about to end is replaced ahead of that. The old one stays valid until then.
func (s *Session) lasting(ctx context.Context, home string) (Token, error) {
	return s.obtain(ctx, home, func(home string) (Token, error) {
		t, err := s.have(home)
		if err == nil && s.ending(home) {
			return Token{}, nil
		}
		return t, err
	})
}

func (s *Session) ending(home string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	return s.tokens.at(home).ending(now) && !now.Before(s.refused.at(home).until)
}

// obtain gives the token that have knows of, or logs in.
func (s *Session) obtain(ctx context.Context, home string, have func(home string) (Token, error)) (Token, error) {
	if t, err := have(home); err != nil || !t.IsZero() {
		return t, err
	}
	if s.creds == nil {
		return Token{}, fmt.Errorf("%w (%s)", ErrBound, s.home)
	}
	// The login serves all who wait, so it does not end with the one who began it.
	done := s.flight.DoChan(home, func() (any, error) {
		if t, err := have(home); err != nil || !t.IsZero() {
			return t, err
		}
		return s.login(context.WithoutCancel(ctx), home)
	})
	select {
	case <-ctx.Done():
		return Token{}, ctx.Err()
	case r := <-done:
		t, _ := r.Val.(Token)
		return t, r.Err
	}
}

func (s *Session) have(home string) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.used = now
	if s.ended {
		return Token{}, ErrSessionLost
	}
	if s.everywhere {
		return s.client, nil
	}
	if h := s.tokens.on(home); h != nil && !h.expired(now) {
		return h.token, nil
	}
	if now.Before(s.refused.at(home).until) {
		return Token{}, ErrSessionLost
	}
	return Token{}, nil
}

// Has gives the session's token on a home if it has one; it never logs in.
func (s *Session) Has(home string) (Token, bool) {
	t, err := s.have(home)
	return t, err == nil && !t.IsZero()
}

func (s *Session) login(ctx context.Context, home string) (Token, error) {
	if err := s.cache.turn(ctx, home); err != nil {
		return Token{}, fmt.Errorf("%w: too many at once", ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cache.cfg.LoginTimeout)
	defer cancel()
	client, err := s.cache.cfg.Vault.Client(home)
	if err != nil {
		return Token{}, fmt.Errorf("%w: %s", ErrUnavailable, describe(err))
	}
	enter(client, s.creds.namespace(home))
	secret, err := s.creds.login(ctx, client, home)
	if err == nil && (secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "") {
		err = errNoToken
	}
	if err != nil {
		return Token{}, s.loginFailed(home, err)
	}
	s.cache.cfg.OnLogin(home, "ok")
	s.cache.cfg.Logger.Info("logged in", zap.String("home", home), zap.Bool("identity", s == s.cache.identity))
	return s.keep(home, secret.Auth), nil
}

// errNoToken: the login worked and cannot be finished without the client.
var errNoToken = errors.New("the answer holds no token: login MFA, or wrapped")

func (s *Session) loginFailed(home string, err error) error {
	kind, outcome := ErrUnavailable, "failed"
	if definite(err) || errors.Is(err, errNoToken) || errors.Is(err, ErrSessionLost) {
		kind, outcome = ErrSessionLost, "refused"
		s.mu.Lock()
		s.refused.put(home, s.refused.at(home).again(time.Now()))
		s.mu.Unlock()
	}
	s.cache.cfg.OnLogin(home, outcome)
	s.cache.cfg.Logger.Warn("login failed", zap.String("home", home), zap.String("outcome", outcome), zap.String("error", describe(err)))
	return fmt.Errorf("%w (%s)", kind, describe(err))
}

// keep stores a minted token. When the session has ended meanwhile, the token is
// given back at once.
func (s *Session) keep(home string, auth *api.SecretAuth) Token {
	ttl := time.Duration(auth.LeaseDuration) * time.Second
	h := held{token: NewToken(auth.ClientToken), accessor: auth.Accessor, minted: !s.borrowed(), renewable: auth.Renewable, ttl: ttl, first: ttl, since: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		if h.minted {
			s.cache.doom(h.doomed(home, s.creds.namespace(home)))
		}
		return h.token
	}
	s.tokens.put(home, h)
	s.refused.drop(func(on string, _ *refusal) bool { return on == home })
	s.cache.changed.Store(true)
	return h.token
}

// borrowed reports whether the session's tokens belong to somebody else (a token
// file): the proxy neither renews nor revokes them.
func (s *Session) borrowed() bool {
	c, ok := s.creds.(*configured)
	return ok && c.cfg.Method == "token_file"
}

// Accessor is the accessor of the session's token on a home; empty if unknown.
func (s *Session) Accessor(home string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens.at(home).accessor
}

// Rejected tells that a home does not accept a token any more. The token is
// forgotten, unless a newer one took its place meanwhile; again says whether
// asking for a token once more can help.
func (s *Session) Rejected(home string, t Token) (again bool) {
	if s.everywhere {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.creds != nil {
		s.tokens.drop(func(on string, h *held) bool { return on == home && h.token == t })
	}
	return s.creds != nil && !s.ended
}

// Extend tells that the client's token was renewed and lives for ttl from now.
func (s *Session) Extend(ttl time.Duration) {
	s.cache.changed.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ttl > 0 {
		s.expires = time.Now().Add(ttl)
	}
	if h := s.tokens.on(s.home); h != nil && !h.minted {
		h.since, h.ttl = time.Now(), ttl
	}
}

// Life is how long the client's token lives from now; false when it does not expire, or
// nobody knows.
func (s *Session) Life() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Until(s.expires), !s.expires.IsZero()
}

func (s *Session) expired(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.expires.IsZero() && now.After(s.expires)
}

// stirs reports whether a use has to be noted in the order of last use, which is exact to
// ten seconds: noting takes a lock that all requests share, and memory that nobody else
// looks at.
func (s *Session) stirs(now time.Time) bool {
	const exact = int64(10 * time.Second)
	last, at := s.stirred.Load(), now.UnixNano()
	return (at-last >= exact || at < last) && s.stirred.CompareAndSwap(last, at)
}

func (s *Session) idle(now time.Time, limit time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.used) > limit
}

func (s *Session) holds(home string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens.on(home) != nil {
		return 1
	}
	return 0
}

// Owns tells that a lease or child token was made on a home with the session's
// token there, and lives that long: revoking the token would end it too.
func (s *Session) Owns(home string, life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := time.Now().Add(life); until.After(s.owns.at(home)) {
		s.owns.put(home, until)
	}
}

// giveBack revokes the minted tokens on all homes where nothing hangs on them, and
// keeps the session.
func (s *Session) giveBack(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache.doom(s.takeMintedLocked(func(home string) bool { return now.After(s.owns.at(home)) })...)
}

func (s *Session) takeMintedLocked(which func(home string) bool) []doomed {
	var out []doomed
	s.tokens.drop(func(home string, h *held) bool {
		if !h.minted || !which(home) {
			return false
		}
		out = append(out, h.doomed(home, s.creds.namespace(home)))
		return true
	})
	if out != nil {
		s.cache.changed.Store(true)
	}
	return out
}

// end is the end of a session: nothing more is logged in for it, its credentials
// are wiped, its minted tokens revoked. It reports whether it was alive before.
func (s *Session) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.ended = true
	s.cache.doom(s.takeMintedLocked(func(string) bool { return true })...)
	if s.creds != nil {
		s.creds.wipe()
	}
	return true
}

package tokencache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"
)

// StateConfig is where the cache is kept over a restart. Without File it is not.
type StateConfig struct {
	File    string
	KeyFile string // holds the secret that File is encrypted with; read at each use
	// Credentials keeps the sessions themselves, with logins and tokens. Without it
	// only homes are kept: which cluster issued which token, lease and so on, by keyed
	// hashes.
	Credentials bool
}

const saveEvery = 5 * time.Second

// state is what is written. It holds secrets and leaves this file encrypted only.
type state struct {
	HashKey  []byte
	Homes    []homeState
	Leases   []homeState
	Tokens   []homeState // of client tokens, when the sessions are not kept
	Sessions []sessionState
	Foreign  []sessionState
}

type homeState struct {
	Key  []byte
	Home string
}

type sessionState struct {
	Client, Home     string
	Everywhere       bool
	Method, Path, NS string
	Repeats          bool // the login, with Method, Path, NS and Body
	Body             []byte
	Tokens           map[string]heldState
	Owns             map[string]time.Time `json:",omitempty"`
	Expires, Used    time.Time
}

type heldState struct {
	Token, Accessor   string
	Minted, Renewable bool
	TTL               time.Duration
	Since             time.Time
}

// restore fills an empty cache from the state file. A file that can't be used is put
// aside, so that nothing overwrites it, and the cache begins anew: what it held, Vault
// still knows. The error says that the key can't be had.
func (c *Cache) restore() error {
	file := c.cfg.State.File
	if file == "" {
		return nil
	}
	secret, err := readKey(c.cfg.State.KeyFile)
	if err != nil {
		return fmt.Errorf("the key of the session state: %w", err)
	}
	defer clear(secret)
	sealed, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("reading the session state: %w", err)
	}
	if err := c.decode(secret, sealed); err != nil {
		return c.putAside(file, err)
	}
	c.cfg.Logger.Info("session state restored", zap.Int("sessions", c.sessions.Len()), zap.Int("homes", c.homes.Len()))
	return nil
}

func (c *Cache) decode(secret, sealed []byte) error {
	plain, err := openState(secret, sealed)
	if err != nil {
		return err
	}
	defer clear(plain)
	var s state
	if err := json.Unmarshal(plain, &s); err != nil || len(s.HashKey) != len(c.hashKey) {
		return errForeignState
	}
	c.load(s)
	return nil
}

func (c *Cache) putAside(file string, why error) error {
	aside := file + ".unusable-" + time.Now().UTC().Format("20060102T150405.000")
	if err := os.Rename(file, aside); err != nil {
		return fmt.Errorf("the session state %s cannot be used (%w), nor put aside: %w", file, why, err)
	}
	c.cfg.Logger.Error("the session state cannot be used and was put aside; starting without it: clients' tokens and leases are looked for when they are used",
		zap.String("file", file), zap.String("aside", aside), zap.String("error", why.Error()))
	return nil
}

func (c *Cache) load(s state) {
	copy(c.hashKey, s.HashKey)
	loadHomes(c.homes, s.Homes)
	loadHomes(c.leases, s.Leases)
	loadHomes(c.tokenHomes, s.Tokens)
	c.loadSessions(c.sessions, s.Sessions)
	c.loadSessions(c.foreign, s.Foreign)
}

func (c *Cache) loadSessions(into *lru.Cache[key, *Session], kept []sessionState) {
	now := time.Now()
	for _, k := range kept {
		if session := c.loadSession(k); !session.expired(now) {
			into.Add(session.key, session)
		}
	}
}

func loadHomes(into *lru.Cache[key, string], kept []homeState) {
	for _, h := range kept {
		if len(h.Key) == len(key{}) {
			into.Add(key(h.Key), h.Home)
		}
	}
}

func (c *Cache) loadSession(kept sessionState) *Session {
	var creds credentials
	if kept.Repeats {
		creds = &replay{method: kept.Method, path: kept.Path, ns: kept.NS, body: kept.Body}
	}
	s := c.newSession(c.keyOf(kept.Client), kept.Home, NewToken(kept.Client), creds)
	s.everywhere, s.expires, s.used = kept.Everywhere, kept.Expires, kept.Used
	for home, until := range kept.Owns {
		s.owns.put(home, until)
	}
	for home, h := range kept.Tokens {
		s.tokens.put(home, held{token: NewToken(h.Token), accessor: h.Accessor, minted: h.Minted, renewable: h.Renewable, ttl: h.TTL, since: h.Since})
		if h.Accessor != "" && !h.Minted {
			c.accessors.Add(c.keyOf(h.Accessor), s.key)
		}
	}
	return s
}

// saver writes the state when it has changed, and once more at the end.
func (c *Cache) saver(ctx context.Context) {
	if c.cfg.State.File == "" {
		return
	}
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			c.save()
			return
		case <-ticker.C:
			c.save()
		}
	}
}

func (c *Cache) save() {
	if !c.changed.Swap(false) {
		return
	}
	if err := c.write(); err != nil {
		c.changed.Store(true)
		c.cfg.Logger.Error("the session state was not written", zap.String("error", err.Error()))
	}
}

func (c *Cache) write() error {
	secret, err := readKey(c.cfg.State.KeyFile)
	if err != nil {
		return err
	}
	defer clear(secret)
	plain, err := json.Marshal(c.snapshot())
	if err != nil {
		return fmt.Errorf("encoding the session state: %w", err)
	}
	defer clear(plain)
	sealed, err := sealState(secret, plain)
	if err != nil {
		return err
	}
	if err := replaceFile(c.cfg.State.File, 0o600, sealed); err != nil {
		return fmt.Errorf("writing %s: %w", c.cfg.State.File, err)
	}
	return nil
}

// snapshot is the state now, least recently used first, as the caches want it back.
func (c *Cache) snapshot() state {
	s := state{HashKey: c.hashKey, Homes: homesOf(c.homes), Leases: homesOf(c.leases), Tokens: homesOf(c.tokenHomes)}
	sessions, foreign := c.sessions.Values(), c.foreign.Values()
	if c.cfg.State.Credentials {
		s.Sessions, s.Foreign = kept(sessions), kept(foreign)
		return s
	}
	for _, session := range append(foreign, sessions...) {
		if session.home != "" {
			s.Tokens = append(s.Tokens, homeState{session.key[:], session.home})
		}
	}
	return s
}

func homesOf(from *lru.Cache[key, string]) []homeState {
	out := make([]homeState, 0, from.Len())
	for _, k := range from.Keys() {
		if home, ok := from.Peek(k); ok {
			out = append(out, homeState{k[:], home})
		}
	}
	return out
}

func kept(sessions []*Session) []sessionState {
	out := make([]sessionState, 0, len(sessions))
	for _, s := range sessions {
		if k, ok := s.kept(); ok {
			out = append(out, k)
		}
	}
	return out
}

func (s *Session) kept() (sessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := sessionState{
		Client: s.client.Reveal(), Home: s.home, Everywhere: s.everywhere, Expires: s.expires, Used: s.used,
		Owns: make(map[string]time.Time, len(s.owns)), Tokens: make(map[string]heldState, len(s.tokens)),
	}
	if r, ok := s.creds.(*replay); ok {
		out.Method, out.Path, out.NS, out.Body = r.method, r.path, r.ns, r.copy()
		out.Repeats = out.Body != nil // not wiped
	}
	for _, o := range s.owns {
		out.Owns[o.home] = o.it
	}
	for _, t := range s.tokens {
		h := t.it
		out.Tokens[t.home] = heldState{h.token.Reveal(), h.accessor, h.minted, h.renewable, h.ttl, h.since}
	}
	return out, !s.ended
}

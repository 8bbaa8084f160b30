package tokencache

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vrproxy/vrproxy/internal/lab"
)

func TestSessionsExpireWithTheirToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Config{Vault: nowhere{}, Replay: true})
		running(t, c)
		adopt := func(name string, seconds int) (*Session, []byte) {
			body := []byte("secret")
			return c.Adopt(Login{Home: "a", Path: "/v1/auth/x/login", Body: body, Auth: &api.SecretAuth{ClientToken: name, LeaseDuration: seconds}}), body
		}
		_, gone := adopt("short", 60)
		extended, kept := adopt("renewed", 60)
		adopt("forever", 0)
		<-time.After(50 * time.Second)
		extended.Extend(time.Minute)
		<-time.After(20 * time.Second)
		if c.Sessions() != 2 || !bytes.Equal(gone, make([]byte, 6)) || string(kept) != "secret" {
			t.Errorf("%d sessions, %q and %q", c.Sessions(), gone, kept)
		}
		<-time.After(time.Minute)
		if c.Sessions() != 1 || !bytes.Equal(kept, make([]byte, 6)) {
			t.Errorf("%d sessions, %q", c.Sessions(), kept)
		}
	})
}

func TestMintedTokensAreRenewedAtTwoThirds(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.user("short", map[string]any{"token_ttl": "4s"})
	c := newCache(t, Config{Vault: r, Replay: true})
	running(t, c)
	s, _ := r.login(c, "a", "short")
	minted := token(t, s, "b")
	since := time.Now()
	s.Extend(time.Hour) // the client renews its own
	eventually(t, "renewal", func() bool { return r.served("b", "auth/token/renew-self") > 0 })
	if took := time.Since(since); took < 4*time.Second*2/3 {
		t.Errorf("renewed after %v, want two thirds of 4s", took)
	}
	if n := r.served("a", "auth/token/renew-self"); n != 0 {
		t.Errorf("the client's own token was renewed %d times", n)
	}
	eventually(t, "a second renewal", func() bool { return r.served("b", "auth/token/renew-self") > 1 })
	if token(t, s, "b") != minted || !r.knows("b", minted) {
		t.Error("the renewed token was replaced or lost")
	}
}

func TestATokenThatCannotBeRenewedIsReplaced(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.user("brief", map[string]any{"token_ttl": "1s", "token_max_ttl": "1s"})
	c := newCache(t, Config{Vault: r, Replay: true})
	running(t, c)
	s, _ := r.login(c, "a", "brief")
	s.Extend(time.Hour)
	old := token(t, s, "b")
	eventually(t, "a new login", func() bool { return token(t, s, "b") != old })
	if n := r.served("b", "auth/userpass/login/brief"); n < 2 {
		t.Errorf("%d logins", n)
	}
}

// Vault tells whole seconds: a renewal in the last one is answered with 0.
func TestATokenRenewedInItsLastSecondStillEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Config{Vault: nowhere{}, Replay: true})
		s := c.Adopt(Login{Home: "a", Body: []byte("{}"), Auth: &api.SecretAuth{ClientToken: "hvs.client", LeaseDuration: 3600}})
		s.keep("b", &api.SecretAuth{ClientToken: "hvs.minted", LeaseDuration: 1, Renewable: true})
		<-time.After(900 * time.Millisecond)
		s.renewed("b", s.tokens.at("b"), &api.SecretAuth{ClientToken: "hvs.minted", LeaseDuration: 0, Renewable: true}, nil)
		if _, ok := s.Has("b"); !ok {
			t.Error("it ended too early")
		}
		<-time.After(200 * time.Millisecond)
		if _, ok := s.Has("b"); ok {
			t.Error("it is taken for one that never ends")
		}
	})
}

func TestIdleSessionsGiveBackWhatNothingHangsOn(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true, Idle: 10 * time.Millisecond})
	s, _ := r.login(c, "a", "demo")
	bare, holding := token(t, s, "b"), token(t, s, "c")
	s.Owns("c", time.Hour) // a lease
	running(t, c)
	eventually(t, "giving back", func() bool { return !r.knows("b", bare) })
	if !r.knows("c", holding) || !r.knows("a", s.Client()) {
		t.Error("a token with leases, or the client's own, was revoked")
	}
	if got := s.Homes(); len(got) != 2 || got[0] != "a" || got[1] != "c" {
		t.Errorf("tokens on %v", got)
	}
	if again := token(t, s, "b"); again == bare || !r.knows("b", again) {
		t.Error("the session has to go on")
	}
}

func TestTheEndRevokesEverywhereAlsoWhatIsDown(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true})
	running(t, c)
	s, l := r.login(c, "a", "demo")
	onB, onC := token(t, s, "b"), token(t, s, "c")
	r.Cluster("c").Kill()
	c.End(l.Auth.ClientToken)
	eventually(t, "b forgets the token", func() bool { return !r.knows("b", onB) })
	if err := r.Cluster("c").Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "c forgets the token", func() bool { return !r.knows("c", onC) })
	if !r.knows("a", s.Client()) {
		t.Error("the client's own token is the client's to revoke")
	}
}

func TestTheLeastRecentlyUsedSessionGoesFirst(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Replay: true, Max: 2})
	running(t, c)
	old, l := r.login(c, "a", "demo")
	minted := token(t, old, "b")
	r.login(c, "a", "demo")
	r.login(c, "a", "demo")
	if _, err := old.Token(t.Context(), "b"); !errors.Is(err, ErrSessionLost) || c.Sessions() != 2 {
		t.Errorf("%v, %d sessions", err, c.Sessions())
	}
	if strings.Contains(string(l.Body), "demo") {
		t.Error("its password is still in memory")
	}
	eventually(t, "revocation", func() bool { return !r.knows("b", minted) })
}

func TestTokensOfANamespaceAreRenewedAndRevokedThere(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.everywhere("sys/namespaces/team", nil)
	team := r.client("a", lab.RootToken)
	team.SetNamespace("team")
	for _, step := range []struct {
		path string
		data map[string]any
	}{
		{"sys/auth/userpass", map[string]any{"type": "userpass"}},
		{"auth/userpass/users/short", map[string]any{"password": "pw", "token_ttl": "2s"}},
		{"auth/userpass/users/long", map[string]any{"password": "pw"}},
	} {
		if _, err := team.Logical().WriteWithContext(t.Context(), step.path, step.data); err != nil {
			t.Fatal(err)
		}
	}
	c := newCache(t, Config{Vault: r, Replay: true})
	for _, user := range []string{"short", "long"} {
		s := c.Adopt(Login{Home: "c", Method: "PUT", Path: "/v1/auth/userpass/login/" + user, Namespace: "team", Body: []byte(`{"password":"pw"}`), Auth: &api.SecretAuth{ClientToken: "hvs." + user, LeaseDuration: 3600}})
		token(t, s, "a")
	}
	running(t, c)
	inTeam := func(path string) func() bool {
		return func() bool {
			for _, q := range r.Cluster("a").Served() {
				if q.Path == path && q.Namespace == "team/" {
					return true
				}
			}
			return false
		}
	}
	eventually(t, "renewal in the namespace", inTeam("auth/token/renew-self"))
	c.End("hvs.long")
	eventually(t, "revocation in the namespace", inTeam("auth/token/revoke-self"))
}

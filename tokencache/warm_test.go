package tokencache

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// Logins of one home go one after another when there are many; another home's do not
// wait for them.
func TestLoginsAreSpread(t *testing.T) {
	t.Parallel()
	r := start(t)
	var seen outcomes
	c := newCache(t, Config{Vault: r, Replay: true, LoginRate: 20, OnLogin: seen.add})
	var sessions []*Session
	for range 30 {
		s, _ := r.login(c, "a", "demo")
		sessions = append(sessions, s)
	}
	began := time.Now()
	var all sync.WaitGroup
	for _, s := range sessions {
		all.Go(func() { token(t, s, "b") })
	}
	all.Wait()
	// Half a second's worth at once, the other twenty one by one.
	if took := time.Since(began); took < 900*time.Millisecond || seen.of("b", "ok") != 30 {
		t.Errorf("%d logins in %v", seen.of("b", "ok"), took)
	}
}

// What was next-nearest becomes nearest: the sessions in use get a token where the next
// loss would send them.
func TestSessionsAreWarmedAnewWhenTheClustersChange(t *testing.T) {
	t.Parallel()
	r := start(t)
	var mu sync.Mutex
	homes := []string{"b"}
	c := newCache(t, Config{Vault: r, Replay: true, Prewarm: func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(homes)
	}})
	running(t, c)
	used, _ := r.login(c, "a", "demo")
	forgotten, _ := r.login(c, "a", "demo")
	eventually(t, "warm on b", func() bool { return used.holds("b") == 1 && forgotten.holds("b") == 1 })
	forgotten.mu.Lock()
	forgotten.used = time.Now().Add(-time.Hour)
	forgotten.mu.Unlock()
	mu.Lock()
	homes = []string{"b", "c"}
	mu.Unlock()
	eventually(t, "warm on c", func() bool { return used.holds("c") == 1 })
	if forgotten.holds("c") != 0 {
		t.Error("a session that nobody uses was logged in ahead of need")
	}
}

// A session that is pushed out alive is counted; one that ended is not.
func TestEvictionsAreCounted(t *testing.T) {
	t.Parallel()
	evicted := 0
	c := newCache(t, Config{Vault: nowhere{}, Max: 2, OnEvict: func() { evicted++ }})
	adopt := func(token string) {
		c.Adopt(Login{Home: "a", Body: []byte("{}"), Auth: &api.SecretAuth{ClientToken: token}})
	}
	adopt("one")
	adopt("two")
	c.End("one")
	adopt("three")
	if evicted != 0 {
		t.Errorf("%d evictions, and there was room", evicted)
	}
	adopt("four")
	if _, ok := c.Known("two"); ok || evicted != 1 {
		t.Errorf("%d evictions", evicted)
	}
}

// BenchmarkMemory tells what one session and one lease cost.
func BenchmarkMemory(b *testing.B) {
	const n = 20_000
	for b.Loop() {
		c, err := New(Config{Vault: nowhere{}, Replay: true, Max: n})
		if err != nil {
			b.Fatal(err)
		}
		before := heap()
		for i := range n {
			c.Adopt(Login{Home: "eu-west", Method: "PUT", Path: "/v1/auth/userpass/login/somebody", Body: []byte(`{"password":"correct horse battery staple"}`),
				Auth: &api.SecretAuth{ClientToken: fmt.Sprintf("hvs.CAESIBh2bsGyOCviG90dzc8JNEG6q81Mtgw90K1oq3_dWc77Gh4KHGh2cy56M2wxUlpBMzBrOTdhY1hUM0ZBQjZHN0w%06d", i), Accessor: fmt.Sprintf("XrtiqOSNb9CANiVWBc3g%06d", i), LeaseDuration: 3600, Renewable: true}})
		}
		sessions := heap()
		for i := range n {
			c.NoteLease("eu-west", fmt.Sprintf("database/creds/readonly/XrtiqOSNb9CANiVWBc3g%06d", i))
		}
		leases := heap()
		b.ReportMetric(float64(sessions-before)/n, "B/session")
		b.ReportMetric(float64(leases-sessions)/n, "B/lease")
		runtime.KeepAlive(c)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // unique handles are freed by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

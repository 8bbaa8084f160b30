package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// TestLimitedUses holds the proxy to spending none of a token's uses on itself.
func TestLimitedUses(t *testing.T) {
	const uses = 3
	w := newWorld(t, "")
	made := func(cluster string) func(*world) string {
		return func(w *world) string {
			r := w.root(cluster, http.MethodPost, "auth/token/create", limited(uses))
			return w.parse(r.body).text("auth", "client_token")
		}
	}
	for _, c := range []struct {
		name, home string
		make       func(*world) string
		read       func(*world, string, string, int) int
	}{
		{"made at the nearest cluster", nearest, made(nearest), (*world).readsInTurn},
		{"made at another cluster", "us-west", made("us-west"), (*world).readsInTurn},
		{"made at the nearest cluster, used at once", nearest, made(nearest), (*world).readsAtOnce},
		{"made through the proxy", nearest, func(w *world) string {
			r := w.via(w.session(), http.MethodPost, "auth/token/create", limited(uses), http.StatusOK, nearest)
			return w.parse(r.body).text("auth", "client_token")
		}, (*world).readsInTurn},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := w.in(t)
			token := c.make(w)
			got := c.read(w, token, c.home, uses)
			if got != uses {
				t.Errorf("%d reads with a token of %d uses", got, uses)
			}
			summarise(t, "a token of %d uses, %s: %d reads", uses, c.name, got)
		})
	}
}

func limited(uses int) string {
	return fmt.Sprintf(`{"policies":["demo"],"ttl":"10m","num_uses":%d}`, uses)
}

// readsInTurn counts how many reads a token serves, before Vault refuses it.
func (w *world) readsInTurn(token, home string, uses int) int {
	w.t.Helper()
	for n := range uses + 2 {
		r := w.do(w.proxy, token, http.MethodGet, "secret/data/hello", "")
		switch {
		case r.status == http.StatusForbidden && r.code == "":
			return n
		case r.status != http.StatusOK || r.cluster != home:
			w.t.Errorf("read %d: %+v", n+1, r)
			return n
		}
	}
	return uses + 2
}

// readsAtOnce counts how many of twice as many reads at the same time a token serves.
// To the others Vault says 403 or, while it revokes the token, 500.
func (w *world) readsAtOnce(token, home string, uses int) int {
	w.t.Helper()
	var work sync.WaitGroup
	var served atomic.Int64
	for range 2 * uses {
		work.Go(func() {
			switch r := w.do(w.proxy, token, http.MethodGet, "secret/data/hello", ""); {
			case r.status == http.StatusOK && r.cluster == home:
				served.Add(1)
			case r.status < http.StatusBadRequest || r.code != "":
				w.t.Errorf("a read: %+v", r)
			}
		})
	}
	work.Wait()
	return int(served.Load())
}

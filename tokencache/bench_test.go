package tokencache

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// full is a cache of n sessions that have a token on two homes, and their tokens.
func full(tb testing.TB, n int) (*Cache, []string) {
	tb.Helper()
	c, err := New(Config{Vault: nowhere{}, Replay: true, Max: n + 1})
	if err != nil {
		tb.Fatal(err)
	}
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("hvs.CAESIBh2bsGyOCviG90dzc8JNEG6q81Mtgw90K1oq3_dWc77Gh4KHGh2cy56M2wxUlpBMzBrOTdhY1hUM0ZBQjZHN0w%06d", i)
		s := c.Adopt(Login{Home: "eu-west", Method: "PUT", Path: "/v1/auth/userpass/login/somebody", Body: []byte(`{"password":"correct horse battery staple"}`),
			Auth: &api.SecretAuth{ClientToken: tokens[i], LeaseDuration: 3600}})
		s.keep("us-east", &api.SecretAuth{ClientToken: fmt.Sprintf("hvs.us-%06d", i), LeaseDuration: 3600})
	}
	return c, tokens
}

// ask is what a warm read asks of the cache: whose token it is, and the session's token on
// the cluster that is next.
func ask(tb testing.TB, c *Cache, token string) {
	s, ok := c.Known(token)
	if !ok {
		tb.Fatal("a session is gone")
	}
	if t, ok := s.Has("us-east"); !ok || t.IsZero() {
		tb.Fatal("its token is gone")
	}
}

// BenchmarkKnown is one session of many that asks again and again, and then all of them in
// turn, which costs what the processor's caches do not hold.
func BenchmarkKnown(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		c, tokens := full(b, n)
		b.Run(fmt.Sprintf("sessions=%d/one", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ask(b, c, tokens[n/2])
			}
		})
		b.Run(fmt.Sprintf("sessions=%d/all", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				ask(b, c, tokens[i%n])
				i++
			}
		})
	}
}

// BenchmarkManySessions is how much slower a session of 10,000 is than one of 10.
func BenchmarkManySessions(b *testing.B) {
	few, fewTokens := full(b, 10)
	many, manyTokens := full(b, 10_000)
	var ofFew, ofMany time.Duration
	for b.Loop() { // in turn, so that what else the machine does hits both
		ofFew += rounds(b, few, fewTokens[5])
		ofMany += rounds(b, many, manyTokens[5_000])
	}
	b.ReportMetric(ofMany.Seconds()/ofFew.Seconds(), "ratio")
}

func rounds(b *testing.B, c *Cache, token string) time.Duration {
	began := time.Now()
	for range 1000 {
		ask(b, c, token)
	}
	return time.Since(began)
}

package scale

import (
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// settings are the flags of `make scale`.
type settings struct {
	proxies, sessions *int
	interval          *time.Duration
	seed              *uint64
}

func flags() settings {
	return settings{
		flag.Int("scale.proxies", 25, "how many proxies are simulated"),
		flag.Int("scale.sessions", 3, "how many sessions each has"),
		flag.Duration("scale.interval", 2*time.Second, "health.interval"),
		flag.Uint64("scale.seed", 1, "of when proxies start and clients ask"),
	}
}

var given = flags() //nolint:gochecknoglobals // flags are read before any test begins

// The phases of a run: everything is well, the near region is lost, and it is back.
const (
	lostAt = 30 * time.Second
	backAt = 90 * time.Second
	endAt  = 150 * time.Second
)

// result is what a run showed.
type result struct {
	probes     int           // of one node in a second, at most
	logins     int           // at the survivor in a second, at most, after the loss
	allLogins  int           // at the survivor after the loss
	failed     int           // reads that no cluster answered
	stray      time.Duration // after the loss, until fewer than one in a hundred reads were sent there
	home       time.Duration // after it was back, until 99 of 100 reads were there
	peakReads  int           // at the survivor in a second, after the loss
	returnPeak int           // at the region that is back, in a second
}

// run simulates one loss of the near region.
func (f fleet) run(t *testing.T, why error) result {
	t.Helper()
	var v *vaults
	synctest.Test(t, func(t *testing.T) {
		v = newVaults()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		r := rand.New(rand.NewPCG(f.seed, 1)) //nolint:gosec // it is a simulation
		for range f.proxies {
			n, start := f.node(t, v), time.Duration(r.Int64N(int64(5*time.Second)))
			seeds := make([]uint64, f.sessions)
			for i := range seeds {
				seeds[i] = r.Uint64()
			}
			all.Go(func() {
				pause(ctx, start)
				all.Go(func() { _ = n.checker.Run(ctx) }) // ends with ctx
				<-n.checker.FirstRound()
				all.Go(func() { _ = n.tokens.Run(ctx) })
				for _, seed := range seeds {
					all.Go(func() { n.client(ctx, rand.New(rand.NewPCG(seed, 2)), f.every) }) //nolint:gosec // it is a simulation
				}
			})
		}
		pause(ctx, lostAt)
		v.lose(near, why)
		pause(ctx, backAt-lostAt)
		v.lose(near, nil)
		pause(ctx, endAt-backAt)
		cancel()
		all.Wait()
		pause(t.Context(), time.Minute) // logins in flight outlive who asked for them
	})
	return f.judge(v)
}

func (f fleet) judge(v *vaults) result {
	var out result
	for _, name := range []string{near, primary, far} {
		out.probes = max(out.probes, slices.Max(v.series(name, probe, 10*time.Second, endAt)))
	}
	after := v.series(primary, login, lostAt, endAt)
	out.logins = slices.Max(after)
	for _, n := range after {
		out.allLogins += n
	}
	for _, n := range v.series(near, failed, 0, endAt) {
		out.failed += n
	}
	rate := int(float64(f.proxies*f.sessions) / f.every.Seconds())
	for i, n := range v.series(near, read, lostAt, backAt) {
		if n*100 >= rate {
			out.stray = time.Duration(i+1) * time.Second
		}
	}
	for i, n := range v.series(primary, read, backAt, endAt) {
		if n*100 >= rate {
			out.home = time.Duration(i+1) * time.Second
		}
	}
	out.peakReads = slices.Max(v.series(primary, read, lostAt, backAt))
	out.returnPeak = slices.Max(v.series(near, read, backAt, endAt))
	return out
}

// What the defaults promise at any size: probes do not grow beyond their share, nobody's
// read fails when a region is lost, whichever way, and the survivor is not stormed with
// logins.
func TestARegionIsLostAndBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		why     error
		prewarm bool
	}{
		"refused, prewarmed": {errRefused, true}, "hung, prewarmed": {errHung, true},
		"refused, cold": {errRefused, false}, "hung, cold": {errHung, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleet{proxies: *given.proxies, sessions: *given.sessions, every: 2 * time.Second, interval: *given.interval, prewarm: c.prewarm, seed: *given.seed}
			got := f.run(t, c.why)
			t.Logf("%d proxies, %d sessions each: %+v", f.proxies, f.sessions, got)
			if got.failed > 0 {
				t.Errorf("%d reads failed", got.failed)
			}
			// sys/health and sys/replication/status at each interval; a node in doubt is asked
			// four times as often.
			if most := 8 * int(float64(f.proxies)/min(f.interval, 2*time.Second).Seconds()); got.probes > most {
				t.Errorf("%d probes of one node in a second, want at most %d", got.probes, most)
			}
			if got.stray > 15*time.Second {
				t.Errorf("reads were sent to the lost region for %s", got.stray)
			}
			if got.home > 45*time.Second {
				t.Errorf("reads were back after %s", got.home)
			}
			if all := f.proxies * f.sessions; c.prewarm && got.allLogins > all/10 || got.allLogins > all {
				t.Errorf("%d logins at the survivor for %d sessions", got.allLogins, all)
			}
		})
	}
}

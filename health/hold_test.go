package health

import (
	"testing"
	"testing/synctest"
	"time"
)

// A node that answers probes and fails requests is found out by the requests: each
// failure holds it back for twice as long, until a request is served.
func TestRequestsFindOutWhatProbesDoNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running(t, &script{}, "a")
		fail := func() time.Duration {
			c.Failed("a", "a", errRefused)
			if cl, _ := c.Topology().Cluster("a"); cl.State != StateDegraded || !cl.Nodes[0].Struck {
				t.Errorf("%s after a failed request", cl.State)
			}
			return until(t, c, "a", StateHealthy).Round(time.Millisecond)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			if took := fail(); took != want*time.Second {
				t.Errorf("failure %d held it back for %v, want %v", i+1, took, want*time.Second)
			}
		}
		c.Succeeded("a", "a")
		if cl, _ := c.Topology().Cluster("a"); cl.Nodes[0].Struck {
			t.Error("a served request is not remembered")
		}
		if took := fail(); took != holdBase {
			t.Errorf("after a served request, a failure held it back for %v", took)
		}
	})
}

// A cluster that is up and down every five seconds is used at most once a minute.
func TestAFlappingClusterIsHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{err: map[string]error{}}
		c := running(t, s, "a")
		returns, was := 0, StateHealthy
		count := func(d time.Duration) {
			for range d / (100 * time.Millisecond) {
				pass(100 * time.Millisecond)
				is := stateOf(t, c, "a")
				if is == StateHealthy && was != StateHealthy {
					returns++
				}
				was = is
			}
		}
		cycle := func() {
			s.set(func() { s.err["a"] = errRefused })
			count(5 * time.Second)
			s.set(func() { delete(s.err, "a") })
			count(5 * time.Second)
		}
		for range 12 { // two minutes of learning
			cycle()
		}
		learned := returns
		returns = 0
		for range 60 {
			cycle()
		}
		if returns > 10 {
			t.Errorf("used %d times in ten minutes", returns)
		}
		t.Logf("it came back %d times in the first two minutes, %d times in the ten after", learned, returns)
		// Once it stays up, it is used again, and its falls are forgotten.
		if took := until(t, c, "a", StateHealthy); took > holdMax+2*time.Second {
			t.Errorf("still held back after %v", took)
		}
		pass(forgetFalls)
		s.set(func() { s.err["a"] = errRefused })
		until(t, c, "a", StateDown)
		s.set(func() { delete(s.err, "a") })
		if took := until(t, c, "a", StateHealthy); took > 5*time.Second {
			t.Errorf("a first fall in minutes cost %v", took)
		}
	})
}

// What comes back begins with few requests.
func TestANodeThatComesBackIsEasedIn(t *testing.T) {
	t.Parallel()
	var n nodeState
	now := time.Now()
	th := thresholds{fall: 1, rise: 1}
	n = n.good(serving(), nil, th, now)
	if got := n.share(now); got != 1 {
		t.Errorf("a new node gets %v", got)
	}
	n = n.bad("timeout", th, now).good(serving(), nil, th, now)
	for after, want := range map[time.Duration]float64{0: easeFrom, easeIn / 2: 0.5, easeIn: 1, time.Hour: 1} {
		if got := n.node(now.Add(after)).Share; got != want {
			t.Errorf("%v after it came back it gets %v, want %v", after, got, want)
		}
	}
}

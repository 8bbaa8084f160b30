package health

import "time"

// All numbers of detection that are not in the configuration (health.fall, rise,
// interval, timeout) are here.
const (
	// holdBase and holdMax bound how long a node that failed is held back: used after
	// all others, though it answers. The time doubles with every failure, so that a
	// cluster that comes and goes is soon used once a minute at most.
	holdBase = time.Second
	holdMax  = time.Minute
	// forgetFalls is how long a node has to stay up until its falls are forgotten.
	forgetFalls = 3 * time.Minute
	// easeIn is how long a node that comes back takes to get its full share of
	// requests, and easeFrom the share it begins with.
	easeIn   = 10 * time.Second
	easeFrom = 0.1
	// fastRechecks is how many times faster a node under suspicion is probed.
	fastRechecks = 10
	// resolveEvery is how often names are resolved again.
	resolveEvery = 10 * time.Second
)

// holdFor is how long the nth failure in a row holds a node back.
func holdFor(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	return min(holdBase<<min(n-1, 10), holdMax)
}

// fell folds in that a node went down. Falls add up over time, whatever it served in
// between.
func (n nodeState) fell(now time.Time) nodeState {
	if now.Sub(n.lastFall) > forgetFalls {
		n.falls = 0
	}
	n.falls, n.lastFall = n.falls+1, now
	n.held = later(n.held, now.Add(holdFor(n.falls)))
	return n
}

// struck folds in that a request failed at a node that looked well. Such failures add
// up until a request is served: a node that answers probes and nothing else is found
// out by them.
func (n nodeState) struck(now time.Time) nodeState {
	n.strikes++
	n.held = later(n.held, now.Add(holdFor(n.strikes)))
	return n
}

// share is the part of the requests that a node should get, 1 for all: one that came
// back begins with few.
func (n nodeState) share(now time.Time) float64 {
	if n.rose.IsZero() {
		return 1
	}
	return min(1, max(easeFrom, float64(now.Sub(n.rose))/float64(easeIn)))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

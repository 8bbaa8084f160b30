package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	haClients = 4
	haPace    = 10 * time.Millisecond  // between the reads of a client, and its writes
	waited    = 250 * time.Millisecond // a write that took as long was held back
)

// call is one request as a client saw it.
type call struct {
	key          int // what it wrote; 0: it read
	began, ended time.Time
	reply
}

func (c call) ok() bool { return c.err == nil && c.status == http.StatusOK }

func (c call) took() time.Duration { return c.ended.Sub(c.began) }

// kind is what a failure has in common with others.
func (c call) kind() string {
	what := "read"
	if c.key > 0 {
		what = "write"
	}
	return fmt.Sprintf("%s: %d %s %.200q %v", what, c.status, c.code, strings.TrimSpace(c.body), c.err)
}

// harmless are the refusals by which the proxy says that nothing happened.
func harmless() []string { return []string{"no-primary", "no-healthy-cluster", "owner-unavailable"} }

// honest reports whether a failure is one of the contract's, or Vault's own.
func (c call) honest() bool {
	switch {
	case c.err != nil:
		return false
	case c.code == "":
		return c.status >= 500
	case slices.Contains(harmless(), c.code):
		return c.status == http.StatusServiceUnavailable
	}
	return c.code == "outcome-unknown" && c.status == http.StatusBadGateway || c.code == "deadline" && c.status == http.StatusGatewayTimeout
}

// load is clients that read one secret and write each of their own keys once.
type load struct {
	h     *haWorld
	token string
	keys  atomic.Int64
	mu    sync.Mutex
	calls []call
}

func (l *load) read() call { return l.call(0, http.MethodGet, "secret/data/hello", "") }

func (l *load) write() call {
	key := int(l.keys.Add(1))
	return l.call(key, http.MethodPost, fmt.Sprintf("secret/data/once/%d", key), fmt.Sprintf(`{"data":{"n":"%d"}}`, key))
}

func (l *load) call(key int, method, path, body string) call {
	c := call{key: key, began: time.Now()}
	c.reply = l.h.do(l.h.proxy, l.token, method, path, body)
	c.ended = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
	return c
}

// start lets clients read and write, neither waiting for the other, until the function
// it returns is called, which returns all that was done.
func (l *load) start() (stop func() []call) {
	var work sync.WaitGroup
	over := make(chan struct{})
	for range haClients {
		for _, f := range []func() call{l.read, l.write} {
			work.Go(func() {
				tick := time.NewTicker(haPace)
				defer tick.Stop()
				for {
					select {
					case <-over:
						return
					case <-tick.C:
						f()
					}
				}
			})
		}
	}
	end := sync.OnceFunc(func() { close(over); work.Wait() })
	l.h.t.Cleanup(end) // also when the test gives up
	return func() []call { end(); return l.calls }
}

// served reports whether so many reads and as many writes that began after since
// succeeded.
func (l *load) served(since time.Time, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	reads, writes := 0, 0
	for _, c := range l.calls {
		switch {
		case !c.ok() || c.began.Before(since):
		case c.key > 0:
			writes++
		default:
			reads++
		}
	}
	return reads >= n && writes >= n
}

// first asks as a new client until it is served, and returns when that was.
func (l *load) first(ask func() call) (at time.Time) {
	l.h.t.Helper()
	l.h.eventually("a new client is served", func() bool {
		c := ask()
		at = c.ended
		return c.ok()
	})
	return at
}

// era is a fault and its time.
type era struct {
	name                          string
	began, elected, mended, ended time.Time
	read, write                   time.Time // when a new client was served after the election
}

func (e era) has(c call) bool { return c.ended.After(e.began) && c.began.Before(e.ended) }

// tally is what an era did to clients.
type tally struct {
	reads, writes, failedReads, refused, unknown, waited int
	slowestRead, slowestWrite                            time.Duration
	firstRead, firstWrite                                time.Time
	kinds                                                map[string][]call
}

func (t *tally) add(e era, c call) {
	if t.kinds == nil {
		t.kinds = map[string][]call{}
	}
	if !c.ok() {
		t.kinds[c.kind()] = append(t.kinds[c.kind()], c)
	}
	if c.key == 0 {
		t.addRead(e, c)
		return
	}
	t.writes++
	t.slowestWrite = max(t.slowestWrite, c.took())
	switch {
	case c.ok() && c.took() >= waited:
		t.waited++
	case !c.ok() && slices.Contains(harmless(), c.code):
		t.refused++
	case !c.ok():
		t.unknown++
	}
	if c.ok() && c.began.After(e.began) && (t.firstWrite.IsZero() || c.ended.Before(t.firstWrite)) {
		t.firstWrite = c.ended
	}
}

func (t *tally) addRead(e era, c call) {
	t.reads++
	t.slowestRead = max(t.slowestRead, c.took())
	if !c.ok() {
		t.failedReads++
	}
	if c.ok() && c.began.After(e.began) && (t.firstRead.IsZero() || c.ended.Before(t.firstRead)) {
		t.firstRead = c.ended
	}
}

// report tells what each era did to clients, and returns what was done in none.
func (l *load) report(eras []era, all []call) (between []call) {
	l.h.t.Helper()
	sums := make([]tally, len(eras))
	for _, c := range all {
		// What hung from one era into the next is the next one's doing.
		i := len(eras) - 1
		for i >= 0 && !eras[i].has(c) {
			i--
		}
		if i < 0 {
			between = append(between, c)
			continue
		}
		sums[i].add(eras[i], c)
	}
	for i, e := range eras {
		sums[i].failures(l, e)
		sums[i].figures(l, e)
	}
	return between
}

// failures wants them to be honest, and none when the cluster could serve again.
func (t *tally) failures(l *load, e era) {
	l.h.t.Helper()
	for _, kind := range slices.Sorted(maps.Keys(t.kinds)) {
		calls := t.kinds[kind]
		slices.SortFunc(calls, func(a, b call) int { return int(a.took() - b.took()) })
		fastest, slowest := calls[0], calls[len(calls)-1]
		slices.SortFunc(calls, func(a, b call) int { return a.ended.Compare(b.ended) })
		first, last := calls[0], calls[len(calls)-1]
		l.h.t.Logf("%s: %d x %s: took %s to %s, came %s to %s after the fault", e.name, len(calls), kind,
			ms(fastest.took()), ms(slowest.took()), ms(first.ended.Sub(e.began)), ms(last.ended.Sub(e.began)))
		for _, c := range calls {
			if !c.honest() {
				l.h.t.Errorf("%s: no code of the contract: %+v", e.name, c)
			}
			if c.began.After(e.elected.Add(backSoon)) {
				l.h.t.Errorf("%s: failed %s after the election: %+v", e.name, c.began.Sub(e.elected), c)
			}
		}
	}
}

// figures wants the service to be back soon after the election.
func (t *tally) figures(l *load, e era) {
	l.h.t.Helper()
	for what, at := range map[string]time.Time{"read": e.read, "write": e.write} {
		if late := at.Sub(e.elected); late > backSoon {
			l.h.t.Errorf("%s: the first %s came %s after the election", e.name, what, late)
		}
	}
	summarise(l.h.t, "%s: new leader after %s, first read after %s, first write %s; of %d reads %d failed, slowest %s; of %d writes %d waited, %d refused, %d unknown, slowest %s",
		e.name, ms(e.elected.Sub(e.began)), ms(t.firstRead.Sub(e.began)), ms(t.firstWrite.Sub(e.began)),
		t.reads, t.failedReads, ms(t.slowestRead), t.writes, t.waited, t.refused, t.unknown, ms(t.slowestWrite))
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// check asks the active node for every key that was written.
func (l *load) check(all []call) {
	l.h.t.Helper()
	address, work := l.h.active().Address, make(chan call)
	var workers sync.WaitGroup
	var written, acknowledged, absent atomic.Int64
	for range haClients {
		workers.Go(func() {
			for c := range work {
				if c.ok() {
					acknowledged.Add(1)
				}
				switch v := l.versions(address, c.key); {
				case v == 1 && c.ok(), v == 1 && !slices.Contains(harmless(), c.code):
					written.Add(1)
				case v == 0 && !c.ok():
					absent.Add(1)
				default:
					l.h.t.Errorf("written %d times: %+v", v, c)
				}
			}
		})
	}
	for _, c := range all {
		if c.key > 0 {
			work <- c
		}
	}
	close(work)
	workers.Wait()
	summarise(l.h.t, "one raft cluster: %d writes acknowledged, %d there, each once; %d without acknowledgement are not there", acknowledged.Load(), written.Load(), absent.Load())
}

// versions is how often a key was written.
func (l *load) versions(address string, key int) int {
	r := l.h.do(address, l.h.raft.Token, http.MethodGet, fmt.Sprintf("secret/metadata/once/%d", key), "")
	if r.status == http.StatusNotFound {
		return 0
	}
	if r.status != http.StatusOK {
		l.h.t.Errorf("asking for key %d: %+v", key, r)
	}
	n, _ := l.h.parse(r.body).at("data", "current_version").(float64)
	return int(n)
}

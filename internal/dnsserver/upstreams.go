package dnsserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

const (
	// A resolver that failed is asked last, and probed this often until it answers.
	probeInterval = time.Second
	// One that leads back here is not asked at all, and probed less often.
	loopInterval = 30 * time.Second
	// fileInterval is how often resolv.conf files are looked at for changes.
	fileInterval = 2 * time.Second
	// loopDomain is where the names are that probes ask for. Nobody has it.
	loopDomain = ".vrproxy-loop."
)

// upstream is one resolver that questions are forwarded to.
type upstream struct {
	addr   string        // host:port
	name   string        // its probes ask for names below it; nobody else does
	probes atomic.Uint64 // each asks for another name: answers are cached on the way
	down   atomic.Bool   // it did not answer when last asked
	loops  atomic.Bool   // what it is asked comes back to us
	back   atomic.Bool   // the probe under way has come back
	wake   chan struct{} // it failed: probe it
}

func newUpstream(addr string) *upstream {
	return &upstream{addr: addr, name: strings.ToLower(rand.Text()) + loopDomain, wake: make(chan struct{}, 1)}
}

// inOrder keeps the configured order, but puts those that do not answer behind the
// others. All are tried in the end, for the probes may be what is broken; only those
// that lead back here are not.
func inOrder(upstreams []*upstream) []*upstream {
	var up, down []*upstream
	for _, u := range upstreams {
		switch {
		case u.loops.Load():
		case u.down.Load():
			down = append(down, u)
		default:
			up = append(up, u)
		}
	}
	return append(up, down...)
}

func (f *forwarder) anyUp() bool {
	return slices.ContainsFunc(*f.upstreams.Load(), func(u *upstream) bool { return !u.down.Load() && !u.loops.Load() })
}

// use replaces the upstreams; those that stay keep what is known of them.
func (f *forwarder) use(addrs []string) {
	var before, now []*upstream
	if p := f.upstreams.Load(); p != nil {
		before = *p
	}
	for _, addr := range addrs {
		i := slices.IndexFunc(before, func(u *upstream) bool { return u.addr == addr })
		if i < 0 {
			now = append(now, newUpstream(addr))
			continue
		}
		now = append(now, before[i])
	}
	f.upstreams.Store(&now)
	for _, u := range before {
		if !slices.Contains(now, u) {
			f.metrics.forwarder.DeleteLabelValues(u.addr)
		}
	}
}

// note keeps in mind how a question to an upstream ended.
func (f *forwarder) note(ctx context.Context, u *upstream, err error) {
	if err != nil && ctx.Err() != nil {
		return // the asker's time was over, or we are stopping: that says nothing
	}
	outcome, up := "answered", 1.0
	if err != nil {
		outcome = "failed"
	}
	wasDown := u.down.Swap(err != nil)
	if err != nil && !wasDown {
		select {
		case u.wake <- struct{}{}:
		default:
		}
	}
	if err != nil || u.loops.Load() {
		up = 0
	}
	f.metrics.forwards.WithLabelValues(u.addr, outcome).Inc()
	f.metrics.forwarder.WithLabelValues(u.addr).Set(up)
}

// run looks after the upstreams and fetches answers ahead of need.
func (f *forwarder) run(ctx context.Context) error {
	var g errgroup.Group
	for range refreshers {
		g.Go(func() error { return f.refresh(ctx) })
	}
	g.Go(func() error { return f.follow(ctx) })
	return g.Wait()
}

// follow watches the upstreams, and others when a resolv.conf names others.
func (f *forwarder) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		watched, cancel := context.WithCancel(ctx)
		var g errgroup.Group
		for _, u := range *f.upstreams.Load() {
			g.Go(func() error { return f.watch(watched, u) })
		}
		addrs := f.changed(ctx)
		cancel()
		_ = g.Wait() // watch has no errors
		if addrs != nil {
			f.use(addrs)
		}
	}
	return nil
}

// changed waits until the files name other resolvers; nil when ctx ends before. A file
// that cannot be read is being replaced, and one that names nobody but us was written
// by whoever plugs us in: then those before go on being asked.
func (f *forwarder) changed(ctx context.Context) []string {
	tick := time.NewTicker(fileInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		same := func(u *upstream, addr string) bool { return u.addr == addr }
		addrs, err := f.read()
		if err == nil && len(addrs) > 0 && !slices.EqualFunc(*f.upstreams.Load(), addrs, same) {
			return addrs
		}
	}
}

// watch probes an upstream at the start, when it failed, and then until it answers.
func (f *forwarder) watch(ctx context.Context, u *upstream) error {
	for {
		f.probe(ctx, u)
		var again <-chan time.Time
		switch {
		case u.loops.Load():
			again = time.After(loopInterval)
		case u.down.Load():
			again = time.After(probeInterval)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-u.wake:
		case <-again:
		}
	}
}

// probe asks for a name that only this probe asks for: an upstream that answers
// anything is up, and one that makes the question come back here leads to a loop.
func (f *forwarder) probe(ctx context.Context, u *upstream) {
	u.back.Store(false)
	q := question{name: fmt.Sprintf("%d.%s", u.probes.Add(1), u.name), qtype: dns.TypeHINFO, rd: true}
	_, err := f.try(ctx, u, q)
	if ctx.Err() != nil {
		return
	}
	u.loops.Store(u.back.Load())
	f.note(ctx, u, err)
	if u.loops.Load() {
		f.complain.about(fmt.Errorf("%w: by %s", errLoop, u.addr), dns.Question{Name: q.name, Qtype: q.qtype})
	}
}

// cameBack reports whether a question is one of our own probes.
func (f *forwarder) cameBack(name string) bool {
	if !strings.HasSuffix(name, loopDomain) {
		return false
	}
	for _, u := range *f.upstreams.Load() {
		if strings.HasSuffix(name, "."+u.name) {
			u.back.Store(true)
			return true
		}
	}
	return false
}

// readForward reads Config.Forward, leaving out what leads back to self.
func readForward(forward []string, self netip.AddrPort) ([]string, error) {
	var out []string
	for _, entry := range forward {
		addrs, err := expand(entry)
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if !isSelf(a, self) && !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// expand turns one entry of Config.Forward into host:port addresses.
func expand(entry string) ([]string, error) {
	if strings.Contains(entry, "/") {
		return readResolvConf(entry)
	}
	if ip, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
		return []string{netip.AddrPortFrom(ip, 53).String()}, nil
	}
	host, port, err := net.SplitHostPort(entry)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("forward %q is neither a path, an address nor host:port", entry)
	}
	return []string{entry}, nil
}

func readResolvConf(path string) ([]string, error) {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading forwarders: %w", err)
	}
	addrs := make([]string, len(conf.Servers))
	for i, server := range conf.Servers {
		addrs[i] = net.JoinHostPort(server, conf.Port)
	}
	return addrs, nil
}

// isSelf recognises our own socket, which a resolv.conf names once this server is
// plugged in there.
func isSelf(addr string, self netip.AddrPort) bool {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || ap.Port() != self.Port() {
		return false
	}
	ip, own := ap.Addr().Unmap(), self.Addr().Unmap()
	return ip == own || own.IsUnspecified() && (ip.IsLoopback() || ip.IsUnspecified())
}

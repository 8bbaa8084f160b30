package dnsserver

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// middle is a resolver that passes everything on to another server.
func middle(t *testing.T, to func() string) string {
	t.Helper()
	return fakeUpstream(t, func(w dns.ResponseWriter, req *dns.Msg) {
		resp, _, err := (&dns.Client{Timeout: time.Second}).Exchange(req, to())
		if err != nil {
			resp = new(dns.Msg).SetRcode(req, dns.RcodeServerFailure)
		}
		_ = w.WriteMsg(resp)
	})
}

// A resolver that asks us in turn is found out, told of once, and not asked any more.
func TestLoop(t *testing.T) {
	t.Parallel()
	var self atomic.Value
	var asked atomic.Int64
	core, logs := observer.New(zap.WarnLevel)
	loop := middle(t, func() string { return self.Load().(string) })
	good := library(t, &asked, map[string][]string{"www.example.": {"www.example. 60 A 192.0.2.1"}})
	self.Store("127.0.0.1:1")
	s := start(t, world(), forwardTo(loop, good), func(c *Config) { c.Logger = zap.New(core) })
	self.Store(s.Addr().String())
	f := s.live.Load().forward
	u := (*f.upstreams.Load())[0]
	eventually(t, "the loop is found", func() bool {
		if u.loops.Load() {
			return true
		}
		select { // as when it had failed
		case u.wake <- struct{}{}:
		default:
		}
		return false
	})
	if resp := s.query(t, "www.example.", dns.TypeA); len(resp.Answer) != 1 {
		t.Errorf("the other resolver's answer: %v", resp)
	}
	found := logs.FilterMessage("dns: " + errLoop.Error())
	if found.Len() != 1 || !strings.Contains(found.All()[0].ContextMap()["error"].(string), loop) {
		t.Errorf("log: %v", found.All())
	}
	if s.metric(t, "vrproxy_dns_forwarder_up", loop) != 0 || s.metric(t, "vrproxy_dns_forwarder_up", good) != 1 {
		t.Error("metrics say otherwise")
	}
	if err := s.Reload(Config{Zone: "vault.internal", Forward: []string{loop}, Timeout: 300 * time.Millisecond, Topology: s.topology.Load}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing but a loop is SERVFAIL at once", func() bool {
		_, err := s.live.Load().forward.ask(t.Context(), question{name: "x.", qtype: dns.TypeA})
		return err == errLoop //nolint:errorlint // it is not wrapped
	})
	if resp := s.query(t, "www.example.", dns.TypeA); resp.Rcode != dns.RcodeServerFailure {
		t.Errorf("nothing but a loop: %v", resp)
	}
}

// A resolv.conf that changes is followed; one that is gone, empty or names us is not.
func TestResolvConfChanges(t *testing.T) {
	t.Parallel()
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
		m, err := newMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Forward: []string{conf}, Timeout: time.Second}.withDefaults()
		f, err := newForwarder(cfg, loopbackPort53(), m, newComplaints(cfg.Logger))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		next := make(chan []string)
		go func() { next <- f.changed(ctx) }()
		for _, same := range []string{"nameserver 192.0.2.1\nnameserver 192.0.2.2\n# a comment\n", "", "nameserver 127.0.0.1\n"} {
			write(same)
			<-time.After(3 * fileInterval)
		}
		write("nameserver 192.0.2.2\nnameserver 192.0.2.3\n")
		addrs := <-next
		kept := (*f.upstreams.Load())[1]
		f.use(addrs)
		if !slices.Equal(addrs, []string{"192.0.2.2:53", "192.0.2.3:53"}) || (*f.upstreams.Load())[0] != kept {
			t.Errorf("got %v", addrs)
		}
		go func() { next <- f.changed(ctx) }()
		cancel()
		if addrs := <-next; addrs != nil {
			t.Errorf("after the end: %v", addrs)
		}
	})
}

// While nobody answers, what has expired is given for a while; addresses of nodes
// are not.
func TestStaleAnswers(t *testing.T) {
	t.Parallel()
	var gone atomic.Bool
	up := fakeUpstream(t, func(w dns.ResponseWriter, req *dns.Msg) {
		if gone.Load() {
			return
		}
		resp := new(dns.Msg).SetReply(req)
		resp.Answer = []dns.RR{rr(t, "www.example. 1 A 192.0.2.1")}
		_ = w.WriteMsg(resp)
	})
	s := start(t, world(), forwardTo(up), func(c *Config) { c.ServeStale = time.Hour })
	if resp := s.query(t, "www.example.", dns.TypeA); len(resp.Answer) != 1 {
		t.Fatal(resp)
	}
	gone.Store(true)
	edns := new(dns.Msg).SetQuestion("www.example.", dns.TypeA).SetEdns0(1232, false)
	eventually(t, "the answer is a stale one", func() bool {
		resp := s.ask(t, "udp", edns)
		if len(resp.Answer) != 1 {
			t.Fatalf("no answer: %v", resp)
		}
		opts := resp.IsEdns0().Option
		return len(opts) == 1 && opts[0].(*dns.EDNS0_EDE).InfoCode == dns.ExtendedErrorCodeStaleAnswer && resp.Answer[0].Header().Ttl == staleTTL
	})
	began := time.Now()
	s.query(t, "www.example.", dns.TypeA)
	if took := time.Since(began); took > 250*time.Millisecond {
		t.Errorf("who is known to be gone was waited for: %s", took)
	}
	if _, _, err := s.live.Load().forward.resolve(t.Context(), "www.example", dns.TypeA); err == nil {
		t.Error("a node got a stale address")
	}
	gone.Store(false)
	eventually(t, "the answer is a new one", func() bool { return len(s.ask(t, "udp", edns).IsEdns0().Option) == 0 })
}

func TestCacheStates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, q := newCache(10, time.Minute), question{name: "x.", qtype: dns.TypeA}
		m := new(dns.Msg).SetQuestion("x.", dns.TypeA)
		m.Answer = []dns.RR{rr(t, "x. 100 A 192.0.2.1")}
		want := func(about string, state freshness) {
			t.Helper()
			if _, got := c.get(q); got != state {
				t.Errorf("%s: %d, want %d", about, got, state)
			}
		}
		want("nothing", missing)
		c.put(q, m)
		<-time.After(91 * time.Second)
		want("first hit near the end", fresh)
		want("second", fresh)
		want("third", due)
		want("said once", fresh)
		<-time.After(9 * time.Second)
		want("over", expired)
		<-time.After(time.Minute)
		want("over for too long", missing)
		none := newCache(0, time.Minute)
		none.put(q, m)
		if _, got := none.get(q); got != missing {
			t.Error("a cache of no size keeps something")
		}
	})
}

// A popular answer is fetched before it expires, so nobody waits for it.
func TestPopularAnswersAreFetchedAhead(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	up := library(t, &asked, map[string][]string{"www.example.": {"www.example. 1 A 192.0.2.1"}})
	s := start(t, world(), forwardTo(up))
	f, q := s.live.Load().forward, question{name: "www.example.", qtype: dns.TypeA, rd: true}
	eventually(t, "it is fetched ahead", func() bool {
		s.query(t, "www.example.", dns.TypeA)
		return s.metric(t, "vrproxy_dns_cache_total", "prefetch") > 0
	})
	if m, state := f.cache.get(q); m == nil || state == expired {
		t.Error("nothing fresh in the cache")
	}
	if asked.Load() < 2 {
		t.Error("nobody was asked")
	}
}

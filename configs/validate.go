package configs

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// validator judges a decoded Config as a whole.
type validator struct {
	*report
	c *Config
}

// validate adds every problem with c to r.
func validate(c *Config, r *report) {
	v := validator{report: r, c: c}
	if c.Region == "" {
		v.add("region", "it is required; say where this proxy runs, or set VRPROXY_REGION")
	}
	v.clusters()
	v.listeners()
	v.admin()
	v.clashes()
	v.identity()
	v.routing()
	v.dns()
	v.tracing()
	v.numbers()
}

// required reports a missing value.
func (v validator) required(key, value, remedy string) {
	if value == "" {
		v.add(key, "it is required; %s", remedy)
	}
}

// numbers holds the numbers and durations to their ranges.
func (v validator) numbers() {
	c := v.c
	v.atLeastOne("sessions.max", c.Sessions.Max)
	v.atLeastOne("sessions.login_rate", c.Sessions.LoginRate)
	v.sessionState()
	for i, method := range c.Sessions.ReplayExcept {
		if method == "" || strings.Contains(method, "/") {
			v.add(fmt.Sprintf("sessions.replay_except[%d]", i), "%q is not the type of an auth method; write it as in okta or ldap", shorten(method))
		}
	}
	v.atLeastOne("health.fall", c.Health.Fall)
	v.atLeastOne("health.rise", c.Health.Rise)
	v.positive("sessions.idle", c.Sessions.Idle)
	v.positive("health.interval", c.Health.Interval)
	v.positive("health.timeout", c.Health.Timeout)
	v.notNegative("routing.latency_window", c.Routing.LatencyWindow)
	v.notNegative("routing.primary_wait", c.Routing.PrimaryWait)
	v.atLeastOne("routing.max_in_flight", c.Routing.MaxInFlight)
	v.notNegative("routing.max_staleness", c.Routing.MaxStaleness)
	v.limits()
	v.notNegative("shutdown.drain_delay", c.Shutdown.DrainDelay)
	v.notNegative("shutdown.drain_timeout", c.Shutdown.DrainTimeout)
	if c.Health.Timeout > c.Health.Interval && c.Health.Interval > 0 {
		v.add("health.timeout", "%s is longer than the interval of %s; probes of one node would overlap, so make it at most %s",
			c.Health.Timeout, c.Health.Interval, c.Health.Interval)
	}
}

// limits judges the bounds of both sides.
func (v validator) limits() {
	l, c := v.c.Limits, v.c.Connections
	v.atLeastOne("limits.connections", l.Connections)
	v.atLeastOne("limits.in_flight", l.InFlight)
	v.size("limits.repeat_body", l.RepeatBody)
	v.size("limits.header_bytes", l.HeaderBytes)
	v.positive("limits.header_timeout", l.HeaderTimeout)
	v.positive("limits.idle_timeout", l.IdleTimeout)
	v.atLeastOne("connections.per_node", c.PerNode)
	v.atLeastOne("connections.idle_per_node", c.IdlePerNode)
	v.positive("connections.idle_timeout", c.IdleTimeout)
	v.positive("connections.lifetime", c.Lifetime)
}

// size holds what a request may take of memory to its range. Below it, requests that
// Vault's own clients send would not fit, and routing looks into small bodies.
func (v validator) size(key string, n int) {
	if least, most := 4<<10, 16<<20; n < least || n > most {
		v.add(key, "%d is out of range; give %d to %d bytes", n, least, most)
	}
}

func (v validator) atLeastOne(key string, n int) {
	if n < 1 {
		v.add(key, "%d is too small; give 1 or more", n)
	}
}

func (v validator) positive(key string, d time.Duration) {
	if d <= 0 {
		v.add(key, "%s is too short; give a duration above 0s", d)
	}
}

func (v validator) notNegative(key string, d time.Duration) {
	if d < 0 {
		v.add(key, "%s is negative; give 0s or more", d)
	}
}

func (v validator) between(key string, d, most time.Duration, word string) {
	if d < 0 || d > most {
		v.add(key, "%s is out of range; give 0s to %s", d, word)
	}
}

// maxCacheSize is about 4 GB of the largest answers.
const maxCacheSize = 1_000_000

// dns judges the DNS server's block.
func (v validator) dns() {
	d := v.c.DNS
	if d == nil {
		return
	}
	v.hostPort("dns.address", d.Address, DefaultDNSAddress)
	if !isZone(d.Zone) {
		v.add("dns.zone", "%q is not a domain name; write it like %s", shorten(d.Zone), DefaultDNSZone)
	}
	v.between("dns.ttl", d.TTL, time.Hour, "1h")
	v.between("dns.negative_ttl", d.NegativeTTL, time.Hour, "1h")
	v.between("dns.serve_stale", d.ServeStale, 24*time.Hour, "24h")
	if d.CacheSize < 0 || d.CacheSize > maxCacheSize {
		v.add("dns.cache_size", "%d is out of range; give 0 to %d", d.CacheSize, maxCacheSize)
	}
	if d.RateLimit < 0 {
		v.add("dns.rate_limit", "%d is negative; give 0 for no limit, or how many questions a second", d.RateLimit)
	}
	for i, resolver := range d.Forward {
		v.resolver(fmt.Sprintf("dns.forward[%d]", i), resolver)
	}
}

func (v validator) resolver(key, resolver string) {
	if strings.HasPrefix(resolver, "/") {
		return
	}
	host, port, err := net.SplitHostPort(resolver)
	if err != nil || host == "" || !isPort(port) || port == "0" {
		v.add(key, "%q is not a resolver; write host:port like 10.0.0.2:53, or the absolute path of a resolv.conf", shorten(resolver))
	}
}

// tracing judges where spans go.
func (v validator) tracing() {
	t := v.c.Tracing
	if t == nil {
		return
	}
	u, err := url.Parse(t.Endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		v.add("tracing.endpoint", "%q is no collector's URL; write it like http://127.0.0.1:4318", shorten(t.Endpoint))
	}
	if t.TLS != nil {
		v.pair("tracing.tls", t.TLS.CertFile, t.TLS.KeyFile)
	}
}

// isZone reports whether zone is a domain name with its final dot.
func isZone(zone string) bool {
	name, ok := strings.CutSuffix(zone, ".")
	if !ok || len(name) > 253 {
		return false
	}
	return !slices.ContainsFunc(strings.Split(strings.ToLower(name), "."), func(label string) bool {
		return !dnsLabel.MatchString(label)
	})
}

// hostPort reports whether address is host:port, and adds a problem if not.
func (v validator) hostPort(key, address, example string) bool {
	if address == "" {
		v.add(key, "it is required; write host:port like %s", example)
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isPort(port) || strings.ContainsAny(host, "/ ") {
		v.add(key, "%q is not an address; write host:port like %s", shorten(address), example)
		return false
	}
	return true
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// sessionState holds the keys together that need each other.
func (v validator) sessionState() {
	s := v.c.Sessions
	switch {
	case s.StateFile != "" && s.StateKeyFile == "":
		v.add("sessions.state_file", "it needs a key to be encrypted with; give sessions.state_key_file")
	case s.StateFile == "" && s.StateKeyFile != "":
		v.add("sessions.state_key_file", "it has nothing to encrypt; give sessions.state_file, or leave it out")
	case s.StateFile == "" && s.PersistCredentials:
		v.add("sessions.persist_credentials", "there is no file to keep them in; give sessions.state_file")
	case s.StateFile != "" && s.StateFile == s.StateKeyFile:
		v.add("sessions.state_key_file", "it is the state file itself; keep the key elsewhere")
	}
}

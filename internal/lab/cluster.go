package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/store"
)

const (
	bindWithin = 10 * time.Second
	bindPause  = 50 * time.Millisecond
)

// servedLimit bounds the record of requests.
const servedLimit = 10_000

// Served is one request that a cluster executed, or passed on to the primary.
type Served struct {
	Time      time.Time
	Method    string
	Path      string // decoded, below the namespace
	Namespace string // "" or "team/"
	Status    int
	Forwarded bool // arrived by forwarding from a secondary
}

// Cluster is one simulated cluster. Its methods are safe for concurrent use.
type Cluster struct {
	lab     *Lab
	name    string
	region  string
	id      string
	rtt     time.Duration
	address string // host:port
	backend backend
	wake    chan struct{} // the follower has to look again
	server  *http.Server

	mu       sync.Mutex
	role     string
	drOf     *Cluster
	upstream *Cluster // whom a secondary follows
	perfSet  string   // id of the performance replication set
	repl     replicating
	listener *listener
	conns    map[*conn]bool

	killed, sealed, partitioned, stalled, blackholed bool

	mute, deaf bool         // half a partition
	clock      atomic.Int64 // how far ahead it is, in nanoseconds

	life                    int    // counts kills: a request does not outlive its process
	pose                    string // what sys/health pretends, see Pose
	slow                    time.Duration
	changed                 chan struct{} // closed when a fault begins or ends
	resetBefore, resetAfter int

	served   []Served
	applied  map[string]int
	remote   store.Position // reached in the source
	caughtUp time.Time      // when the follower last had everything
	started  time.Time
}

// Name of the cluster.
func (c *Cluster) Name() string { return c.name }

// Region where the cluster is.
func (c *Cluster) Region() string { return c.region }

// Address is the cluster's URL; it stays the same across Kill and Restart.
func (c *Cluster) Address() string { return "http://" + c.address }

// ID is the cluster id that sys/health and X-Vault-Index show.
func (c *Cluster) ID() string { return c.id }

// RTT is the simulated round trip from Config.Region.
func (c *Cluster) RTT() time.Duration { return c.rtt }

// Role is primary, secondary or dr.
func (c *Cluster) Role() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.role
}

// State is running, killed, sealed, stalled or blackholed.
func (c *Cluster) State() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.killed:
		return "killed"
	case c.blackholed:
		return "blackholed"
	case c.stalled:
		return "stalled"
	case c.sealed:
		return "sealed"
	default:
		return "running"
	}
}

// Partitioned reports whether the links to the other clusters are cut.
func (c *Cluster) Partitioned() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partitioned
}

// Served returns the last API requests that reached this cluster's engine;
// sys/health and sys/replication are left out.
func (c *Cluster) Served() []Served {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Served(nil), c.served[max(0, len(c.served)-servedLimit):]...)
}

// Applied tells how many requests to this decoded path (below /v1/, with the
// namespace) changed storage here. Replication does not count, nor does the
// part of a secondary in a request that it passed on.
func (c *Cluster) Applied(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applied[path]
}

// RevokeToken makes this cluster forget a token and what depends on it.
func (c *Cluster) RevokeToken(token string) { c.backend.forget(token) }

// PID is the id of the Vault process behind the cluster, 0 when there is none.
// Whoever kills that process kills the cluster, as Kill does.
func (c *Cluster) PID() int {
	if p, ok := c.backend.(processes); ok {
		return p.pid()
	}
	return 0
}

// Kill closes the listener and resets all connections; storage is kept. A Vault
// process behind the cluster gets SIGKILL.
func (c *Cluster) Kill() {
	c.set(func() {
		c.killed = true
		c.life++
	})
	c.mu.Lock()
	l := c.listener
	c.listener = nil
	c.mu.Unlock()
	if l != nil {
		_ = l.Close() // it is gone either way
	}
	c.resetConns()
	if p, ok := c.backend.(processes); ok {
		p.kill()
	}
}

// Restart listens again on the same port, unsealed and without any fault but
// a partition, which lies in the network.
func (c *Cluster) Restart() error {
	c.Kill() // a running cluster goes down first
	if p, ok := c.backend.(processes); ok {
		if err := p.start(context.Background()); err != nil {
			return fmt.Errorf("restarting %s: %w", c.name, err)
		}
	}
	if err := c.listenAgain(); err != nil {
		return fmt.Errorf("restarting %s: %w", c.name, err)
	}
	c.set(func() {
		c.killed, c.sealed, c.stalled, c.blackholed, c.slow = false, false, false, false, 0
		c.started = time.Now()
	})
	c.lab.serve(c)
	return nil
}

// Seal makes the cluster answer 503 to everything but its own state.
func (c *Cluster) Seal() { c.set(func() { c.sealed = true }) }

// Unseal undoes Seal.
func (c *Cluster) Unseal() { c.set(func() { c.sealed = false }) }

// Partition cuts the links to all other clusters; clients still get through.
func (c *Cluster) Partition() { c.set(func() { c.partitioned = true }) }

// Mute lets nothing get from this cluster to the others: they get no answers from it, and
// what it says to them is lost.
func (c *Cluster) Mute() { c.set(func() { c.mute = true }) }

// Deafen lets nothing get from the other clusters to this one: what it sends them
// arrives, and is done, and their answers are lost.
func (c *Cluster) Deafen() { c.set(func() { c.deaf = true }) }

// SetClock sets how far the cluster's clock is ahead of the true time, or behind it with
// a negative d. Tokens and leases live by it.
func (c *Cluster) SetClock(ahead time.Duration) { c.clock.Store(int64(ahead)) }

// now is the time by the cluster's clock.
func (c *Cluster) now() time.Time { return time.Now().Add(c.ahead()) }

func (c *Cluster) ahead() time.Duration { return time.Duration(c.clock.Load()) }

// Heal undoes Partition, Mute, Deafen, Blackhole, Stall and Slow. Connections that fell
// silent in a blackhole are reset.
func (c *Cluster) Heal() {
	c.mu.Lock()
	silent := c.blackholed
	c.mu.Unlock()
	if silent {
		c.resetConns()
	}
	c.freeze(false)
	c.set(func() {
		c.partitioned, c.mute, c.deaf, c.blackholed, c.stalled, c.slow = false, false, false, false, false, 0
	})
}

// Stall makes requests hang until Resume, then they are answered.
func (c *Cluster) Stall() {
	c.set(func() { c.stalled = true })
	c.freeze(true)
}

// Resume undoes Stall.
func (c *Cluster) Resume() {
	c.freeze(false)
	c.set(func() { c.stalled = false })
}

// freeze stops the process behind the cluster, if there is one, with SIGSTOP.
func (c *Cluster) freeze(yes bool) {
	if p, ok := c.backend.(processes); ok {
		p.freeze(yes)
	}
}

// Blackhole accepts connections and never answers on them.
func (c *Cluster) Blackhole() { c.set(func() { c.blackholed = true }) }

// Slow delays every request by d.
func (c *Cluster) Slow(d time.Duration) { c.set(func() { c.slow = d }) }

// ResetBefore resets the connections of the next n API requests before the
// engine sees them.
func (c *Cluster) ResetBefore(n int) { c.set(func() { c.resetBefore = n }) }

// ResetAfter executes the next n API requests and resets the connection
// instead of answering.
func (c *Cluster) ResetAfter(n int) { c.set(func() { c.resetAfter = n }) }

// Pose makes sys/health pretend that the node is not the active one:
// "standby", "performance-standby" or "uninitialized"; "" ends it. All else
// goes on as before.
func (c *Cluster) Pose(as string) { c.set(func() { c.pose = as }) }

// set changes the cluster's state and tells everyone who waits for a change.
func (c *Cluster) set(change func()) {
	for _, o := range c.lab.clusters {
		o.touch()
	}
	c.mu.Lock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	c.lab.wakeAll()
}

// reachable reports whether other clusters get through to this one, and it to them.
func (c *Cluster) reachable() bool { return c.hears() && c.speaks() }

// hears reports whether what other clusters send arrives here.
func (c *Cluster) hears() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.linkedLocked() && !c.deaf
}

// speaks reports whether what is sent from here arrives at other clusters.
func (c *Cluster) speaks() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.linkedLocked() && !c.mute
}

func (c *Cluster) linkedLocked() bool {
	return !c.killed && !c.sealed && !c.partitioned && !c.stalled && !c.blackholed
}

// silent reports whether nothing may leave the cluster.
func (c *Cluster) silent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blackholed
}

// take counts one of the next n requests down.
func (c *Cluster) take(n *int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *n <= 0 {
		return false
	}
	*n--
	return true
}

// listen binds the cluster's socket.
func (c *Cluster) listen(address string) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.address == "" { // it never changes after that and is read without the lock
		c.address = l.Addr().String()
	}
	c.listener = &listener{Listener: l, cluster: c}
	return nil
}

// listenAgain binds the same port as before. While the cluster was down, somebody's
// connection may have come to use it; such go.
func (c *Cluster) listenAgain() error {
	ctx, cancel := context.WithTimeout(context.Background(), bindWithin)
	defer cancel()
	for {
		err := c.listen(c.address)
		if !errors.Is(err, syscall.EADDRINUSE) || pause(ctx, bindPause) != nil {
			return err
		}
	}
}

func (c *Cluster) resetConns() {
	c.mu.Lock()
	conns := make([]*conn, 0, len(c.conns))
	for k := range c.conns {
		conns = append(conns, k)
	}
	c.mu.Unlock()
	for _, k := range conns {
		k.reset()
	}
}

// record notes an executed request.
func (c *Cluster) record(s Served, writes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.served) >= 2*servedLimit { // rarely, because it copies
		c.served = append(c.served[:0], c.served[len(c.served)-servedLimit:]...)
	}
	c.served = append(c.served, s)
	if writes > 0 {
		c.applied[s.Namespace+s.Path]++
	}
}

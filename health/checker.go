package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// Prober asks one node. Both calls honour the context's deadline and return an
// error that names no secret. Implemented by internal/upstream.
type Prober interface {
	Health(ctx context.Context, cluster, address string) (Report, error)
	Replication(ctx context.Context, cluster, address string) (replication.Status, error)
}

// ClusterConfig is what is configured of one cluster.
type ClusterConfig struct {
	Name      string
	Region    string
	DROf      string
	Role      Role // pinned role; empty: discovered
	Addresses []string
}

// Config is all that a Checker needs. Region, Clusters and Prober are required.
type Config struct {
	Region   string
	Clusters []ClusterConfig
	Prober   Prober
	// Resolve tells which nodes stand behind a configured address, by their base URLs: one,
	// or more when it holds a name. It is asked again every ten seconds, and each interval
	// while none of them is up. nil: each address is a node.
	Resolve func(ctx context.Context, cluster, address string) ([]string, error)
	// Warm opens the connections that requests will use, before a node that was down takes
	// them; if it can't, the node stays down. nil: nothing is opened ahead.
	Warm     func(ctx context.Context, cluster, address string) error
	Interval time.Duration // between probes of a node; default 2s
	Timeout  time.Duration // of one probe; default 1s
	Fall     int           // failures in a row that make a node down; default 3
	Rise     int           // good probes in a row that bring it back; default 2
	Logger   *zap.Logger   // default: none
}

func (c Config) withDefaults() Config {
	if c.Interval <= 0 {
		c.Interval = 2 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Second
	}
	c.Fall, c.Rise = max(c.Fall, 0), max(c.Rise, 0)
	if c.Fall == 0 {
		c.Fall = 3
	}
	if c.Rise == 0 {
		c.Rise = 2
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// ErrUnknownCluster is returned for a cluster name that is not configured.
var ErrUnknownCluster = errors.New("no such cluster")

// Checker probes all nodes and publishes the topology.
type Checker struct {
	cfg      Config
	topology atomic.Pointer[Topology]
	changed  atomic.Pointer[chan struct{}] // closed when the next topology is out
	first    chan struct{}                 // closed when every node was probed once

	mu      sync.Mutex // guards what follows; held only to fold in one observation
	nodes   map[string][]nodeState
	drained map[string]bool
	started bool // every node was probed once
}

// New makes a checker. Its first topology, before any probe, shows every cluster
// down with the reason "not probed yet".
func New(cfg Config) *Checker {
	c := &Checker{
		cfg:     cfg.withDefaults(),
		first:   make(chan struct{}),
		nodes:   make(map[string][]nodeState),
		drained: make(map[string]bool),
	}
	for _, cl := range cfg.Clusters {
		for _, a := range cl.Addresses {
			c.nodes[cl.Name] = append(c.nodes[cl.Name], newNode(a, a))
		}
	}
	next := make(chan struct{})
	c.changed.Store(&next)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publishLocked()
	return c
}

// Topology is the current picture. It never blocks.
func (c *Checker) Topology() *Topology { return c.topology.Load() }

// Changed returns a channel that is closed when a topology newer than the one
// that Topology returned before the call is published. Call Changed first, then
// Topology, then wait.
func (c *Checker) Changed() <-chan struct{} { return *c.changed.Load() }

// FirstRound is closed when every node has been probed once.
func (c *Checker) FirstRound() <-chan struct{} { return c.first }

// Run probes until ctx ends. It returns after all probe loops have.
func (c *Checker) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, cl := range c.cfg.Clusters {
		for _, address := range cl.Addresses {
			g.Go(func() error {
				c.follow(ctx, cl.Name, address)
				return nil
			})
		}
	}
	return g.Wait()
}

// Failed reports that a real request could not be served by a node: it counts like
// a failed probe, and the node is probed at once. It never blocks on I/O.
func (c *Checker) Failed(cluster, address string, err error) {
	th, now := c.thresholds(), time.Now()
	n, ok := c.node(cluster, address)
	if ok && n.up && !n.suspect && !now.Before(n.held) { // or nothing would change
		c.update(cluster, address, func(n nodeState) nodeState { return n.doubted("request failed: "+brief(err), th, now) })
	}
	select {
	case n.kick <- struct{}{}: // nil, and never ready, for a node that is gone
	default:
	}
}

// Succeeded reports that a node whose Struck is true served a real request.
func (c *Checker) Succeeded(cluster, address string) {
	c.update(cluster, address, nodeState.served)
}

// Drain takes a cluster out of service until Undrain. The error is
// ErrUnknownCluster.
func (c *Checker) Drain(name string) error { return c.setDrained(name, true) }

// Undrain puts a drained cluster back.
func (c *Checker) Undrain(name string) error { return c.setDrained(name, false) }

func (c *Checker) setDrained(name string, drained bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.nodes[name]; !ok {
		return fmt.Errorf("%w: %q", ErrUnknownCluster, name)
	}
	c.drained[name] = drained
	c.publishLocked()
	return nil
}

// watch is the probe loop of one node.
func (c *Checker) watch(ctx context.Context, cluster, address string) {
	n, _ := c.node(cluster, address)
	for {
		c.probe(ctx, cluster, address)
		wait := c.pause(cluster, address)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-n.kick:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// pause spreads probes (10 % jitter) and hurries while a node is under suspicion, and to
// the end of the time for which one is held back.
func (c *Checker) pause(cluster, address string) time.Duration {
	interval, held := c.cfg.Interval, time.Duration(0)
	if n, ok := c.node(cluster, address); ok {
		held = time.Until(n.held)
		if n.suspect {
			interval /= fastRechecks
		}
	}
	wait := time.Duration(float64(interval) * (0.9 + 0.2*rand.Float64()))
	if held > 0 {
		wait = min(wait, held)
	}
	return wait
}

func (c *Checker) probe(ctx context.Context, cluster, address string) {
	th := c.thresholds()
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	start := time.Now()
	report, err := c.cfg.Prober.Health(bounded, cluster, address)
	if ctx.Err() != nil {
		return // stopping says nothing about the node
	}
	report.Took = time.Since(start)
	if err == nil {
		err = c.warm(ctx, cluster, address, report)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		c.update(cluster, address, func(n nodeState) nodeState { return n.bad("probe failed: "+brief(err), th, time.Now()) })
		return
	}
	status := c.replication(ctx, cluster, address, report)
	c.update(cluster, address, func(n nodeState) nodeState { return n.good(report, status, th, time.Now()) })
}

// warm opens connections to a node that comes up with this report.
func (c *Checker) warm(ctx context.Context, cluster, address string, r Report) error {
	n, _ := c.node(cluster, address)
	if c.cfg.Warm == nil || n.up || !n.good(r, nil, c.thresholds(), time.Now()).up {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	return c.cfg.Warm(ctx, cluster, address)
}

// replication reads sys/replication/status where there is replication. Listeners
// can switch the endpoint off: then what sys/health says has to do.
func (c *Checker) replication(ctx context.Context, cluster, address string, r Report) *replication.Status {
	if !r.replicates() {
		return &replication.Status{}
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	s, err := c.cfg.Prober.Replication(ctx, cluster, address)
	if err != nil {
		return nil
	}
	return &s
}

func (c *Checker) thresholds() thresholds { return thresholds{fall: c.cfg.Fall, rise: c.cfg.Rise} }

func (c *Checker) node(cluster, address string) (nodeState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.nodes[cluster], func(n nodeState) bool { return n.address == address })
	if i < 0 {
		return nodeState{}, false
	}
	return c.nodes[cluster][i], true
}

// update folds one observation into a node and publishes the result.
func (c *Checker) update(cluster, address string, fold func(nodeState) nodeState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes := c.nodes[cluster]
	i := slices.IndexFunc(nodes, func(n nodeState) bool { return n.address == address })
	if i < 0 {
		return
	}
	nodes[i] = fold(nodes[i])
	c.publishLocked()
}

// publishLocked makes and stores the next topology and wakes who waits for it.
func (c *Checker) publishLocked() {
	prev, now := c.topology.Load(), time.Now()
	next := &Topology{Generation: 1, Region: c.cfg.Region}
	if prev != nil {
		next.Generation = prev.Generation + 1
	}
	for i, cl := range c.cfg.Clusters {
		var before Cluster
		if prev != nil {
			before = prev.Clusters[i]
		}
		nodes := slices.Clone(c.nodes[cl.Name])
		slices.SortStableFunc(nodes, func(a, b nodeState) int { return better(a, b, now) })
		next.Clusters = append(next.Clusters, judgeCluster(cl, i, nodes, c.drained[cl.Name], before, now))
	}
	if prev != nil {
		disbelieve(prev, next)
	}
	electPrimary(next)
	if prev != nil {
		measureLags(prev, next, now)
	}
	c.topology.Store(next)
	c.logChanges(prev, next)
	fresh := make(chan struct{})
	close(*c.changed.Swap(&fresh))
	if !c.started && c.allProbedLocked() {
		c.started = true
		close(c.first)
	}
}

func (c *Checker) allProbedLocked() bool {
	for _, nodes := range c.nodes {
		if slices.ContainsFunc(nodes, func(n nodeState) bool { return !n.probed }) {
			return false
		}
	}
	return true
}

// logChanges writes one line per cluster whose role or state is new.
func (c *Checker) logChanges(prev, next *Topology) {
	if prev == nil {
		return
	}
	for i := range next.Clusters {
		was, is := &prev.Clusters[i], &next.Clusters[i]
		if was.State != is.State || was.Role != is.Role {
			c.cfg.Logger.Info("cluster changed", zap.String("cluster", is.Name), zap.String("role", string(is.Role)),
				zap.String("state", string(is.State)), zap.String("was", string(was.State)), zap.String("reason", is.Reason))
		}
	}
	if next.SplitBrain && !prev.SplitBrain {
		c.cfg.Logger.Error("split brain: writes are refused", zap.Strings("claimants", next.Claimants))
	}
}

// brief keeps the end of an error chain, which says what went wrong, without the
// URL that net/http puts in front.
func brief(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

package lab

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/internal/lab/core"
	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/engines"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// slowByAction is the delay that Do(cluster, "slow") sets.
const slowByAction = time.Second

// Lab is a set of simulated clusters.
type Lab struct {
	cfg      Config
	setID    string // of the replication set
	clusters []*Cluster
	jitter   *jitter

	mu      sync.Mutex // roles change one at a time; guards running
	running bool
	serving sync.WaitGroup // accept loops
	conns   sync.WaitGroup // connections
}

// New makes a lab: binds the sockets, fills the storage and copies it to all
// clusters. Requests are answered once Run runs.
func New(cfg Config) (*Lab, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configuring the lab: %w", err)
	}
	l := &Lab{cfg: cfg, setID: engine.UUID(), jitter: newJitter(cfg.Seed)}
	key := newKey()
	for i, cc := range cfg.Clusters {
		if cfg.Bare {
			cc.Role, key = roleStandalone, newKey()
		}
		c, err := l.newCluster(i, cc, key)
		if c != nil {
			l.clusters = append(l.clusters, c)
		}
		if err != nil {
			l.close()
			return nil, fmt.Errorf("making cluster %s: %w", cc.Name, err)
		}
	}
	if err := l.fill(); err != nil {
		l.close()
		return nil, fmt.Errorf("filling the lab: %w", err)
	}
	return l, nil
}

// newKey is the key of a replication set.
func newKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

func (l *Lab) newCluster(i int, cc ClusterConfig, key []byte) (*Cluster, error) {
	c := &Cluster{
		lab: l, name: cc.Name, region: cc.Region, id: engine.UUID(), rtt: cc.RTT, role: cc.Role,
		wake: make(chan struct{}, 1), conns: map[*conn]bool{}, changed: make(chan struct{}),
		applied: map[string]int{}, started: time.Now(), caughtUp: time.Now(), perfSet: l.setID, repl: newReplicating(l.cfg.Bare),
	}
	if c.region == "" {
		c.region = cc.Name
	}
	if c.rtt == 0 {
		c.rtt = roundTrip(l.cfg.Region, c.region)
	}
	if err := l.equip(c, key); err != nil {
		return nil, err
	}
	if cc.Address != "" {
		return c, c.listen(cc.Address)
	}
	port := 0
	if l.cfg.BasePort > 0 {
		port = l.cfg.BasePort + i
	}
	return c, c.listen(net.JoinHostPort(l.cfg.Host, strconv.Itoa(port)))
}

// equip gives a cluster its backend.
func (l *Lab) equip(c *Cluster, key []byte) (err error) {
	if l.cfg.VaultBin != "" {
		c.backend, err = l.newReal(c, key)
		return err
	}
	st := store.New(l.wakeAll)
	c.backend = &simulated{store: st, at: map[*store.Store]uint64{}, core: core.New(core.Config{
		Store: st, Name: c.name, ID: c.id, Key: key, NoIndex: l.cfg.NoIndex, OwnIdx: l.cfg.OwnIndex, Engines: engines.All(), Seal: c.Seal, Now: c.now,
		Replicate: c.replicate,
	})}
	return nil
}

// close frees the sockets and processes of a lab that never ran.
func (l *Lab) close() {
	for _, c := range l.clusters {
		c.Kill()
	}
	l.closeProcesses()
}

func (l *Lab) closeProcesses() {
	for _, c := range l.clusters {
		if p, ok := c.backend.(processes); ok {
			p.close()
		}
	}
}

// Clusters returns all clusters in the order of the configuration.
func (l *Lab) Clusters() []*Cluster { return slices.Clone(l.clusters) }

// Cluster returns the cluster of that name, nil when there is none.
func (l *Lab) Cluster(name string) *Cluster {
	for _, c := range l.clusters {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Run serves until ctx ends. It returns after all it started has.
func (l *Lab) Run(ctx context.Context) error {
	l.start(ctx)
	var work sync.WaitGroup
	for _, c := range l.clusters {
		work.Go(func() { c.followLoop(ctx) })
		work.Go(func() { c.backend.run(ctx) })
	}
	<-ctx.Done()
	l.stop()
	work.Wait()
	l.closeProcesses()
	return nil
}

func (l *Lab) start(ctx context.Context) {
	l.mu.Lock()
	l.running = true
	l.mu.Unlock()
	for _, c := range l.clusters {
		c.mu.Lock()
		c.server = l.newServer(ctx, c)
		c.mu.Unlock()
		l.serve(c)
	}
}

func (l *Lab) newServer(ctx context.Context, c *Cluster) *http.Server {
	logger, _ := zap.NewStdLogAt(l.cfg.Logger.Named(c.name), zap.DebugLevel) // only fails on an unknown level
	return &http.Server{
		Handler:           c,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          logger,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         l.countConns,
	}
}

// countConns lets stop wait for the goroutines of connections.
func (l *Lab) countConns(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		l.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		l.conns.Done()
	}
}

// serve accepts connections on the cluster's listener, if the lab runs.
func (l *Lab) serve(c *Cluster) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	ln, srv := c.listener, c.server
	if !l.running || ln == nil || srv == nil || ln.served {
		return // not yet, or already
	}
	ln.served = true
	l.serving.Go(func() {
		err := srv.Serve(ln) // ends when the listener is closed
		l.cfg.Logger.Debug("listener ended", zap.String("cluster", c.name), zap.Error(err))
	})
}

func (l *Lab) stop() {
	l.mu.Lock()
	l.running = false
	l.mu.Unlock()
	for _, c := range l.clusters {
		_ = c.server.Close() // nothing left to do about an error
		c.Kill()
	}
	l.serving.Wait()
	l.conns.Wait()
}

func (l *Lab) wakeAll() {
	for _, c := range l.clusters {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// action is something that Do can do to a cluster.
type action struct {
	name string
	do   func(*Lab, *Cluster) error
}

func plain(f func(*Cluster)) func(*Lab, *Cluster) error {
	return func(_ *Lab, c *Cluster) error {
		f(c)
		return nil
	}
}

func actions() []action {
	return []action{
		{"kill", plain((*Cluster).Kill)},
		{"restart", func(_ *Lab, c *Cluster) error { return c.Restart() }},
		{"seal", plain((*Cluster).Seal)},
		{"unseal", plain((*Cluster).Unseal)},
		{"partition", plain((*Cluster).Partition)},
		{"mute", plain((*Cluster).Mute)},
		{"deafen", plain((*Cluster).Deafen)},
		{"heal", plain((*Cluster).Heal)},
		{"stall", plain((*Cluster).Stall)},
		{"resume", plain((*Cluster).Resume)},
		{"blackhole", plain((*Cluster).Blackhole)},
		{"slow", plain(func(c *Cluster) { c.Slow(slowByAction) })},
		{"promote", (*Lab).promote},
		{"demote", (*Lab).demote},
	}
}

// Actions are the names that Do knows.
func (l *Lab) Actions() []string {
	var names []string
	for _, a := range actions() {
		names = append(names, a.name)
	}
	return names
}

// Do applies an action to a cluster.
func (l *Lab) Do(cluster, name string) error {
	c := l.Cluster(cluster)
	if c == nil {
		return fmt.Errorf("unknown cluster %q", cluster)
	}
	for _, a := range actions() {
		if a.name == name {
			return a.do(l, c)
		}
	}
	return fmt.Errorf("unknown action %q, known are %s", name, strings.Join(l.Actions(), ", "))
}

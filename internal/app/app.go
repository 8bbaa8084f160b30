package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/admin"
	"github.com/vrproxy/vrproxy/internal/consistency"
	"github.com/vrproxy/vrproxy/internal/mounts"
	"github.com/vrproxy/vrproxy/internal/observe"
	"github.com/vrproxy/vrproxy/proxy"
	"github.com/vrproxy/vrproxy/tokencache"
)

// Options are what an App is made of. Config is required.
type Options struct {
	Config *configs.Config
	Logger *zap.Logger     // default: none
	Level  zap.AtomicLevel // of Logger; a reload sets it
	Lab    admin.Lab       // the laboratory behind the admin listener; nil outside dev
	OnQuit func()          // POST /quit; may be nil
	Files  []*os.File      // sockets that were passed to the process (LISTEN_FDS)
}

// App is one running proxy as a value: New binds, Start serves, Reload swaps,
// Stop ends. It is used from one goroutine, save Ready, Addresses and Admin.
type App struct {
	opts       Options
	shared     shared
	cores      current
	front      *front
	sockets    *passedSockets
	bound      atomic.Pointer[[]*listener]
	admin      *admin.Server
	adminFiles *fileWatch  // nil: no TLS there
	dns        *nameserver // nil: none
	events     *admin.Events
	registry   *prometheus.Registry
	reloads    *prometheus.CounterVec
	stack      stack
	runner     *runner
	state      atomic.Int32
	swapped    chan struct{} // a reload put in a new core
	failovers  observe.Quiet
	traces     *observe.Traces // nil: off
	observer   *observe.Observer
}

// The states of an App.
const (
	starting int32 = iota
	ready
	stopping
)

// New builds every room and binds every socket. It serves nothing yet; an error
// leaves nothing open.
func New(ctx context.Context, o Options) (*App, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	a := &App{opts: o, events: admin.NewEvents(), registry: prometheus.NewRegistry(), runner: newRunner(), swapped: make(chan struct{}, 1)}
	if err := a.build(ctx); err != nil {
		return nil, errors.Join(err, a.stack.unwind(ctx))
	}
	return a, nil
}

func (a *App) build(ctx context.Context) error {
	if err := a.buildShared(); err != nil {
		return err
	}
	if err := a.buildObserver(ctx); err != nil {
		return err
	}
	first, err := newCore(a.opts.Config, a.shared)
	if err != nil {
		return err
	}
	a.cores.p.Store(first)
	a.stack.push("core", func(ctx context.Context) error { return a.cores.p.Load().stop(ctx) })
	if err := a.buildListeners(ctx); err != nil {
		return err
	}
	if a.dns, err = a.newNameserver(a.opts.Config.DNS); err != nil {
		return err
	}
	a.stack.push("dns", func(ctx context.Context) error { return a.dns.stop(ctx) })
	if err := a.buildAdmin(); err != nil {
		return err
	}
	return a.sockets.unused()
}

// buildListeners binds the addresses for applications, but for those whose sockets were
// passed to the process.
func (a *App) buildListeners(ctx context.Context) error {
	cfg := a.opts.Config
	sockets, err := newPassedSockets(a.opts.Files)
	if err != nil {
		return err
	}
	a.sockets = sockets
	a.stack.push("sockets that were passed", func(context.Context) error { return sockets.close() })
	passed, err := sockets.assign(cfg.Listeners)
	if err != nil {
		return err
	}
	a.front = &front{cores: &a.cores, logger: a.opts.Logger, metrics: newFrontMetrics(a.registry), tell: a.shared.tell}
	a.front.metrics.flight.limit.Store(int64(cfg.Limits.InFlight))
	a.stack.push("listeners", func(context.Context) error { return a.closeListeners() })
	for i, l := range cfg.Listeners {
		bound, err := a.front.listen(ctx, cfg, i, passed[l.Address])
		if err != nil {
			return err
		}
		all := append(slices.Clone(a.listeners()), bound)
		a.bound.Store(&all)
	}
	return nil
}

// listeners are those for applications, in the order of the file.
func (a *App) listeners() []*listener {
	if all := a.bound.Load(); all != nil {
		return *all
	}
	return nil
}

func (a *App) closeListeners() error {
	var errs []error
	for _, l := range a.listeners() {
		errs = append(errs, closed(l.net))
	}
	return errors.Join(errs...)
}

// closed closes a socket that its server may have closed before.
func closed(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (a *App) buildShared() error {
	cfg, logger := a.opts.Config, a.opts.Logger
	logins := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vrproxy_logins_total", Help: "Logins made by the proxy, by home cluster and outcome."}, []string{"cluster", "outcome"})
	a.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vrproxy_config_reloads_total", Help: "Reloads of the configuration, by outcome."}, []string{"outcome"})
	evicted := prometheus.NewCounter(prometheus.CounterOpts{Name: "vrproxy_sessions_evicted_total", Help: "Sessions in use that were pushed out by sessions.max."})
	a.registry.MustRegister(logins, evicted, a.reloads, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, outcome := range []string{"ok", "error"} {
		a.reloads.WithLabelValues(outcome)
	}
	budget := proxy.NewBudget()
	tc := tokencache.Config{
		Vault: &a.cores, Logger: logger, Identity: identity(cfg, a.cores.homes),
		Replay: cfg.Sessions.Replay, Max: cfg.Sessions.Max, Idle: cfg.Sessions.Idle,
		LoginTimeout: 5 * time.Second, LoginRate: cfg.Sessions.LoginRate, Budget: budget,
		OnEvict: evicted.Inc,
		State:   tokencache.StateConfig{File: cfg.Sessions.StateFile, KeyFile: cfg.Sessions.StateKeyFile, Credentials: cfg.Sessions.PersistCredentials},
		OnLogin: func(home, outcome string) { logins.WithLabelValues(home, outcome).Inc() },
	}
	if cfg.Sessions.Prewarm {
		tc.Prewarm = a.cores.prewarm
	}
	tokens, err := tokencache.New(tc)
	if err != nil {
		return err
	}
	memory, err := consistency.New(consistencyConfig(cfg))
	if err != nil {
		return err
	}
	a.shared = shared{
		logger: logger, metrics: proxy.NewMetrics(a.registry), tokens: tokens, mounts: mounts.New(&a.cores, logger),
		budget: budget, memory: memory, failover: a.failedOver, tell: reloadTeller(logger, a.reloads),
		numbers: new(atomic.Uint64), logins: logins,
	}
	return nil
}

func (a *App) buildAdmin() error {
	cfg := a.opts.Config
	ac := admin.Config{
		Addr: cfg.Admin.Address, Quit: cfg.Admin.Quit, Pprof: cfg.Admin.PProf,
		Topology: a.cores.topology, Preference: a.cores.preference, Consistency: a.consistency,
		Started: a.started, Ready: a.Ready, Counts: counts{a.shared.tokens, &a.cores}, Drainer: drainer{&a.cores},
		Lab: a.opts.Lab, Events: a.events, Registry: a.registry, Explain: a.explain, OnQuit: a.opts.OnQuit,
		Serving: a.cores.serving, Requests: a.shared.metrics.Served, Mounts: a.mountsShown, Decisions: a.decisions,
		Version: version, Logger: a.opts.Logger,
	}
	ac.Listener = a.sockets.room(adminSocket, cfg.Admin.Address)
	if err := a.secureAdmin(&ac); err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	server, err := admin.New(ac)
	if err != nil {
		return err
	}
	a.admin = server
	a.stack.push("admin", func(context.Context) error { return server.Close() })
	a.registry.MustRegister(admin.NewCollector(admin.CollectorConfig{
		Topology: a.cores.topology, Counts: ac.Counts, Stale: a.cores.stale, Version: version, Commit: commit,
	}))
	return nil
}

// secureAdmin gives the admin listener its TLS, which is read again when its files
// change.
func (a *App) secureAdmin(ac *admin.Config) error {
	files := a.opts.Config.Admin.TLS
	if files == nil {
		if ac.Listener != nil && !private(ac.Listener.Addr()) {
			return errors.New("anyone on the network could drain clusters; give admin.tls, or make its socket on loopback")
		}
		return nil
	}
	var now atomic.Pointer[tls.Config]
	read := func() error {
		t, err := serverTLS(files)
		if err == nil {
			now.Store(t)
		}
		return err
	}
	a.adminFiles = newFileWatch("admin.tls", func() []string { return serverFiles(files) }, read, a.shared.tell)
	ac.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return now.Load(), nil }}
	return read()
}

// Start serves. It returns once the clusters were probed for the first time and the
// listeners answer, or with ctx.
func (a *App) Start(ctx context.Context) error {
	a.warnings()
	a.stack.push("background work", a.runner.stop) // last pushed: it ends before the sockets it serves
	a.runner.run(a.admin.Run)
	if a.adminFiles != nil {
		a.runner.run(a.adminFiles.Run)
	}
	a.cores.p.Load().start(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	a.runner.run(a.shared.tokens.Run)
	for _, s := range sinks(a.opts.Config, a.shared.tokens, a.cores.nearest) {
		a.runner.run(s.Run)
	}
	a.runner.run(a.shared.mounts.Run)
	a.runner.run(a.shared.memory.Run)
	a.runner.run(a.publishChanges)
	if a.dns != nil {
		a.dns.start()
	}
	for _, l := range a.listeners() {
		a.runner.run(l.serve)
	}
	a.state.Store(ready)
	a.opts.Logger.Info("ready", zap.String("region", a.opts.Config.Region), zap.Strings("listeners", a.Addresses()),
		zap.String("admin", a.admin.Addr().String()), zap.String("dns", a.DNSAddress()), zap.String("version", version))
	return nil
}

// warnings says at start what an operator should not overlook.
func (a *App) warnings() {
	warnOfFiles(a.opts.Config, a.opts.Logger)
	for _, c := range a.opts.Config.Clusters {
		if c.TLS != nil && c.TLS.InsecureSkipVerify {
			a.opts.Logger.Warn("the certificate of this cluster is not verified (tls.insecure_skip_verify)", zap.String("cluster", c.Name))
		}
	}
}

// Addresses are where applications find the proxy, as bound.
func (a *App) Addresses() []string {
	var out []string
	for _, l := range a.listeners() {
		out = append(out, l.net.Addr().String())
	}
	return out
}

// AdminAddress is where the admin listener is bound.
func (a *App) AdminAddress() string { return a.admin.Addr().String() }

// DNSAddress is where the DNS server is bound; empty when there is none.
func (a *App) DNSAddress() string {
	if a.dns == nil {
		return ""
	}
	return a.dns.server.Addr().String()
}

// Topology is the current picture of the clusters.
func (a *App) Topology() *health.Topology { return a.cores.topology() }

var (
	errStarting = errors.New("starting: the clusters are being probed for the first time")
	errStopping = errors.New("stopping")
	errNoVault  = errors.New("no cluster can serve requests")
)

func (a *App) started() error {
	if a.state.Load() == starting {
		return errStarting
	}
	return nil
}

// Ready tells why the proxy should not be sent requests; nil when it should.
func (a *App) Ready() error {
	switch {
	case a.state.Load() == starting:
		return errStarting
	case a.state.Load() == stopping:
		return errStopping
	case !anyUsable(a.Topology()):
		return errNoVault
	}
	return nil
}

// Stop ends everything: readiness first, then the listeners after the configured
// delay, then requests in flight get their time. It returns when nothing runs any
// more.
func (a *App) Stop(ctx context.Context) error {
	cfg := a.opts.Config.Shutdown
	a.state.Store(stopping)
	for _, l := range a.listeners() {
		l.leaving.Store(true) // who asks within the delay is told to come back elsewhere
	}
	select {
	case <-time.After(cfg.DrainDelay):
	case <-ctx.Done():
	}
	drainCtx, cancel := context.WithTimeout(ctx, cfg.DrainTimeout)
	defer cancel()
	var g errgroup.Group
	var cut atomic.Int64
	for _, l := range a.listeners() {
		g.Go(func() error { cut.Add(l.drain(drainCtx)); return nil })
	}
	_ = g.Wait()
	a.opts.Logger.Info("stopped", zap.Int64("requests_cut", cut.Load()))
	return a.stack.unwind(ctx)
}

// publishChanges turns every change of the topology into events.
func (a *App) publishChanges(ctx context.Context) error {
	for {
		changed := a.cores.p.Load().checker.Changed()
		a.follow(a.cores.topology())
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-a.swapped:
		}
	}
}

// failedOver tells people that a request began at one cluster and was answered by
// another.
func (a *App) failedOver(from, to, reason string) {
	due, left := a.failovers.Due(from+" "+to, time.Now())
	if !due {
		return
	}
	a.events.Publish(admin.Event{Kind: admin.KindFailover, From: from, To: to, Reason: reason})
	a.opts.Logger.Info("failed over", zap.String("from", from), zap.String("to", to), zap.String("reason", reason), zap.Int("left_out", left))
}
